//! A vCPU's time stamp counter as an offset from the host's.
//!
//! Writes of the counter itself are no good for going back in time: KVM takes a value near the expected one
//! for an attempt to synchronize, and ignores it. The offset is taken as it is
//! (`Documentation/virt/kvm/devices/vcpu.rst`, section 4).

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, kvm_device_attr};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use super::KvmError;

ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

/// The host's time stamp counter.
pub(crate) fn host_tsc() -> u64 {
    // SAFETY: every processor that KVM runs on has the instruction, and reading it changes nothing.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// What is added to the host's counter to get the guest's; `None` when this KVM cannot say.
pub(crate) fn offset(vcpu: &VcpuFd) -> Option<u64> {
    let mut offset = 0u64;
    let attr = attr(&raw mut offset as u64);
    // SAFETY: the kernel writes eight bytes at `addr`, which is the live `offset`, and nothing else.
    let done = unsafe { ioctl_with_ref(vcpu, KVM_GET_DEVICE_ATTR(), &attr) };
    (done == 0).then_some(offset)
}

/// Sets what is added to the host's counter.
pub(crate) fn set_offset(vcpu: &VcpuFd, offset: u64) -> Result<(), KvmError> {
    let attr = attr(&raw const offset as u64);
    // SAFETY: the kernel reads eight bytes at `addr`, which is the live `offset`, and nothing else.
    match unsafe { ioctl_with_ref(vcpu, KVM_SET_DEVICE_ATTR(), &attr) } {
        0 => Ok(()),
        _ => Err(KvmError::Call {
            call: "KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)",
            source: kvm_ioctls::Error::last(),
        }),
    }
}

fn attr(addr: u64) -> kvm_device_attr {
    kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr,
    }
}
