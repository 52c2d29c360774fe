//! How large a machine this host's KVM takes, which may be less than the limits of the monitor.
//!
//! Input: `/dev/kvm`, its CPUID offer. Output: a [`Capacity`], which refuses in words what is beyond it. Not
//! here: the monitor's own limits (`limits`), and whether the host has that much memory.

use kvm_bindings::CpuId;
use kvm_ioctls::Kvm;
use provium_devices::GuestRam;
use vm_memory::{Address, GuestMemoryBackend};

use super::KvmError;

/// Bits of an address on a processor that does not tell (Intel SDM 3A, section 4.1.4).
const LEAST_ADDRESS_BITS: u8 = 36;

/// The largest machine that KVM takes on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Most vCPUs of a machine (KVM_CAP_MAX_VCPUS).
    pub(crate) vcpus: usize,
    /// Most memory slots of a machine (KVM_CAP_NR_MEMSLOTS).
    pub(crate) slots: usize,
    /// Bits of a physical address in a guest.
    pub(crate) address_bits: u8,
}

impl Capacity {
    /// That of this host, whose CPUID offer is `offer`.
    pub(crate) fn of(kvm: &Kvm, offer: &CpuId) -> Self {
        Self {
            vcpus: kvm.get_max_vcpus(),
            slots: kvm.get_nr_memslots(),
            address_bits: address_bits(offer),
        }
    }

    /// Refuses a machine of `cpus` vCPUs around `ram` that is too large for this host.
    pub(crate) fn check(&self, cpus: u8, ram: &GuestRam) -> Result<(), KvmError> {
        if usize::from(cpus) > self.vcpus {
            return Err(KvmError::TooManyCpus {
                asked: cpus,
                most: self.vcpus,
            });
        }
        if ram.num_regions() > self.slots {
            return Err(KvmError::TooManySlots {
                asked: ram.num_regions(),
                most: self.slots,
            });
        }
        let last = ram.last_addr().raw_value();
        if last.checked_shr(self.address_bits.into()).unwrap_or(0) != 0 {
            return Err(KvmError::TooHighMemory {
                last,
                bits: self.address_bits,
            });
        }
        Ok(())
    }
}

fn address_bits(offer: &CpuId) -> u8 {
    let mut leaves = offer.as_slice().iter();
    let sizes = leaves.find(|entry| entry.function == 0x8000_0008);
    sizes.map_or(LEAST_ADDRESS_BITS, |entry| entry.eax as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    fn ram(memory: u64) -> GuestRam {
        GuestRam::from_ranges(&layout::ram_ranges(memory)).unwrap()
    }

    #[test]
    fn a_host_with_less_says_what_it_has() {
        let host = Capacity {
            vcpus: 16,
            slots: 2,
            address_bits: 36,
        };
        host.check(16, &ram(63 << 30)).unwrap();
        let refused = |host: Capacity, cpus, memory| host.check(cpus, &ram(memory)).unwrap_err().to_string();
        assert_eq!(
            refused(host, 17, 1 << 30),
            "17 vCPUs: this host's KVM gives a machine 16 at most; ask for fewer"
        );
        assert_eq!(
            refused(host, 1, 64 << 30),
            "memory up to address 0x103fffffff: this host's processor has addresses of 36 bits; ask for less"
        );
        assert_eq!(
            refused(Capacity { slots: 1, ..host }, 1, 8 << 30),
            "2 memory slots: this host's KVM gives a machine 1 at most; ask for 3 GiB of memory or less"
        );
        let large = Capacity {
            address_bits: 64,
            vcpus: 1024,
            ..host
        };
        large.check(32, &ram(64 << 30)).unwrap();
    }

    #[test]
    fn address_bits_are_the_offers_or_the_least_there_is() {
        let sizes = kvm_bindings::kvm_cpuid_entry2 {
            function: 0x8000_0008,
            eax: 0x0030_3028,
            ..Default::default()
        };
        let bits = |entries: &[_]| address_bits(&CpuId::from_entries(entries).unwrap());
        assert_eq!((bits(&[sizes]), bits(&[])), (40, LEAST_ADDRESS_BITS));
    }
}
