//! Everything KVM knows of a vCPU.
//!
//! Input: a vCPU that is not running, or a [`VcpuState`]. Output: the other. Not here: the state that vCPUs
//! share (`chips_state`).
//!
//! Order matters when it comes back, and the wrong one is dropped silently: system registers before the local
//! interrupt controller before the model-specific registers; the time stamp counter before the deadline that
//! counts on it; pending events last.

use kvm_bindings::{
    KVM_CAP_XSAVE2, Xsave, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd};
use serde::{Deserialize, Serialize};

use super::msrs::{self, MsrState};
use super::{KvmError, call, tsc};

/// The state of one vCPU.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VcpuState {
    /// KVM_GET_MP_STATE: running, halted, or waiting to be started.
    pub mp_state: kvm_mp_state,
    /// KVM_GET_REGS.
    pub regs: kvm_regs,
    /// KVM_GET_SREGS.
    pub sregs: kvm_sregs,
    /// KVM_GET_XSAVE, or KVM_GET_XSAVE2 where 4096 bytes do not hold it.
    #[serde(with = "serde_bytes")]
    pub xsave: Vec<u8>,
    /// KVM_GET_XCRS; absent where the host has none.
    pub xcrs: Option<kvm_xcrs>,
    /// KVM_GET_DEBUGREGS.
    pub debug_regs: kvm_debugregs,
    /// KVM_GET_LAPIC.
    pub lapic: kvm_lapic_state,
    /// KVM_GET_MSRS, in the order they are restored.
    pub msrs: Vec<MsrState>,
    /// KVM_GET_VCPU_EVENTS.
    pub events: kvm_vcpu_events,
    /// The guest's time stamp counter at the moment common to all vCPUs of the machine.
    pub tsc: u64,
    /// The counter's frequency in kHz.
    pub tsc_khz: u32,
}

/// Saves a vCPU; `host_tsc` is the moment, in the host's counts, that is common to all vCPUs.
pub(crate) fn save(kvm: &Kvm, vcpu: &VcpuFd, host_tsc: u64) -> Result<VcpuState, KvmError> {
    // The first may change what the others return: it takes in INITs and start-up messages that wait.
    let mp_state = vcpu.get_mp_state().map_err(call("KVM_GET_MP_STATE"))?;
    let offset = match tsc::offset(vcpu) {
        Some(offset) => offset,
        None => tsc::read(vcpu)?.wrapping_sub(tsc::host_tsc()),
    };
    Ok(VcpuState {
        mp_state,
        regs: vcpu.get_regs().map_err(call("KVM_GET_REGS"))?,
        sregs: vcpu.get_sregs().map_err(call("KVM_GET_SREGS"))?,
        xsave: save_xsave(kvm, vcpu)?,
        xcrs: if kvm.check_extension(Cap::Xcrs) {
            Some(vcpu.get_xcrs().map_err(call("KVM_GET_XCRS"))?)
        } else {
            None
        },
        debug_regs: vcpu.get_debug_regs().map_err(call("KVM_GET_DEBUGREGS"))?,
        lapic: vcpu.get_lapic().map_err(call("KVM_GET_LAPIC"))?,
        msrs: msrs::save(kvm, vcpu)?,
        events: vcpu.get_vcpu_events().map_err(call("KVM_GET_VCPU_EVENTS"))?,
        tsc: host_tsc.wrapping_add(offset),
        tsc_khz: vcpu.get_tsc_khz().map_err(call("KVM_GET_TSC_KHZ"))?,
    })
}

