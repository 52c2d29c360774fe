//! [`Machine`]: one guest, from its description to its end.
//!
//! ```text
//! create ─► start ─► running ⇄ paused
//!    │         │         │        │
//!    └─────────┴── end ◄─┴────────┘   by the guest, by kill or by drop
//! ```
//!
//! A machine can also begin as a [`shell`](Machine::shell), with nothing in it and its vCPUs parked, and be given
//! the content of a snapshot: the first time, that is a restore; a machine that has run, it puts back (`load`).
//!
//! Threads of a running machine: one a vCPU, one a disk, one supervisor. All are gone when [`Machine::kill`]
//! returns, and so are the guest's memory and every file descriptor; the console's log stays readable.

mod config;
mod console;
mod disks;
mod end;
mod gate;
mod lifecycle;
mod load;
pub(crate) mod platform;
mod reaper;
mod save;
mod supervisor;
mod vcpu_thread;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use provium_devices::bus::BusError;
use provium_devices::legacy::serial::SerialPort;
use provium_devices::virtio::vsock::{Vsock, VsockListener, VsockStream};
use provium_devices::{GuestRam, StateError};

pub use config::{Discovery, MachineConfig};
pub use end::EndReason;
pub use save::SaveOptions;
#[cfg(test)]
pub(crate) use save::locate;

use crate::boot::acpi::AcpiError;
use crate::boot::kernel::{self, LoadError};
use crate::boot::mptable::MpTableError;
use crate::boot::params::{self, Params, ParamsError};
use crate::boot::{acpi, mptable};
use crate::kvm::vcpu::Vcpu;
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, host, regs};
use crate::layout;
use crate::limits::{self, LimitError, MAX_DISKS};
use crate::snapshot::state::Shape;
use crate::snapshot::{Snapshot, SnapshotError};
use console::{Console, ConsoleWriter};
use lifecycle::{Lifecycle, VcpuThread};
use platform::Platform;
use vcpu_thread::Surroundings;

/// The guest's context id. Every machine has a vsock of its own, so they can all have the same.
const GUEST_CID: u32 = 3;

