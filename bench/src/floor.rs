//! The floor: the least that any monitor has to do to resume one guest from a file.
//!
//! Input: the size of a guest.
//! Output: how long each step took, from opening `/dev/kvm` to the guest's first exit.
//! Not here: anything of Provium's own; this is what Provium is compared with.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_irqchip, kvm_msr_entry, kvm_regs, kvm_segment,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::catalogue::{FLOOR, FLOOR_ROWS};
use crate::recorder::Recorder;

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const GDT: u64 = 0x4000;
const CODE: u64 = 0x1_0000;
const STACK: u64 = 0x2_0000;
/// Guest address of KVM's task state segment: outside of memory.
const TSS: usize = 0xfffb_d000;
/// `out 0x10, al; hlt`
const PROGRAM: [u8; 3] = [0xe6, 0x10, 0xf4];
/// System call and SYSENTER registers, as a monitor would put back at the least.
const MSRS: [u32; 6] = [0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0084];

/// A guest's memory file, and the CPUID that KVM offers.
pub(crate) struct Floor {
    memory: File,
    size: usize,
    cpuid: CpuId,
}

impl Floor {
    /// Writes the file.
    ///
    /// # Errors
    /// When that fails, or there is no KVM.
    pub(crate) fn prepare(size: usize) -> Result<Floor> {
        let memory = tempfile::tempfile().context("a file for the floor's memory")?;
        memory.set_len(size as u64)?;
        let put = |at: u64, entry: u64| memory.write_all_at(&entry.to_le_bytes(), at);
        put(PML4, PDPT | 3)?;
        put(PDPT, PD | 3)?;
        for page in 0..8 {
            put(PD + page * 8, (page << 21) | 0x83)?;
        }
        put(GDT + 8, 0x00af_9b00_0000_ffff)?;
        put(GDT + 16, 0x00cf_9300_0000_ffff)?;
        memory.write_all_at(&PROGRAM, CODE)?;
        let cpuid = Kvm::new().and_then(|kvm| kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES));
        Ok(Floor {
            memory,
            size,
            cpuid: cpuid.context("ask KVM for its CPUID")?,
        })
    }

    /// Goes through the steps once.
    ///
    /// # Errors
    /// When KVM refuses one, or the guest's first exit is not the one it was made for.
    pub(crate) fn measure(&self, recorder: &mut Recorder) -> Result<()> {
        let mut laps = Laps::start();
        let kvm = Kvm::new().context("open /dev/kvm")?;
        laps.lap();
        let mapping = Mapping::of(&self.memory, self.size).context("map the memory file")?;
        laps.lap();
        let vm = create_vm(&kvm).context("KVM_CREATE_VM")?;
        vm.set_tss_address(TSS).context("KVM_SET_TSS_ADDR")?;
        laps.lap();
        let slot = kvm_userspace_memory_region {
            memory_size: self.size as u64,
            userspace_addr: mapping.address as u64,
            ..Default::default()
        };
        // SAFETY: the range is `mapping`, which is dropped after `vm` and `vcpu`.
        unsafe { vm.set_user_memory_region(slot) }.context("KVM_SET_USER_MEMORY_REGION")?;
        laps.lap();
        vm.create_irq_chip().context("KVM_CREATE_IRQCHIP")?;
        laps.lap();
        let mut vcpu = vm.create_vcpu(0).context("KVM_CREATE_VCPU")?;
        laps.lap();
        vcpu.set_cpuid2(&self.cpuid).context("KVM_SET_CPUID2")?;
        laps.lap();
        set_state(&vm, &vcpu).context("set the state")?;
        laps.lap();
        match vcpu.run().context("KVM_RUN")? {
            VcpuExit::IoOut(0x10, _) => {}
            other => bail!("the floor's guest left for {other:?}"),
        }
        laps.lap();
        drop((vcpu, vm, mapping, kvm));
        laps.lap();

        let (closing, steps) = laps.0.split_last().expect("laps were taken");
        for (spec, took) in FLOOR_ROWS.iter().zip(steps) {
            recorder.time(spec.id, *took);
        }
        recorder.time(FLOOR, steps.iter().sum());
        recorder.time("floor/close", *closing);
        Ok(())
    }
}

/// KVM_CREATE_VM gives up with EINTR when a signal arrives during its long wait.
fn create_vm(kvm: &Kvm) -> Result<VmFd, kvm_ioctls::Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == rustix::io::Errno::INTR.raw_os_error() => {}
            result => return result,
        }
    }
}

/// Registers for the program, and each other kind of state read and put back as it is.
fn set_state(vm: &VmFd, vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = vcpu.get_sregs()?;
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (0x8005_0033, PML4, 0x20, 0x500);
    let code = kvm_segment {
        limit: u32::MAX,
        selector: 8,
        type_: 11,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment {
        selector: 16,
        type_: 3,
        l: 0,
        db: 1,
        ..code
    };
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.ss, sregs.fs, sregs.gs) = (data, data, data, data, data);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 23);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs {
        rip: CODE,
        rsp: STACK,
        rflags: 2,
        ..Default::default()
    })?;
    vcpu.set_lapic(&vcpu.get_lapic()?)?;
    for chip_id in 0..3 {
        let mut chip = kvm_irqchip {
            chip_id,
            ..Default::default()
        };
        vm.get_irqchip(&mut chip)?;
        vm.set_irqchip(&chip)?;
    }
    let xsave = vcpu.get_xsave()?;
    // SAFETY: no feature that makes the area larger than the structure has been asked for with `arch_prctl`.
    unsafe { vcpu.set_xsave(&xsave)? };
    let entries = MSRS.map(|index| kvm_msr_entry {
        index,
        ..Default::default()
    });
    vcpu.set_msrs(&Msrs::from_entries(&entries).expect("six registers"))?;
    let mut clock = vm.get_clock()?;
    clock.flags = 0;
    vm.set_clock(&clock)
}

/// The time between one call of `lap` and the next.
struct Laps(Vec<Duration>, Instant);

impl Laps {
    fn start() -> Laps {
        Laps(Vec::with_capacity(FLOOR_ROWS.len()), Instant::now())
    }

    fn lap(&mut self) {
        let now = Instant::now();
        self.0.push(now - self.1);
        self.1 = now;
    }
}

/// A file mapped copy-on-write.
struct Mapping {
    address: *mut std::ffi::c_void,
    size: usize,
}

impl Mapping {
    fn of(file: &File, size: usize) -> io::Result<Mapping> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let address = unsafe { mmap(std::ptr::null_mut(), size, access, flags, file.as_fd(), 0)? };
        Ok(Mapping { address, size })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, to which there are no references.
        let _ = unsafe { munmap(self.address, self.size) };
    }
}