/// Puts a vCPU into a saved state; `host_tsc` is the moment common to all vCPUs at which time goes on.
pub(crate) fn restore(kvm: &Kvm, vcpu: &VcpuFd, state: &VcpuState, host_tsc: u64) -> Result<(), KvmError> {
    vcpu.set_mp_state(state.mp_state)
        .map_err(call("KVM_SET_MP_STATE"))?;
    vcpu.set_regs(&state.regs).map_err(call("KVM_SET_REGS"))?;
    vcpu.set_sregs(&state.sregs).map_err(call("KVM_SET_SREGS"))?;
    if let Some(xcrs) = &state.xcrs {
        vcpu.set_xcrs(xcrs).map_err(call("KVM_SET_XCRS"))?;
    }
    restore_xsave(kvm, vcpu, &state.xsave)?;
    vcpu.set_debug_regs(&state.debug_regs)
        .map_err(call("KVM_SET_DEBUGREGS"))?;
    vcpu.set_lapic(&state.lapic).map_err(call("KVM_SET_LAPIC"))?;
    let deadline = state
        .msrs
        .iter()
        .position(|msr| msr.index == msrs::TSC_DEADLINE)
        .unwrap_or(state.msrs.len());
    msrs::restore(vcpu, &state.msrs[..deadline])?;
    let offset = state.tsc.wrapping_sub(host_tsc);
    if tsc::offset(vcpu).is_some() {
        tsc::set_offset(vcpu, offset)?;
    } else {
        let counter = MsrState {
            index: msrs::TSC,
            data: tsc::host_tsc().wrapping_add(offset),
        };
        msrs::restore(vcpu, &[counter])?;
    }
    msrs::restore(vcpu, &state.msrs[deadline..])?;
    vcpu.set_vcpu_events(&state.events)
        .map_err(call("KVM_SET_VCPU_EVENTS"))
}

/// Bytes of the area that KVM_GET_XSAVE returns.
const XSAVE_SIZE: usize = size_of::<kvm_xsave>();

/// Bytes of the XSAVE area that this kernel reads and writes, a multiple of four.
fn xsave_size(kvm: &Kvm) -> usize {
    let size = kvm.check_extension_raw(u64::from(KVM_CAP_XSAVE2));
    let size = usize::try_from(size).unwrap_or(0).max(XSAVE_SIZE);
    size.next_multiple_of(4)
}

fn save_xsave(kvm: &Kvm, vcpu: &VcpuFd) -> Result<Vec<u8>, KvmError> {
    let size = xsave_size(kvm);
    if size == XSAVE_SIZE {
        let xsave = vcpu.get_xsave().map_err(call("KVM_GET_XSAVE"))?;
        return Ok(xsave.region.iter().flat_map(|word| word.to_le_bytes()).collect());
    }
    let words = (size - XSAVE_SIZE) / 4;
    let mut xsave = Xsave::new(words).map_err(|_| KvmError::Lacks("an XSAVE area of sensible size"))?;
    // SAFETY: the structure has room for as many bytes as KVM_CAP_XSAVE2 says the kernel writes.
    unsafe { vcpu.get_xsave2(&mut xsave) }.map_err(call("KVM_GET_XSAVE2"))?;
    let head = xsave.as_fam_struct_ref().xsave.region;
    let words = head.iter().chain(xsave.as_slice());
    Ok(words.flat_map(|word| word.to_le_bytes()).collect())
}

fn restore_xsave(kvm: &Kvm, vcpu: &VcpuFd, bytes: &[u8]) -> Result<(), KvmError> {
    if bytes.len() != xsave_size(kvm) {
        return Err(KvmError::Lacks("an XSAVE area of the size that the state has"));
    }
    let words: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    let (head, tail) = words
        .split_at_checked(XSAVE_SIZE / 4)
        .ok_or(KvmError::Lacks("a whole XSAVE area in the state"))?;
    let mut xsave = kvm_xsave::default();
    xsave.region.copy_from_slice(head);
    if tail.is_empty() {
        // SAFETY: the area is as long as this kernel reads, which was compared above.
        return unsafe { vcpu.set_xsave(&xsave) }.map_err(call("KVM_SET_XSAVE"));
    }
    let mut whole = Xsave::new(tail.len()).map_err(|_| KvmError::Lacks("an XSAVE area of sensible size"))?;
    // SAFETY: the length of the flexible part, the only field that others rely on, stays as it is.
    unsafe { whole.as_mut_fam_struct() }.xsave = xsave;
    whole.as_mut_slice().copy_from_slice(tail);
    // SAFETY: the area is as long as KVM_CAP_XSAVE2 says that this kernel reads, which was compared above.
    unsafe { vcpu.set_xsave2(&whole) }.map_err(call("KVM_SET_XSAVE"))
}
