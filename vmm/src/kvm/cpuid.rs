//! What the guest's CPUID instruction says: KVM's own offer, fitted to each vCPU.
//!
//! Input: KVM_GET_SUPPORTED_CPUID, a vCPU's number. Output: that vCPU's leaves. Not here: whether two hosts
//! offer the same (`host`).

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;

use super::{KvmError, call};

const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Virtualization of its own is not offered: its state would have to be part of a snapshot.
const INTEL_VMX: u32 = 1 << 5;
const AMD_SVM: u32 = 1 << 2;
const HYPER_THREADING: u32 = 1 << 28;
const KVM_FEATURES: u32 = 0x4000_0001;
/// Asynchronous page faults: with all memory mapped they buy nothing, and their in-flight tokens would
/// have to survive a snapshot.
const ASYNC_PAGE_FAULTS: u32 = (1 << 4) | (1 << 10) | (1 << 14);
const TOPOLOGY_LEVEL_THREAD: u32 = 1;
const TOPOLOGY_LEVEL_CORE: u32 = 2;

/// What the host's KVM can offer any guest.
pub(crate) fn supported(kvm: &Kvm) -> Result<CpuId, KvmError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(call("KVM_GET_SUPPORTED_CPUID"))
}

/// The offer as vCPU `cpu` of `cpus` sees it: one package of single-threaded cores.
pub(crate) fn for_vcpu(supported: &CpuId, cpu: u8, cpus: u8) -> CpuId {
    let mut cpuid = supported.clone();
    if cpus > 1 {
        add_level_of_cores(&mut cpuid);
    }
    for entry in cpuid.as_mut_slice() {
        fit(entry, u32::from(cpu), u32::from(cpus));
    }
    cpuid
}

/// Adds the level of cores to the topology leaves that have the level of threads alone, as Linux offers them
/// since 6.2. Without it each vCPU is a processor of its own to the guest. One vCPU needs no such level.
fn add_level_of_cores(cpuid: &mut CpuId) {
    for leaf in [0xb, 0x1f] {
        let has = |index| {
            let mut all = cpuid.as_slice().iter();
            all.any(|entry| (entry.function, entry.index) == (leaf, index))
        };
        if has(0) && !has(1) {
            let cores = kvm_cpuid_entry2 {
                function: leaf,
                index: 1,
                flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                ..Default::default()
            };
            // A list that is full already stays as it is, which guests can live with.
            let _ = cpuid.push(cores);
        }
    }
}

