//! A vCPU's time stamp counter as an offset from the host's.
//!
//! Input: a vCPU. Output: its counter and offset, read and set; the host's frequency. Not here: kvmclock
//! (`chips_state`).
//!
//! Writes of the counter itself are no good for going back in time: KVM takes a value near the expected one
//! for an attempt to synchronize, and ignores it. The offset is taken as it is
//! (`Documentation/virt/kvm/devices/vcpu.rst`, section 4).

use std::sync::OnceLock;
use std::time::Duration;

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, Msrs, kvm_device_attr, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use rustix::time::{ClockId, clock_gettime};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use super::{KvmError, call, msrs};

ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

/// The host's time stamp counter.
pub(crate) fn host_tsc() -> u64 {
    // SAFETY: every processor that KVM runs on has the instruction, and reading it changes nothing.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The frequency of the host's counter in kHz, measured against the raw monotonic clock once in a process:
/// within some ten parts in a million.
pub fn measured_khz() -> u32 {
    const INTERVAL: Duration = Duration::from_millis(60);
    static MEASURED: OnceLock<u32> = OnceLock::new();
    *MEASURED.get_or_init(|| {
        let (start, first) = reading();
        std::thread::sleep(INTERVAL);
        let (end, last) = reading();
        let khz = u128::from(last.wrapping_sub(first)) * 1_000_000 / (end - start).max(1);
        u32::try_from(khz).unwrap_or(u32::MAX)
    })
}

/// The raw monotonic clock in nanoseconds and the counter, at one moment: of 16 readings the one that took
/// least.
fn reading() -> (u128, u64) {
    let readings = (0..16).map(|_| {
        let before = host_tsc();
        let now = clock_gettime(ClockId::MonotonicRaw);
        let after = host_tsc();
        let spent = after.wrapping_sub(before);
        let now = now.tv_sec.unsigned_abs() as u128 * 1_000_000_000 + now.tv_nsec.unsigned_abs() as u128;
        (spent, now, before.wrapping_add(spent / 2))
    });
    let (_, now, tsc) = readings
        .min_by_key(|reading| reading.0)
        .expect("sixteen readings");
    (now, tsc)
}

/// Makes sure that a new vCPU's counter runs. Where the host's kernel has corrected its idea of the counter's
/// frequency since KVM was loaded, KVM asks itself for the old one, refuses, and leaves the vCPU with a
/// counter that stands still: such a guest boots, and its first sleep never ends.
pub(crate) fn ensure_running(vcpu: &VcpuFd) -> Result<(), KvmError> {
    if !runs(vcpu)? {
        vcpu.set_tsc_khz(measured_khz())
            .map_err(call("KVM_SET_TSC_KHZ"))?;
        if !runs(vcpu)? {
            return Err(KvmError::Lacks("a time stamp counter that runs"));
        }
    }
    Ok(())
}

fn runs(vcpu: &VcpuFd) -> Result<bool, KvmError> {
    Ok(read(vcpu)? != read(vcpu)?)
}

/// The guest's counter as it is now.
pub(crate) fn read(vcpu: &VcpuFd) -> Result<u64, KvmError> {
    let entry = kvm_msr_entry {
        index: msrs::TSC,
        ..Default::default()
    };
    let mut msrs = Msrs::from_entries(&[entry]).expect("one register");
    match vcpu.get_msrs(&mut msrs).map_err(call("KVM_GET_MSRS"))? {
        1 => Ok(msrs.as_slice()[0].data),
        _ => Err(KvmError::Msr(msrs::TSC)),
    }
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
        let expected = (end - start) * khz / 1_000_000;
        let counted = u128::from(last.wrapping_sub(first));
        let off = counted.abs_diff(expected);
        assert!(off * 1000 < expected, "{counted} counts, expected {expected}");
    }
}