/// Why a machine could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Something is beyond a limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Kernel or initrd cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel cannot be told what it must know.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The ACPI tables do not fit.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The MP table does not fit.
    #[error(transparent)]
    MpTable(#[from] MpTableError),
    /// KVM refused something.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Two devices want one address.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The host has no memory for the guest.
    #[error("cannot map {mib} MiB of guest memory: {cause}")]
    Memory {
        /// What was asked for.
        mib: u64,
        /// What the kernel said.
        cause: String,
    },
    /// The host refused a thread or an event file.
    #[error("the host cannot serve another machine: {0}")]
    Host(#[from] io::Error),
    /// The machine has ended.
    #[error("the machine has ended: {0}")]
    Ended(EndReason),
    /// The machine has been started already.
    #[error("the machine has been started already")]
    Started,
    /// The machine has not been started yet.
    #[error("the machine has not been started yet")]
    NotStarted,
    /// The machine runs, and has to be paused for this.
    #[error("the machine is not paused")]
    NotPaused,
    /// Every slot for a disk is taken.
    #[error("all {MAX_DISKS} slots for disks are taken, or still held by the guest's driver")]
    NoDiskSlot,
    /// The machine writes into an image, which no snapshot can put back.
    #[error("disk `{disk}` writes into its image {}: a snapshot could not put that back", image.display())]
    WritableDisk {
        /// The disk.
        disk: String,
        /// Its image.
        image: std::path::PathBuf,
    },
    /// A snapshot cannot be written or used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A device cannot be put into the state a snapshot has for it.
    #[error("the snapshot cannot be restored: {0}")]
    State(#[from] StateError),
    /// The host's counters run at another speed than those of the snapshot's host.
    #[error("the snapshot's time stamp counter runs at {snapshot} kHz, and this host's at {host} kHz")]
    Frequency {
        /// The snapshot's.
        snapshot: u32,
        /// The host's.
        host: u32,
    },
    /// The snapshot is of another kind of machine.
    #[error("the snapshot is of a machine with {snapshot}, and this one has {machine}")]
    Shape {
        /// What the snapshot needs.
        snapshot: String,
        /// What there is.
        machine: String,
    },
}

/// One guest.
pub struct Machine {
    life: Arc<Lifecycle>,
    console: Arc<Console>,
    vsock: Vsock,
    parts: Mutex<Option<Parts>>,
}

/// What a machine gives back when it ends.
struct Parts {
    vcpus: Vec<Arc<Mutex<Vcpu>>>,
    platform: Arc<Platform>,
    ram: GuestRam,
    supervisor: Option<JoinHandle<()>>,
    shape: Shape,
    /// The snapshot the machine was equal to, and what has changed since.
    baseline: Option<load::Baseline>,
    // Last: the machine goes after its vCPUs.
    vm: Vm,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Checks the configuration, loads the kernel and creates vCPUs and devices. Nothing runs yet.
    pub fn create(config: MachineConfig) -> Result<Machine, MachineError> {
        config.check()?;
        let ram = map_ram(config.memory)?;
        let entry = kernel::load_kernel(&ram, &config.kernel)?;
        let initrd = kernel::load_initrd(
            &ram,
            &entry,
            &config.early_initrd,
            config.initrd.as_deref(),
            &config.extra_initrd,
        )?;

        let shape = Shape {
            memory: config.memory,
            cpus: config.cpus,
        };
        let assembly = Assembly::new(&ram, shape, config.rng_seed, false)?;
        let platform = &assembly.platform;
        for (slot, disk) in (0..).zip(&config.disks) {
            disk.power_on();
            platform.disks.fill(slot, Arc::clone(disk))?;
        }
        let rsdp = if config.uses_acpi() {
            Some(acpi::write(&ram, config.cpus, &platform.virtio)?)
        } else {
            mptable::write(&ram, config.cpus, &platform.virtio)?;
            None
        };
        let cmdline = config.whole_cmdline(&platform.virtio);
        params::write(
            &ram,
            &Params {
                header: entry.header,
                cmdline: &cmdline,
                initrd,
                rsdp,
            },
        )?;
        regs::write_tables(&ram)?;

        // `check` has made sure that there is a first one.
        regs::set_up_boot_cpu(&assembly.vcpus[0].fd, entry.entry)?;
        Ok(assembly.finish(ram, shape))
    }

    /// A machine with nothing in it, paused, its vCPUs' threads waiting: all that can be done for a restore
    /// before it is known of which snapshot. [`load`](Self::load) gives it content.
    pub fn shell(memory: u64, cpus: u8) -> Result<Machine, MachineError> {
        limits::check_cpus(cpus)?;
        limits::check_snapshot_memory(memory)?;
        let ram = map_ram(memory)?;
        let shape = Shape { memory, cpus };
        let machine = Assembly::new(&ram, shape, None, true)?.finish(ram, shape);
        machine.life.gate.pause();
        machine.start()?;
        Ok(machine)
    }

    /// A machine in the state of a snapshot, paused.
    pub fn restore(snapshot: &Arc<Snapshot>) -> Result<Machine, MachineError> {
        let machine = Self::shell(snapshot.memory(), snapshot.cpus())?;
        machine.load(snapshot)?;
        Ok(machine)
    }

    fn parts(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended_error(&self) -> MachineError {
        MachineError::Ended(self.ended().unwrap_or(EndReason::Killed))
    }

    /// Accepts guest-initiated connections to a host port.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there already.
    pub fn listen(&self, port: u32) -> io::Result<VsockListener> {
        self.vsock.listen(port)
    }

    /// Lets the vCPUs run.
    pub fn start(&self) -> Result<(), MachineError> {
        let mut slot = self.parts();
        let parts = slot.as_mut().ok_or_else(|| self.ended_error())?;
        if parts.supervisor.is_some() {
            return Err(MachineError::Started);
        }
        parts.supervisor = Some(supervisor::spawn(Arc::clone(&self.life))?);
        if !self.is_paused() {
            parts.platform.disks.resume();
        }
        let mut threads = self.life.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, vcpu) in parts.vcpus.iter().enumerate() {
            let surroundings = Surroundings {
                life: Arc::clone(&self.life),
                platform: Arc::clone(&parts.platform),
                ram: parts.ram.clone(),
            };
            let page = Arc::clone(&vcpu.lock().unwrap_or_else(PoisonError::into_inner).page);
            let vcpu = Arc::clone(vcpu);
            self.life.gate.enter();
            let thread = std::thread::Builder::new()
                .name(format!("provium-vcpu{index}"))
                .spawn(move || vcpu_thread::run(&surroundings, &vcpu));
            match thread {
                Ok(handle) => threads.push(VcpuThread { page, handle }),
                Err(error) => {
                    self.life.gate.leave();
                    drop(threads);
                    drop(slot);
                    self.kill();
                    return Err(MachineError::Host(error));
                }
            }
        }
        Ok(())
    }

    /// Connects to a guest port.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, `TimedOut` when the guest does not answer,
    /// `ConnectionReset` once the machine has ended.
    pub fn connect(&self, port: u32, timeout: Duration) -> io::Result<VsockStream> {
        self.vsock.connect(port, timeout)
    }

    /// Stops every vCPU at an instruction boundary and every disk between two requests; returns when all have stopped.
    pub fn pause(&self) -> Result<(), MachineError> {
        self.check_started()?;
        self.life.gate.pause();
        self.life.kick();
        if self.life.gate.wait_parked() {
            if let Some(parts) = self.parts().as_ref() {
                parts.platform.disks.pause();
            }
            Ok(())
        } else {
            Err(self.ended_error())
        }
    }

    /// Lets paused vCPUs go on.
    pub fn resume(&self) -> Result<(), MachineError> {
        self.check_started()?;
        // Not while somebody saves or loads.
        let parts = self.parts();
        if let Some(parts) = parts.as_ref() {
            parts.platform.disks.resume();
        }
        self.life.gate.resume();
        Ok(())
    }

    /// The parts of a machine that is paused, and stays so while they are held.
    fn standing_still(&self) -> Result<MutexGuard<'_, Option<Parts>>, MachineError> {
        self.check_started()?;
        let parts = self.parts();
        match self.ended() {
            Some(reason) => Err(MachineError::Ended(reason)),
            None if !self.is_paused() => Err(MachineError::NotPaused),
            None if !self.life.gate.wait_parked() => Err(self.ended_error()),
            None => {
                // Whoever pauses may not have come to the disks yet.
                if let Some(parts) = parts.as_ref() {
                    parts.platform.disks.pause();
                }
                Ok(parts)
            }
        }
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.life.gate.is_paused()
    }

    fn check_started(&self) -> Result<(), MachineError> {
        match (self.ended(), self.parts().as_ref()) {
            (Some(reason), _) => Err(MachineError::Ended(reason)),
            (None, Some(parts)) if parts.supervisor.is_some() => Ok(()),
            _ => Err(MachineError::NotStarted),
        }
    }

    /// Presses the power button; the guest may obey.
    pub fn power_button(&self) -> Result<(), MachineError> {
        self.check_started()?;
        if let Some(parts) = self.parts().as_ref() {
            parts.platform.power_button.pulse();
        }
        Ok(())
    }

    /// Takes the host end of a connection that came with a snapshot, by its ports: host's, guest's.
    pub fn adopt(&self, ports: (u32, u32)) -> Option<VsockStream> {
        self.vsock.adopt(ports)
    }

    /// Ends the connections of a loaded snapshot that nobody has adopted.
    pub fn close_unclaimed(&self) {
        self.vsock.close_unclaimed();
    }

    /// Connections with the guest that streams of the host hold.
    pub fn held_connections(&self) -> usize {
        self.vsock.held_connections()
    }

    /// Ends the machine now and leaves it to a thread of its own to wait for its threads and give back what it
    /// holds, which takes KVM milliseconds; at most a few machines wait for that thread, more are done with here.
    pub fn dispose(self) {
        self.life.end(EndReason::Killed);
        reaper::reap(self);
    }

    /// Ends the machine now; idempotent. When it returns, the machine's threads, memory and descriptors
    /// are gone.
    pub fn kill(&self) {
        self.life.end(EndReason::Killed);
        // Another thread may have decided the end and told those who wait for it, and not have stopped the vCPUs yet; once
        // they are taken from the list it could not any more.
        self.life.stop_vcpus();
        // Held to the end, so that a second caller returns no earlier than the first.
        let mut slot = self.parts();
        let threads = std::mem::take(&mut *self.life.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so through the end reason.
            let _ = thread.handle.join();
        }
        if let Some(supervisor) = slot.as_mut().and_then(|parts| parts.supervisor.take()) {
            let _ = supervisor.join();
        }
        if let Some(parts) = slot.as_ref() {
            parts.platform.disks.end();
        }
        *slot = None;
    }

    /// Why the machine ended, if it has.
    pub fn ended(&self) -> Option<EndReason> {
        self.life.end.get()
    }

    /// Waits for the end; `None` when the timeout passes first.
    pub fn wait_end(&self, timeout: Option<Duration>) -> Option<EndReason> {
        self.life.end.wait(timeout)
    }

    /// Everything the serial console has printed, at most the last 16 MiB.
    pub fn console_log(&self) -> Vec<u8> {
        self.console.log()
    }

    /// The last `max` bytes of the console, cut at a line start.
    pub fn console_tail(&self, max: usize) -> String {
        self.console.tail(max)
    }

    /// What the serial console has printed from position `from` on (0 is the start), and the position behind it; waits
    /// for something to be there, at most `limit`.
    pub fn console_since(&self, from: u64, limit: Duration) -> (Vec<u8>, u64) {
        self.console.since(from, limit)
    }

    fn with_serial<T>(&self, act: impl FnOnce(&mut SerialPort<ConsoleWriter>) -> T) -> io::Result<T> {
        match self.parts().as_ref() {
            Some(parts) => Ok(act(&mut parts
                .platform
                .serial
                .lock()
                .unwrap_or_else(PoisonError::into_inner))),
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the machine has ended",
            )),
        }
    }

    /// Types as many bytes into the serial console as its receive FIFO has room for; returns how many those are.
    ///
    /// # Errors
    /// `ConnectionReset` once the machine has ended.
    pub fn console_offer(&self, data: &[u8]) -> io::Result<usize> {
        self.with_serial(|serial| serial.offer(data))
    }

    /// Types into the serial console.
    ///
    /// # Errors
    /// `WouldBlock` when a megabyte waits unread, `ConnectionReset` once the machine has ended.
    pub fn console_write(&self, data: &[u8]) -> io::Result<()> {
        let taken = self.with_serial(|serial| serial.type_bytes(data))?;
        if taken < data.len() {
            let message = format!(
                "the guest does not read its console: {taken} of {} bytes typed",
                data.len()
            );
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        }
        Ok(())
    }

    /// The guest's vsock context id.
    pub fn cid(&self) -> u32 {
        GUEST_CID
    }
}

