//! A vCPU's time stamp counter as an offset from the host's.
//!
//! Writes of the counter itself are no good for going back in time: KVM takes a value near the expected one
//! for an attempt to synchronize, and ignores it. The offset is taken as it is
//! (`Documentation/virt/kvm/devices/vcpu.rst`, section 4).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, kvm_device_attr};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use super::{KvmError, call};

ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

/// The host's time stamp counter.
pub(crate) fn host_tsc() -> u64 {
    // SAFETY: every processor that KVM runs on has the instruction, and reading it changes nothing.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The frequency of the host's counter in kHz, measured against the monotonic clock once in a process: within some
/// ten parts in a million.
pub fn measured_khz() -> u32 {
    const STRETCH: Duration = Duration::from_millis(60);
    static MEASURED: OnceLock<u32> = OnceLock::new();
    *MEASURED.get_or_init(|| {
        let (start, first) = reading();
        std::thread::sleep(STRETCH);
        let (end, last) = reading();
        let nanos = end.duration_since(start).as_nanos().max(1);
        let khz = u128::from(last.wrapping_sub(first)) * 1_000_000 / nanos;
        u32::try_from(khz).unwrap_or(u32::MAX)
    })
}

/// Clock and counter at one moment: of several readings the one that took least.
fn reading() -> (Instant, u64) {
    let readings = (0..16).map(|_| {
        let before = host_tsc();
        let now = Instant::now();
        let after = host_tsc();
        let spent = after.wrapping_sub(before);
        (spent, now, before.wrapping_add(spent / 2))
    });
    let (_, now, tsc) = readings.min_by_key(|reading| reading.0).expect("sixteen readings");
    (now, tsc)
}

/// Gives a vCPU a counter of known frequency if KVM gave it none: where the host has corrected its own idea of its
/// counter's frequency since KVM was loaded, KVM refuses the old one and leaves the vCPU without; its timer then
/// never fires.
pub(crate) fn ensure_frequency(vcpu: &VcpuFd) -> Result<(), KvmError> {
    if vcpu.get_tsc_khz().map_err(call("KVM_GET_TSC_KHZ"))? == 0 {
        vcpu.set_tsc_khz(measured_khz()).map_err(call("KVM_SET_TSC_KHZ"))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_at_the_measured_frequency() {
        let khz = u128::from(measured_khz());
        let (start, first) = reading();
        std::thread::sleep(Duration::from_millis(100));
        let (end, last) = reading();
        let expected = end.duration_since(start).as_nanos() * khz / 1_000_000;
        let counted = u128::from(last.wrapping_sub(first));
        let off = counted.abs_diff(expected);
        assert!(off * 1000 < expected, "{counted} counts, expected {expected}");
    }
}
