//! One virtual machine as KVM sees it: memory slots, dirty log, interrupt chips, interrupt lines, and the
//! page of registers that guests read without leaving.
//!
//! Input: guest memory. Output: a [`Vm`]. Not here: vCPUs (`vcpu`).

use std::sync::Arc;

use kvm_bindings::{
    KVM_CAP_IOEVENTFD_ANY_LENGTH, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, KVMIO, kvm_clear_dirty_log, kvm_clear_dirty_log__bindgen_ty_1,
    kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VmFd};
use provium_devices::{GuestRam, IrqLine};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MmapRegion};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iowr_nr;

use super::capacity::Capacity;
use super::{KvmError, call, host};
use crate::layer::PAGE;
use crate::layout;

/// The memory slot of the page of registers, behind those of RAM.
const REGISTERS_SLOT: u32 = 2;

/// A virtual machine and the memory its slots point at.
pub(crate) struct Vm {
    pub(crate) kvm: Kvm,
    pub(crate) fd: Arc<VmFd>,
    /// The memory that slots point at; kept while a vCPU may run.
    ram: GuestRam,
    logs_dirty: bool,
    /// Whether a page stays in KVM's log, and writable, until it is taken out.
    keeps_dirty: bool,
    /// Where the guest reads the registers of one device; kept while a vCPU may run.
    registers: Option<Registers>,
}

/// A page of registers that the guest reads as memory, and the address of one of them that writes to need not
/// leave the guest for.
struct Registers {
    page: Arc<MmapRegion>,
    /// Counts the writes, which nobody reads.
    swallowed: EventFd,
}

ioctl_iowr_nr!(KVM_CLEAR_DIRTY_LOG, KVMIO, 0xc0, kvm_clear_dirty_log);

/// The capabilities that a host's KVM must have for guests of this monitor.
pub(crate) const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::TscDeadlineTimer, "KVM_CAP_TSC_DEADLINE_TIMER"),
];

