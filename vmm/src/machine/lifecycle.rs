//! The machine's life: what ends it, and whom that concerns.
//!
//! Input: ends and panics, from whoever notices them: vCPU threads, power registers, the console, the host.
//! Output: the vCPUs stopped, every stream failed, everybody who waits woken. Not here: joining threads and
//! giving memory back, which is the handle's part.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use provium_devices::virtio::vsock::Vsock;
use provium_devices::{GuestRam, PowerEvent};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::console::PanicSign;
use super::end::{EndDecision, EndReason};
use super::gate::Gate;
use super::looks::Looks;
use crate::confine::{Refusal, ThreadWork, confine};
use crate::kvm::vcpu::RunPage;
use crate::lost_pages::WatchedRange;
use crate::snapshot::MemoryImage;

/// The thread of a vCPU, as others reach it.
pub(crate) struct VcpuThread {
    pub(crate) page: Arc<RunPage>,
    pub(crate) handle: JoinHandle<()>,
}

/// Shared by everybody who can end the machine.
pub(crate) struct Lifecycle {
    pub(crate) end: EndDecision,
    pub(crate) gate: Gate,
    pub(crate) looks: Looks,
    pub(crate) threads: Mutex<Vec<VcpuThread>>,
    vsock: Vsock,
    panic: Mutex<Option<PanicNote>>,
    refusal: Arc<Refusal>,
    /// What the guest's memory is mapped from; `None` where that is no file.
    mapped: Mutex<Option<MappedMemory>>,
    /// Wakes the supervisor.
    pub(crate) wake: EventFd,
}

/// Guest memory that a snapshot's file is mapped into.
struct MappedMemory {
    image: Arc<MemoryImage>,
    watched: Vec<WatchedRange>,
}

impl MappedMemory {
    fn lost(&self) -> Option<EndReason> {
        let is_lost = self.watched.iter().any(WatchedRange::is_lost);
        is_lost.then(|| EndReason::MemoryLost(self.image.loss().to_string()))
    }
}

/// A panic that has been seen, with its message once that is known.
#[derive(Clone)]
struct PanicNote(Option<String>);

impl Lifecycle {
    pub(crate) fn new(vsock: Vsock) -> std::io::Result<Self> {
        install_kick_handler()?;
        Ok(Self {
            end: EndDecision::default(),
            gate: Gate::default(),
            looks: Looks::default(),
            threads: Mutex::default(),
            vsock,
            panic: Mutex::default(),
            refusal: Arc::default(),
            mapped: Mutex::default(),
            wake: EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?,
        })
    }

    /// Ends the machine, unless it has ended. A guest that panicked and then restarts, as `panic=-1`
    /// makes it, has panicked; and whatever a guest does that has met zeros for what was its memory, it does
    /// for that.
    pub(crate) fn end(&self, reason: EndReason) {
        let reason = match (reason, self.panic_message()) {
            (EndReason::Killed, _) => EndReason::Killed,
            (reason, message) => self
                .memory_cut()
                .or(message.map(EndReason::Panic))
                .unwrap_or(reason),
        };
        if self.end.decide(reason) {
            self.stop_vcpus();
            self.vsock.end();
            self.wake_supervisor();
        }
    }

    /// Gets every vCPU out of the guest for good.
    pub(crate) fn stop_vcpus(&self) {
        self.gate.stop();
        self.kick();
    }

    /// Gets every vCPU out of the guest, to look at the gate and whether somebody looks for it.
    pub(crate) fn kick(&self) {
        for thread in self.threads.lock().iter() {
            thread.page.set();
            // A thread that has just ended needs no signal.
            let _ = thread.handle.kill(SIGRTMIN());
        }
    }

    /// Takes note of what the guest did to its power.
    pub(crate) fn power_event(&self, event: PowerEvent) {
        match event {
            PowerEvent::PowerOff => self.end(EndReason::PowerOff),
            PowerEvent::Reset => self.end(EndReason::Reboot),
            PowerEvent::Panicked => self.panic_begun(None),
        }
    }

