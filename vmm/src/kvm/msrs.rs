//! The model-specific registers of a vCPU, all that the host lists.
//!
//! Input: a vCPU, or registers with their values. Output: the other. Not here: the time stamp counter, which
//! is saved as an offset (`tsc`).
//!
//! KVM_GET_MSRS and KVM_SET_MSRS stop at the first register they refuse and return how many they did, so both
//! are called again behind it. A register that cannot be read is no part of a state; one that cannot be
//! written must have the wanted value already.

use std::sync::OnceLock;

use kvm_bindings::{KVM_MAX_MSR_ENTRIES, Msrs, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuFd};
use serde::{Deserialize, Serialize};

use super::{KvmError, call};

/// IA32_TIME_STAMP_COUNTER; the counter's offset is saved instead of it.
pub(crate) const TSC: u32 = 0x10;
/// IA32_TSC_DEADLINE, when the local timer fires: restored last, since it means nothing before the counter is
/// right.
pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
/// Writing these makes KVM write the wall clock's start into guest memory, once; the guest has long had it.
const WALL_CLOCKS: [u32; 2] = [0x11, 0x4b56_4d00];

/// Hyper-V's registers, which KVM lists although guests are not offered them. Some are clocks, and never the
/// same.
const HYPER_V: std::ops::Range<u32> = 0x4000_0000..0x4000_0200;

/// One model-specific register with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsrState {
    /// Its number.
    pub index: u32,
    /// Its value.
    pub data: u64,
}

/// The registers that make up a state, in the order they are restored.
fn list(kvm: &Kvm) -> Result<&'static [u32], KvmError> {
    static LIST: OnceLock<Vec<u32>> = OnceLock::new();
    if let Some(list) = LIST.get() {
        return Ok(list);
    }
    let all = kvm.get_msr_index_list().map_err(call("KVM_GET_MSR_INDEX_LIST"))?;
    let wanted = |index: &&u32| {
        ![TSC, TSC_DEADLINE].contains(*index) && !WALL_CLOCKS.contains(*index) && !HYPER_V.contains(*index)
    };
    let mut list: Vec<u32> = all.as_slice().iter().filter(wanted).copied().collect();
    if all.as_slice().contains(&TSC_DEADLINE) {
        list.push(TSC_DEADLINE);
    }
    Ok(LIST.get_or_init(|| list))
}

/// Reads every listed register that can be read.
pub(crate) fn save(kvm: &Kvm, vcpu: &VcpuFd) -> Result<Vec<MsrState>, KvmError> {
    let mut saved = Vec::new();
    for chunk in list(kvm)?.chunks(KVM_MAX_MSR_ENTRIES) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let mut msrs = entries(rest.iter().map(|&index| MsrState { index, data: 0 }));
            let read = vcpu.get_msrs(&mut msrs).map_err(call("KVM_GET_MSRS"))?;
            let read = read.min(rest.len());
            let values = msrs.as_slice()[..read].iter();
            saved.extend(values.map(|entry| MsrState {
                index: entry.index,
                data: entry.data,
            }));
            rest = rest.get(read + 1..).unwrap_or(&[]);
        }
    }
    Ok(saved)
}

/// Writes registers, in the order given.
pub(crate) fn restore(vcpu: &VcpuFd, state: &[MsrState]) -> Result<(), KvmError> {
    for chunk in state.chunks(KVM_MAX_MSR_ENTRIES) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let written = vcpu
                .set_msrs(&entries(rest.iter().copied()))
                .map_err(call("KVM_SET_MSRS"))?;
            if let Some(refused) = rest.get(written) {
                let mut present = entries([*refused]);
                let readable = vcpu.get_msrs(&mut present) == Ok(1);
                if !readable || present.as_slice()[0].data != refused.data {
                    return Err(KvmError::Msr(refused.index));
                }
            }
            rest = rest.get(written + 1..).unwrap_or(&[]);
        }
    }
    Ok(())
}

fn entries(states: impl IntoIterator<Item = MsrState>) -> Msrs {
    let entries: Vec<kvm_msr_entry> = states
        .into_iter()
        .map(|state| kvm_msr_entry {
            index: state.index,
            data: state.data,
            ..Default::default()
        })
        .collect();
    Msrs::from_entries(&entries).expect("no more than KVM_MAX_MSR_ENTRIES")
}