fn map_ram(memory: u64) -> Result<GuestRam, MachineError> {
    GuestRam::from_ranges(&layout::ram_ranges(memory)).map_err(|error| MachineError::Memory {
        mib: memory >> 20,
        cause: error.to_string(),
    })
}

/// A machine's hardware, put together.
struct Assembly {
    vm: Vm,
    life: Arc<Lifecycle>,
    console: Arc<Console>,
    vsock: Vsock,
    platform: Platform,
    vcpus: Vec<Vcpu>,
}

impl Assembly {
    fn new(
        ram: &GuestRam,
        shape: Shape,
        rng_seed: Option<u64>,
        log_dirty: bool,
    ) -> Result<Assembly, MachineError> {
        let vm = Vm::create(ram, log_dirty)?;
        let vsock = Vsock::new(GUEST_CID);
        let life = Arc::new(Lifecycle::new(vsock.clone())?);
        let console = Console::new({
            let life = Arc::clone(&life);
            Box::new(move |sign| life.panic_sign(sign))
        });
        let platform = Platform::new(&vm, ram, &life, &console, vsock.clone(), rng_seed)?;
        let (offer, _) = host::offer(&vm.kvm)?;
        let vcpus = (0..shape.cpus).map(|index| Vcpu::create(&vm, offer, index, shape.cpus));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>()?;
        Ok(Assembly {
            vm,
            life,
            console,
            vsock,
            platform,
            vcpus,
        })
    }

    fn finish(self, ram: GuestRam, shape: Shape) -> Machine {
        let vcpus = self.vcpus.into_iter().map(|vcpu| Arc::new(Mutex::new(vcpu)));
        let parts = Parts {
            vcpus: vcpus.collect(),
            platform: Arc::new(self.platform),
            ram,
            supervisor: None,
            shape,
            baseline: None,
            vm: self.vm,
        };
        Machine {
            life: self.life,
            console: self.console,
            vsock: self.vsock,
            parts: Mutex::new(Some(parts)),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}