fn fit(entry: &mut kvm_cpuid_entry2, cpu: u32, cpus: u32) {
    // Bits of an APIC id that number the cores.
    let width = cpus.next_power_of_two().trailing_zeros();
    match entry.function {
        0x1 => {
            entry.ecx = (entry.ecx | HYPERVISOR | TSC_DEADLINE) & !INTEL_VMX;
            entry.ebx = (entry.ebx & 0xff00) | (entry.ebx & 0xff) | (cpus << 16) | (cpu << 24);
            if cpus > 1 {
                entry.edx |= HYPER_THREADING;
            } else {
                entry.edx &= !HYPER_THREADING;
            }
        }
        // Intel's caches: how many share each, and cores in the package.
        0x4 if entry.eax & 0x1f != 0 => {
            let level = (entry.eax >> 5) & 7;
            let sharing = if level >= 3 { cpus - 1 } else { 0 };
            entry.eax = (entry.eax & 0x3fff) | (sharing << 14) | ((cpus - 1) << 26);
        }
        // No performance counters: no state of them to carry along.
        0xa => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        0xb | 0x1f => {
            entry.edx = cpu;
            let (kind, shift, logical) = match entry.index {
                0 => (TOPOLOGY_LEVEL_THREAD, 0, 1),
                1 => (TOPOLOGY_LEVEL_CORE, width, cpus),
                _ => (0, 0, 0),
            };
            entry.eax = shift;
            entry.ebx = logical;
            entry.ecx = (entry.index & 0xff) | (kind << 8);
        }
        KVM_FEATURES => entry.eax &= !ASYNC_PAGE_FAULTS,
        0x8000_0001 => entry.ecx &= !AMD_SVM,
        0x8000_000a => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        // AMD: cores less one, and the width of their part of the APIC id.
        0x8000_0008 => entry.ecx = (entry.ecx & !0xf0ff) | (cpus - 1) | (width << 12),
        0x8000_001d if entry.eax & 0x1f != 0 => {
            let level = (entry.eax >> 5) & 7;
            let sharing = if level >= 3 { cpus - 1 } else { 0 };
            entry.eax = (entry.eax & 0x3fff) | (sharing << 14);
        }
        0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (cpu, cpu, 0),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(entry: kvm_cpuid_entry2, cpu: u8, cpus: u8) -> kvm_cpuid_entry2 {
        let all = CpuId::from_entries(&[entry]).unwrap();
        for_vcpu(&all, cpu, cpus).as_slice()[0]
    }

    #[test]
    fn each_vcpu_has_its_own_apic_id_everywhere() {
        for function in [0x1, 0xb, 0x8000_001e] {
            let entry = kvm_cpuid_entry2 {
                function,
                ..Default::default()
            };
            let fitted = fitted(entry, 5, 8);
            let id = match function {
                0x1 => fitted.ebx >> 24,
                0xb => fitted.edx,
                _ => fitted.eax,
            };
            assert_eq!(id, 5, "leaf {function:#x}");
        }
    }

    #[test]
    fn the_topology_is_cores_of_one_thread() {
        let core = kvm_cpuid_entry2 {
            function: 0xb,
            index: 1,
            ..Default::default()
        };
        let core = fitted(core, 0, 6);
        assert_eq!((core.eax, core.ebx, core.ecx), (3, 6, 0x201));
        let amd = kvm_cpuid_entry2 {
            function: 0x8000_0008,
            ecx: 0xffff_ffff,
            ..Default::default()
        };
        assert_eq!(fitted(amd, 0, 6).ecx & 0xf0ff, 0x3005);
    }

    #[test]
    fn a_topology_leaf_without_cores_is_given_them_and_one_vcpu_needs_none() {
        let threads = kvm_cpuid_entry2 {
            function: 0xb,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            ..Default::default()
        };
        let offer = CpuId::from_entries(&[threads]).unwrap();
        assert_eq!(for_vcpu(&offer, 0, 1).as_slice().len(), 1);
        let fitted = for_vcpu(&offer, 31, 32);
        let levels: Vec<_> = fitted
            .as_slice()
            .iter()
            .map(|entry| {
                (
                    entry.index,
                    entry.flags,
                    entry.eax,
                    entry.ebx,
                    entry.ecx,
                    entry.edx,
                )
            })
            .collect();
        assert_eq!(levels, [(0, 1, 0, 1, 0x100, 31), (1, 1, 5, 32, 0x201, 31)]);
        let again = for_vcpu(&fitted, 31, 32);
        assert_eq!(again.as_slice().len(), 2, "one that has the level keeps it");
    }

    #[test]
    fn the_older_leaves_count_thirty_two_cores_as_well() {
        let leaf = |function, eax, ecx| {
            let entry = kvm_cpuid_entry2 {
                function,
                eax,
                ecx,
                ..Default::default()
            };
            fitted(entry, 31, 32)
        };
        assert_eq!(leaf(1, 0, 0).ebx >> 16, 31 << 8 | 32);
        // A unified cache of the third level: all 32 share it.
        let cache = leaf(4, 3 << 5 | 3, 0).eax;
        assert_eq!((cache >> 26, cache >> 14 & 0xfff), (31, 31));
        assert_eq!(leaf(0x8000_0008, 0, 0).ecx, 5 << 12 | 31);
    }

    #[test]
    fn asynchronous_page_faults_are_not_offered() {
        let features = kvm_cpuid_entry2 {
            function: KVM_FEATURES,
            eax: u32::MAX,
            ..Default::default()
        };
        assert_eq!(fitted(features, 0, 1).eax & ASYNC_PAGE_FAULTS, 0);
    }
}
