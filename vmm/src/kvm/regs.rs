//! A vCPU's registers at its first instruction: 64-bit mode, as the boot protocol's 64-bit entry wants it.
//!
//! Input: guest memory, a new vCPU, the kernel's entry. Output: descriptor and page tables in memory,
//! registers set. Not here: registers that a snapshot brings (`vcpu_state`).

use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::{KvmError, call};
use crate::layout;

/// Selector of the code segment, as `Documentation/arch/x86/boot.rst` fixes it.
const CODE: u16 = 0x10;
/// Selector of the data segments.
const DATA: u16 = 0x18;
/// Selector of the task state segment.
const TASK: u16 = 0x20;

const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2ff;
/// Memory type range registers on, write-back everywhere.
const MTRR_ENABLED_WRITE_BACK: u64 = (1 << 11) | 6;
const FAST_STRINGS: u64 = 1;

const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const DELIVER_EXT_INT: i8 = 0x7;
const DELIVER_NMI: i8 = 0x4;

/// Writes descriptor tables and page tables into guest memory.
pub(crate) fn write_tables(ram: &GuestRam) -> Result<(), KvmError> {
    let put = |address: GuestAddress, entry: u64| {
        ram.write_obj(entry, address)
            .map_err(|error| KvmError::Tables(error.to_string()))
    };
    for (index, segment) in [(CODE / 8, code()), (DATA / 8, data()), (TASK / 8, task())] {
        put(
            GuestAddress(layout::GDT.0 + u64::from(index) * 8),
            descriptor(&segment),
        )?;
    }
    put(layout::IDT, 0)?;
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    put(layout::PML4, layout::PDPT.0 | PRESENT_WRITABLE)?;
    put(layout::PDPT, layout::PD.0 | PRESENT_WRITABLE)?;
    for page in 0..512u64 {
        put(
            GuestAddress(layout::PD.0 + page * 8),
            (page << 21) | PRESENT_WRITABLE | LARGE,
        )?;
    }
    Ok(())
}

/// Sets the boot vCPU's registers so that it starts at `entry`.
pub(crate) fn set_up_boot_cpu(vcpu: &VcpuFd, entry: GuestAddress) -> Result<(), KvmError> {
    let mut sregs = vcpu.get_sregs().map_err(call("KVM_GET_SREGS"))?;
    sregs.cs = code();
    for segment in [
        &mut sregs.ds,
        &mut sregs.es,
        &mut sregs.fs,
        &mut sregs.gs,
        &mut sregs.ss,
    ] {
        *segment = data();
    }
    sregs.tr = task();
    sregs.gdt.base = layout::GDT.0;
    sregs.gdt.limit = TASK + 7;
    sregs.idt.base = layout::IDT.0;
    sregs.idt.limit = 7;
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.cr3 = layout::PML4.0;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LME | EFER_LMA;
    vcpu.set_sregs(&sregs).map_err(call("KVM_SET_SREGS"))?;

    let regs = kvm_regs {
        rflags: 2,
        rip: entry.0,
        rsi: layout::BOOT_PARAMS.0,
        rsp: layout::BOOT_STACK,
        rbp: layout::BOOT_STACK,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(call("KVM_SET_REGS"))?;

    let fpu = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..Default::default()
    };
    vcpu.set_fpu(&fpu).map_err(call("KVM_SET_FPU"))
}

/// Sets what firmware would leave behind on every processor.
pub(crate) fn set_up_any_cpu(vcpu: &VcpuFd) -> Result<(), KvmError> {
    let entry = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let wanted = [
        entry(MSR_MISC_ENABLE, FAST_STRINGS),
        entry(MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLED_WRITE_BACK),
    ];
    // Two entries always fit the kernel's limit.
    let msrs = Msrs::from_entries(&wanted).expect("two registers");
    let accepted = vcpu.set_msrs(&msrs).map_err(call("KVM_SET_MSRS"))?;
    if let Some(refused) = wanted.get(accepted) {
        return Err(KvmError::Msr(refused.index));
    }
    // LINT0 takes the legacy controller's interrupts, LINT1 the NMI.
    let mut lapic = vcpu.get_lapic().map_err(call("KVM_GET_LAPIC"))?;
    lapic.regs[LVT_LINT0 + 1] = DELIVER_EXT_INT;
    lapic.regs[LVT_LINT1 + 1] = DELIVER_NMI;
    vcpu.set_lapic(&lapic).map_err(call("KVM_SET_LAPIC"))
}

fn code() -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: CODE,
        type_: 11,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    }
}

fn data() -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: DATA,
        type_: 3,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    }
}

fn task() -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xf_ffff,
        selector: TASK,
        type_: 11,
        present: 1,
        g: 1,
        ..Default::default()
    }
}

/// The segment as its eight bytes in the table (Intel SDM 3A, section 3.4.5).
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit = u64::from(if segment.g == 1 {
        segment.limit >> 12
    } else {
        segment.limit
    }) & 0xf_ffff;
    let access = u64::from(segment.type_)
        | (u64::from(segment.s) << 4)
        | (u64::from(segment.dpl) << 5)
        | (u64::from(segment.present) << 7);
    let flags = u64::from(segment.l) << 1 | u64::from(segment.db) << 2 | u64::from(segment.g) << 3;
    let base = segment.base & 0xffff_ffff;
    (limit & 0xffff)
        | ((base & 0xff_ffff) << 16)
        | (access << 40)
        | ((limit >> 16) << 48)
        | (flags << 52)
        | ((base >> 24) << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_the_ones_everybody_knows() {
        assert_eq!(descriptor(&code()), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&data()), 0x00cf_9300_0000_ffff);
    }
}
