//! Where a vCPU stands: the instruction it is at, in which mode.
//!
//! Input: a vCPU that is not in the guest. Output: a [`VcpuPlace`]. Reading changes nothing in the guest. Not
//! here: getting it out of the guest (`machine/places.rs`), names of addresses.

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_UNINITIALIZED, Msrs, kvm_msr_entry,
};
use kvm_ioctls::VcpuFd;

/// LSTAR, which holds the address that `syscall` goes to.
const MSR_LSTAR: u32 = 0xc000_0082;
/// Privilege level of programs.
const USER: u8 = 3;

/// Where a vCPU stood when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VcpuPlace {
    /// In the guest.
    At {
        /// Address of the next instruction.
        instruction: u64,
        /// Whether it waits for an interrupt (`hlt`).
        halted: bool,
        /// Whether it runs a program, not the kernel.
        user: bool,
        /// Address at which `syscall` enters the kernel; 0 until the kernel has set it.
        syscall_entry: u64,
    },
    /// The guest has not started it.
    NotStarted,
    /// Not in the guest: the monitor works for it, or the host does not let it run.
    Busy,
}

/// Reads where a vCPU stands.
pub(crate) fn place(vcpu: &VcpuFd) -> VcpuPlace {
    let (Ok(regs), Ok(sregs), Ok(state)) = (vcpu.get_regs(), vcpu.get_sregs(), vcpu.get_mp_state()) else {
        return VcpuPlace::Busy;
    };
    if let KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED = state.mp_state {
        return VcpuPlace::NotStarted;
    }
    VcpuPlace::At {
        instruction: regs.rip,
        halted: state.mp_state == KVM_MP_STATE_HALTED,
        user: sregs.ss.dpl == USER,
        syscall_entry: syscall_entry(vcpu).unwrap_or_default(),
    }
}

fn syscall_entry(vcpu: &VcpuFd) -> Option<u64> {
    let entry = kvm_msr_entry {
        index: MSR_LSTAR,
        ..Default::default()
    };
    let mut msrs = Msrs::from_entries(&[entry]).ok()?;
    let read = vcpu.get_msrs(&mut msrs).ok()?;
    (read == 1).then(|| msrs.as_slice()[0].data)
}
