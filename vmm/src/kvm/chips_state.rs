//! The state that KVM has for the machine as a whole: the interrupt chips and the clock.
//!
//! Input: a machine whose vCPUs are not running, or a [`ChipsState`]. Output: the other. Not here: the vCPUs'
//! own state.

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_clock_data, kvm_irqchip,
};
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};

use super::{KvmError, call};

/// Interrupt chips and clock of a machine whose vCPUs are not running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChipsState {
    /// KVM_GET_IRQCHIP: the two legacy controllers, then the I/O interrupt controller.
    pub irqchips: Vec<kvm_irqchip>,
    /// KVM_GET_CLOCK: nanoseconds of kvmclock.
    pub clock_ns: u64,
}

const CHIPS: [u32; 3] = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];

/// Reads chips and clock.
pub(crate) fn save(vm: &VmFd) -> Result<ChipsState, KvmError> {
    let mut irqchips = Vec::with_capacity(CHIPS.len());
    for chip_id in CHIPS {
        let mut chip = kvm_irqchip {
            chip_id,
            ..Default::default()
        };
        vm.get_irqchip(&mut chip).map_err(call("KVM_GET_IRQCHIP"))?;
        irqchips.push(chip);
    }
    let clock_ns = vm.get_clock().map_err(call("KVM_GET_CLOCK"))?.clock;
    Ok(ChipsState { irqchips, clock_ns })
}

/// Puts chips and clock back. Interrupt lines must have been driven to their levels before.
pub(crate) fn restore(vm: &VmFd, state: &ChipsState) -> Result<(), KvmError> {
    for chip in &state.irqchips {
        vm.set_irqchip(chip).map_err(call("KVM_SET_IRQCHIP"))?;
    }
    let clock = kvm_clock_data {
        clock: state.clock_ns,
        // No realtime to catch up with: the guest's time goes on where it was.
        flags: 0,
        ..Default::default()
    };
    vm.set_clock(&clock).map_err(call("KVM_SET_CLOCK"))
}

impl ChipsState {
    /// Whether these are the chips of this monitor's machines.
    pub(crate) fn is_complete(&self) -> bool {
        self.irqchips.iter().map(|chip| chip.chip_id).eq(CHIPS)
    }
}
