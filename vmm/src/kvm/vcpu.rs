//! One vCPU: its descriptor, the memory it shares with KVM, and what to say of it when it has died.
//!
//! Input: a machine. Output: a [`Vcpu`] that can be run. Not here: the loop that runs it
//! (`machine/vcpu_thread.rs`).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;
use provium_devices::GuestRam;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use vm_memory::{Bytes, GuestAddress};

use super::vm::Vm;
use super::{KvmError, call, cpuid, regs, tsc};

/// A vCPU, owned by the thread that runs it.
pub(crate) struct Vcpu {
    pub(crate) fd: VcpuFd,
    pub(crate) page: Arc<RunPage>,
}

impl Vcpu {
    /// Creates vCPU `index` of `cpus`, with everything but the boot processor's entry set up.
    pub(crate) fn create(
        vm: &Vm,
        offer: &kvm_bindings::CpuId,
        index: u8,
        cpus: u8,
    ) -> Result<Self, KvmError> {
        let fd = vm
            .fd
            .create_vcpu(u64::from(index))
            .map_err(call("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(&cpuid::for_vcpu(offer, index, cpus))
            .map_err(call("KVM_SET_CPUID2"))?;
        tsc::ensure_running(&fd)?;
        regs::set_up_any_cpu(&fd)?;
        let page = Arc::new(RunPage::map(&fd, vm.fd.run_size())?);
        Ok(Self { fd, page })
    }

    /// Registers and the instruction bytes at `rip`, as text for an end reason.
    pub(crate) fn describe(&self, ram: &GuestRam) -> String {
        let Ok(regs) = self.fd.get_regs() else {
            return "registers are not readable".to_owned();
        };
        let mut text = format!(
            "rip={:#018x} rsp={:#018x} rflags={:#x} rax={:#x} rbx={:#x} rcx={:#x} rdx={:#x} rsi={:#x} rdi={:#x}",
            regs.rip, regs.rsp, regs.rflags, regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi
        );
        if let Ok(sregs) = self.fd.get_sregs() {
            if (regs.rip, sregs.cs.selector) == (0xfff0, 0xf000) {
                return "its registers are lost, because this processor resets itself at a triple fault"
                    .to_owned();
            }
            text += &format!(
                " cr0={:#x} cr2={:#x} cr3={:#x} cr4={:#x} efer={:#x} cs={:#x}",
                sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer, sregs.cs.selector
            );
        }
        let code = self
            .fd
            .translate_gva(regs.rip)
            .ok()
            .filter(|at| at.valid != 0)
            .and_then(|at| {
                let mut bytes = [0u8; 15];
                ram.read_slice(&mut bytes, GuestAddress(at.physical_address))
                    .ok()?;
                Some(bytes.map(|byte| format!("{byte:02x}")).join(" "))
            });
        text + &code.map_or_else(|| " (no code at rip)".to_owned(), |code| format!(" code: {code}"))
    }
}

/// The page a vCPU shares with KVM, as far as it is used from any thread: to make KVM_RUN return at once.
///
/// A thread that wants a vCPU's attention states its wish, then [`set`](Self::set)s this, then sends the
/// vCPU's thread a signal. The vCPU thread [`clear`](Self::clear)s it before it looks for wishes. So a
/// wish is seen either there or because the next KVM_RUN returns immediately.
///
/// It is a mapping of its own of the page shared with KVM, so that it does not matter who goes first.
pub(crate) struct RunPage {
    run: *mut kvm_run,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone. Off the vCPU's own thread the page is only touched by
// an atomic store to `immediate_exit`, which exists for that (Documentation/virt/kvm/api.rst, section 5).
unsafe impl Send for RunPage {}
// SAFETY: as above.
unsafe impl Sync for RunPage {}

impl RunPage {
    fn map(vcpu: &VcpuFd, size: usize) -> Result<Self, KvmError> {
        // SAFETY: a vCPU's descriptor stays open at least as long as the reference to it.
        let fd = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let run = unsafe {
            mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        };
        let run = run.map_err(|errno| KvmError::Call {
            call: "mmap of the vCPU",
            source: kvm_ioctls::Error::new(errno.raw_os_error()),
        })?;
        Ok(Self {
            run: run.cast(),
            size,
        })
    }

    fn flag(&self) -> &AtomicU8 {
        // SAFETY: `run` is mapped until this value is dropped. The field is a byte, always aligned, and
        // this process only accesses it atomically.
        unsafe { AtomicU8::from_ptr(&raw mut (*self.run).immediate_exit) }
    }

    /// Bytes of one element of the port access that KVM_RUN has just returned with; a string instruction
    /// hands over several elements at once.
    pub(crate) fn port_access_size(&self) -> usize {
        // SAFETY: the page is mapped until this value is dropped, and KVM does not write to it outside of
        // KVM_RUN. After an exit with KVM_EXIT_IO, which the caller has just seen, `io` is the member of
        // the union that is set.
        let size = unsafe { (*self.run).__bindgen_anon_1.io.size };
        usize::from(size.max(1))
    }

    /// Suberror and data words of the KVM_EXIT_INTERNAL_ERROR that KVM_RUN has just returned with.
    pub(crate) fn internal_error(&self) -> (u32, Vec<u64>) {
        // SAFETY: as in `port_access_size`, for KVM_EXIT_INTERNAL_ERROR and `internal`.
        let internal = unsafe { (*self.run).__bindgen_anon_1.internal };
        let words = (internal.ndata as usize).min(internal.data.len());
        (internal.suberror, internal.data[..words].to_vec())
    }

    /// Makes the vCPU's next KVM_RUN, or the one under way once a signal comes, return at once.
    pub(crate) fn set(&self) {
        self.flag().store(1, Ordering::SeqCst);
    }

    /// Lets KVM_RUN enter the guest again.
    pub(crate) fn clear(&self) {
        self.flag().store(0, Ordering::SeqCst);
    }
}

impl Drop for RunPage {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` made, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.run.cast(), self.size) };
    }
}