impl Vm {
    /// Creates a machine with `ram`, room for `cpus` vCPUs and the PC's interrupt chips (no PIT: guests here
    /// do not need one). With `log_dirty`, KVM notes from the start which pages vCPUs write.
    pub(crate) fn create(ram: &GuestRam, cpus: u8, log_dirty: bool) -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        for (cap, name) in NEEDED {
            if !kvm.check_extension(cap) {
                return Err(KvmError::Lacks(name));
            }
        }
        let (offer, _) = host::offer(&kvm)?;
        Capacity::of(&kvm, offer).check(cpus, ram)?;
        let fd = create_vm(&kvm).map_err(call("KVM_CREATE_VM"))?;
        fd.set_identity_map_address(layout::IDENTITY_MAP)
            .map_err(call("KVM_SET_IDENTITY_MAP_ADDR"))?;
        fd.set_tss_address(layout::KVM_TSS)
            .map_err(call("KVM_SET_TSS_ADDR"))?;
        // Reading the log would make every page in it read-only again, and the guest leave for each at its
        // next write.
        let keeps_dirty = fd
            .enable_cap(&kvm_enable_cap {
                cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                args: [u64::from(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE), 0, 0, 0],
                ..Default::default()
            })
            .is_ok();
        let vm = Self {
            kvm,
            fd: Arc::new(fd),
            ram: ram.clone(),
            logs_dirty: log_dirty,
            keeps_dirty,
            registers: None,
        };
        vm.set_slots()?;
        let vm = vm.with_registers();
        vm.fd.create_irq_chip().map_err(call("KVM_CREATE_IRQCHIP"))?;
        Ok(vm)
    }

    /// Puts a page of memory where the guest looks for the registers of the first virtio device, if this KVM
    /// can make reads of it reads of memory.
    fn with_registers(mut self) -> Self {
        let can = self.kvm.check_extension(Cap::ReadonlyMem)
            && self.kvm.check_extension_raw(KVM_CAP_IOEVENTFD_ANY_LENGTH.into()) > 0;
        let page = MmapRegion::new(PAGE as usize).ok().filter(|_| can);
        let Some((page, swallowed)) = page.zip(EventFd::new(libc::EFD_CLOEXEC).ok()) else {
            return self;
        };
        let slot = kvm_userspace_memory_region {
            slot: REGISTERS_SLOT,
            flags: KVM_MEM_READONLY,
            guest_phys_addr: layout::VIRTIO_MMIO,
            memory_size: PAGE,
            userspace_addr: page.as_ptr() as u64,
        };
        // SAFETY: the range is the mapping of `page`, which is kept in this struct. As with RAM, KVM looks at
        // it only while a vCPU runs. No memory of the guest's is there.
        if unsafe { self.fd.set_user_memory_region(slot) }.is_ok() {
            self.registers = Some(Registers {
                page: Arc::new(page),
                swallowed,
            });
        }
        self
    }

    /// The page of memory that is at `base`, for the registers of the device there; the guest does not leave
    /// for writes at `base + quiet` either. `None` where registers are not memory.
    pub(crate) fn register_page(&self, base: u64, quiet: u64) -> Result<Option<Arc<MmapRegion>>, KvmError> {
        let Some(registers) = self.registers.as_ref().filter(|_| base == layout::VIRTIO_MMIO) else {
            return Ok(None);
        };
        self.fd
            .register_ioevent(
                &registers.swallowed,
                &IoEventAddress::Mmio(base + quiet),
                NoDatamatch,
            )
            .map_err(call("KVM_IOEVENTFD"))?;
        Ok(Some(Arc::clone(&registers.page)))
    }

    fn set_slots(&self) -> Result<(), KvmError> {
        for (slot, region) in self.ram.iter().enumerate() {
            let slot = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: if self.logs_dirty {
                    KVM_MEM_LOG_DIRTY_PAGES
                } else {
                    0
                },
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the range is the mapping of `region`, which `ram` owns, and this struct keeps a clone
            // of that. KVM looks at the range only while a vCPU runs, and whoever owns this struct has ended
            // all vCPUs before it is dropped; lines may keep `fd` for longer. Regions do not overlap.
            unsafe { self.fd.set_user_memory_region(slot) }.map_err(call("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    /// Makes KVM note which pages vCPUs write from now on, unless it does already. Costs a grace period.
    pub(crate) fn log_dirty(&mut self) -> Result<(), KvmError> {
        if !self.logs_dirty {
            self.logs_dirty = true;
            self.set_slots()?;
        }
        Ok(())
    }

    /// The pages of region `slot` that vCPUs have written since they were taken [out of the
    /// log](Self::forget_dirty), a bit each; on a KVM that cannot keep them, since the last call.
    pub(crate) fn dirty_log(&self, slot: usize, bytes: u64) -> Result<Vec<u64>, KvmError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.fd
            .get_dirty_log(slot as u32, bytes)
            .map_err(call("KVM_GET_DIRTY_LOG"))
    }

    /// Takes pages of region `slot` out of the log: the next write to each is noted anew.
    pub(crate) fn forget_dirty(&self, slot: usize, bytes: u64, pages: &[u64]) -> Result<(), KvmError> {
        if !self.keeps_dirty || pages.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let count = bytes / 4096;
        assert!(pages.len() as u64 * 64 >= count, "a bit for each page");
        let request = kvm_clear_dirty_log {
            slot: slot as u32,
            num_pages: u32::try_from(count).unwrap_or(u32::MAX),
            first_page: 0,
            __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 {
                dirty_bitmap: pages.as_ptr().cast_mut().cast(),
            },
        };
        // SAFETY: the kernel reads a bit for each of `num_pages` pages, for which `pages` has room, and
        // writes nothing.
        match unsafe { ioctl_with_ref(&*self.fd, KVM_CLEAR_DIRTY_LOG(), &request) } {
            0 => Ok(()),
            _ => Err(call("KVM_CLEAR_DIRTY_LOG")(kvm_ioctls::Error::last())),
        }
    }

    /// The interrupt line `gsi`: a pin of the interrupt controllers.
    pub(crate) fn line(&self, gsi: u32) -> Arc<dyn IrqLine> {
        Arc::new(KvmLine {
            vm: Arc::clone(&self.fd),
            gsi,
        })
    }
}

/// KVM_CREATE_VM gives up with EINTR when a signal arrives during its long wait.
pub(crate) fn create_vm(kvm: &Kvm) -> Result<VmFd, kvm_ioctls::Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result,
        }
    }
}

/// An interrupt line driven by KVM_IRQ_LINE, which injects at once, on the caller's thread. An eventfd would
/// go through a kernel work queue for a pin of the I/O interrupt controller.
struct KvmLine {
    vm: Arc<VmFd>,
    gsi: u32,
}

impl IrqLine for KvmLine {
    fn set_level(&self, high: bool) {
        if let Err(error) = self.vm.set_irq_line(self.gsi, high) {
            tracing::error!(gsi = self.gsi, high, %error, "KVM_IRQ_LINE");
        }
    }
}