    /// Takes note of a sign of panic on the console.
    pub(crate) fn panic_sign(&self, sign: PanicSign) {
        match sign {
            PanicSign::Begun(message) => self.panic_begun(Some(message)),
            PanicSign::Over(message) => {
                // The end of a panic whose begin nobody saw is one if it has the message, else only text.
                if message.is_some() {
                    self.panic_begun(message);
                }
                if let Some(message) = self.panic_message() {
                    self.end(EndReason::Panic(message));
                }
            }
        }
    }

    /// Notes a panic; the first message stays. A device may report it before its line is printed.
    fn panic_begun(&self, message: Option<String>) {
        let mut panic = self.panic.lock();
        let note = panic.get_or_insert(PanicNote(None));
        note.0 = note.0.take().or(message);
        drop(panic);
        self.wake_supervisor();
    }

    /// The message of the panic that has been seen, if any.
    pub(crate) fn panic_message(&self) -> Option<String> {
        let note = self.panic.lock().clone()?;
        Some(
            note.0
                .unwrap_or_else(|| "(the console shows no message)".to_owned()),
        )
    }

    /// Forgets a panic: the machine has become one that has not panicked.
    pub(crate) fn forget_panic(&self) {
        *self.panic.lock() = None;
        self.wake_supervisor();
    }

    /// Confines the calling thread, which is the machine's, to what its work needs of the host's kernel; ends
    /// the machine where that cannot be.
    pub(crate) fn confine(&self, work: ThreadWork) {
        if let Err(error) = confine(work, &self.refusal, self.wake.as_raw_fd()) {
            self.end(EndReason::Monitor(format!(
                "a thread of it cannot be confined by seccomp: {error}"
            )));
        }
    }

    /// The end of a machine one of whose threads has made a call that it has no need of.
    pub(crate) fn refused(&self) -> Option<EndReason> {
        let call = self.refusal.call()?;
        Some(EndReason::Monitor(format!(
            "a thread of it made the system call `{call}`, which was refused: its guest has taken it over, or \
             this is a bug in Provium"
        )))
    }

    /// Watches `ram`, into which `image` is mapped from now on.
    pub(crate) fn watch_memory(&self, ram: &GuestRam, image: &Arc<MemoryImage>) -> std::io::Result<()> {
        let mut mapped = self.mapped.lock();
        if let Some(mapped) = &mut *mapped {
            mapped.image = Arc::clone(image);
            return Ok(());
        }
        let wake = Some(self.wake.as_raw_fd());
        let watched = ram
            .iter()
            .map(|region| WatchedRange::new(region.as_ptr(), region.len() as usize, wake));
        *mapped = Some(MappedMemory {
            image: Arc::clone(image),
            watched: watched.collect::<Result<_, _>>()?,
        });
        Ok(())
    }

    /// Ends the watch, when nobody uses the memory any more.
    pub(crate) fn forget_memory(&self) {
        *self.mapped.lock() = None;
    }

    /// The end of a machine some of whose memory could not be had; `None` while all of it could.
    pub(crate) fn memory_lost(&self) -> Option<EndReason> {
        self.mapped.lock().as_ref().and_then(MappedMemory::lost)
    }

    /// The same, also where only the length of a file betrays it: what a KVM makes of a page that is gone is
    /// its own affair.
    fn memory_cut(&self) -> Option<EndReason> {
        let mapped = self.mapped.lock();
        let mapped = mapped.as_ref()?;
        let cut = || mapped.image.cut_short();
        mapped
            .lost()
            .or_else(|| Some(EndReason::MemoryLost(cut()?.to_string())))
    }

    /// The end of a machine whose guest has met memory that cannot be had; `None` where its memory is no
    /// file's.
    pub(crate) fn memory_unreachable(&self) -> Option<EndReason> {
        let mapped = self.mapped.lock();
        let image = &mapped.as_ref()?.image;
        Some(EndReason::MemoryLost(image.loss().to_string()))
    }

    fn wake_supervisor(&self) {
        // The counter cannot overflow: it is read far more often than 2⁶⁴ ends occur.
        let _ = self.wake.write(1);
    }
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// The signal that interrupts KVM_RUN does nothing else.
fn install_kick_handler() -> std::io::Result<()> {
    register_signal_handler(SIGRTMIN(), on_kick)
        .map_err(|error| std::io::Error::from_raw_os_error(error.errno()))
}
