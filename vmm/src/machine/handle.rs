//! [`Machine`]: the handle of one guest, by which the host creates it, drives it and talks to it.
//!
//! Input: a [`MachineConfig`], calls from any thread. Output: a running guest, streams to it, its console's
//! log, its end. Not here: what a call needs beyond the handle's own hardware: saving, loading, attaching
//! disks (`save`, `load`, `attach`); how an end is decided (`lifecycle`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use provium_devices::legacy::serial::SerialPort;
use provium_devices::virtio::vsock::{GUEST_CIDS, VsockListener, VsockStream};

use super::cid::CIDS;
use super::config::MachineConfig;
use super::console::{ConsoleWriter, Splat, SplatListener};
use super::end::EndReason;
use super::error::MachineError;
use super::hardware::{Hardware, HostEnds};
use super::lifecycle::VcpuThread;
use super::platform::DeviceOptions;
use super::ram::{RamUse, map_ram};
use super::supervisor;
use super::vcpu_thread::{self, VcpuContext};
use crate::boot::params::{self, Params};
use crate::boot::{acpi, kernel, mptable};
use crate::kvm::regs;
use crate::limits;
use crate::snapshot::state::Shape;

/// The handle of one guest; dropping it ends the guest.
pub struct Machine {
    pub(super) ends: HostEnds,
    /// `None` once the machine has ended and given everything back.
    hardware: Mutex<Option<Hardware>>,
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
    ///
    /// # Errors
    /// [`MachineError`] with what cannot be: a number, a file, a call of the host or of KVM.
    pub fn create(config: MachineConfig) -> Result<Machine, MachineError> {
        config.check()?;
        let ram = map_ram(config.memory, RamUse::Boot)?;
        let entry = kernel::load_kernel(&ram, &config.kernel)?;
        let initrd = kernel::load_initrd(
            &ram,
            &entry,
            &config.early_initrd,
            config.initrd.as_deref(),
            &config.extra_initrds,
        )?;

        let shape = Shape {
            memory: config.memory,
            cpus: config.cpus,
        };
        let devices = DeviceOptions::of(&config)?;
        let (hardware, ends) = Hardware::create(ram.clone(), shape, CIDS.next(), devices, false)?;
        let platform = &hardware.platform;
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
        regs::set_up_boot_cpu(&hardware.vcpus[0].lock().fd, entry.entry)?;
        Ok(Self::of(hardware, ends))
    }

    /// A blank machine: nothing in it, paused, its vCPUs' threads waiting. That is all that can be done for a
    /// restore before it is known of which snapshot; [`load`](Self::load) gives it content.
    ///
    /// # Errors
    /// [`MachineError::Limit`] for numbers that no machine has; what the host or KVM refuses.
    pub fn blank(memory: u64, cpus: u8) -> Result<Machine, MachineError> {
        limits::check_cpus(cpus)?;
        limits::check_snapshot_memory(memory)?;
        let ram = map_ram(memory, RamUse::Snapshot)?;
        // The snapshot brings the one that its guest knows.
        let cid = *GUEST_CIDS.start();
        let (hardware, ends) =
            Hardware::create(ram, Shape { memory, cpus }, cid, DeviceOptions::default(), true)?;
        let machine = Self::of(hardware, ends);
        machine.ends.life.gate.pause();
        machine.start()?;
        Ok(machine)
    }

    fn of(hardware: Hardware, ends: HostEnds) -> Machine {
        Machine {
            ends,
            hardware: Mutex::new(Some(hardware)),
        }
    }

    /// The hardware, locked; `None` once it was given back.
    pub(super) fn hardware(&self) -> MutexGuard<'_, Option<Hardware>> {
        self.hardware.lock()
    }

    /// The same; `None` also when somebody else has it for longer than `limit`.
    pub(super) fn hardware_within(&self, limit: Duration) -> Option<MutexGuard<'_, Option<Hardware>>> {
        self.hardware.try_lock_for(limit)
    }

    /// The error of a call that comes too late.
    pub(super) fn ended_error(&self) -> MachineError {
        MachineError::Ended(self.ended().unwrap_or(EndReason::Killed))
    }

    /// Accepts guest-initiated connections to a host port.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there already.
    pub fn listen(&self, port: u32) -> io::Result<VsockListener> {
        self.ends.vsock.listen(port)
    }

    /// Starts the machine's threads and lets the vCPUs run.
    ///
    /// # Errors
    /// [`MachineError::Started`], [`MachineError::Ended`], [`MachineError::Host`].
    pub fn start(&self) -> Result<(), MachineError> {
        let mut slot = self.hardware();
        let hardware = slot.as_mut().ok_or_else(|| self.ended_error())?;
        if hardware.supervisor.is_some() {
            return Err(MachineError::Started);
        }
        hardware.supervisor = Some(supervisor::spawn(Arc::clone(&self.ends.life))?);
        if !self.is_paused() {
            hardware.platform.disks.resume();
        }
        let mut threads = self.ends.life.threads.lock();
        for (index, vcpu) in hardware.vcpus.iter().enumerate() {
            let context = VcpuContext {
                life: Arc::clone(&self.ends.life),
                platform: Arc::clone(&hardware.platform),
                ram: hardware.ram.clone(),
                index,
            };
            let page = Arc::clone(&vcpu.lock().page);
            let vcpu = Arc::clone(vcpu);
            self.ends.life.gate.enter();
            let thread = std::thread::Builder::new()
                .name(format!("provium-vcpu{index}"))
                .spawn(move || vcpu_thread::run(&context, &vcpu));
            match thread {
                Ok(handle) => threads.push(VcpuThread { page, handle }),
                Err(error) => {
                    self.ends.life.gate.leave();
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
        self.ends.vsock.connect(port, timeout)
    }

    /// Stops every vCPU at an instruction boundary and every disk between two requests; returns when all have
    /// stopped.
    ///
    /// # Errors
    /// [`MachineError::NotStarted`], [`MachineError::Ended`].
    pub fn pause(&self) -> Result<(), MachineError> {
        self.check_started()?;
        self.ends.life.gate.pause();
        self.ends.life.kick();
        if self.ends.life.gate.wait_parked() {
            if let Some(hardware) = self.hardware().as_ref() {
                hardware.platform.disks.pause();
            }
            Ok(())
        } else {
            Err(self.ended_error())
        }
    }

    /// Lets paused vCPUs and disks go on.
    ///
    /// # Errors
    /// [`MachineError::NotStarted`], [`MachineError::Ended`].
    pub fn resume(&self) -> Result<(), MachineError> {
        self.check_started()?;
        // Not while somebody saves or loads.
        let hardware = self.hardware();
        if let Some(hardware) = hardware.as_ref() {
            hardware.platform.disks.resume();
        }
        self.ends.life.gate.resume();
        Ok(())
    }

    /// The hardware of a machine that is paused, and stays so while it is held.
    pub(super) fn paused_hardware(&self) -> Result<MutexGuard<'_, Option<Hardware>>, MachineError> {
        self.check_started()?;
        let hardware = self.hardware();
        match self.ended() {
            Some(reason) => Err(MachineError::Ended(reason)),
            None if !self.is_paused() => Err(MachineError::NotPaused),
            None if !self.ends.life.gate.wait_parked() => Err(self.ended_error()),
            None => {
                // Whoever pauses may not have come to the disks yet.
                if let Some(hardware) = hardware.as_ref() {
                    hardware.platform.disks.pause();
                }
                Ok(hardware)
            }
        }
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.ends.life.gate.is_paused()
    }

    fn check_started(&self) -> Result<(), MachineError> {
        match (self.ended(), self.hardware().as_ref()) {
            (Some(reason), _) => Err(MachineError::Ended(reason)),
            (None, Some(hardware)) if hardware.supervisor.is_some() => Ok(()),
            _ => Err(MachineError::NotStarted),
        }
    }

    /// Presses the power button; whether the guest obeys is its business.
    ///
    /// # Errors
    /// [`MachineError::NotStarted`], [`MachineError::Ended`].
    pub fn power_button(&self) -> Result<(), MachineError> {
        self.check_started()?;
        if let Some(hardware) = self.hardware().as_ref() {
            hardware.platform.power_button.pulse();
        }
        Ok(())
    }

    /// The host's stream of a connection that came with a snapshot, by its ports: host's, guest's. `None`
    /// when there is no such connection, or somebody has it already.
    pub fn adopt(&self, ports: (u32, u32)) -> Option<VsockStream> {
        self.ends.vsock.adopt(ports)
    }

    /// Ends the connections of a loaded snapshot that nobody has adopted.
    pub fn close_unclaimed(&self) {
        self.ends.vsock.close_unclaimed();
    }

    /// Number of connections with the guest that streams of the host hold.
    pub fn held_connections(&self) -> usize {
        self.ends.vsock.held_connections()
    }

    /// Ends the machine now; idempotent. When it returns, the machine's threads, memory and descriptors
    /// are gone.
    pub fn kill(&self) {
        self.ends.life.end(EndReason::Killed);
        // Another thread may have decided the end and told those who wait for it, and not have stopped the
        // vCPUs yet; once they are taken from the list it could not any more.
        self.ends.life.stop_vcpus();
        // Held to the end, so that a second caller returns no earlier than the first.
        let mut slot = self.hardware();
        let threads = std::mem::take(&mut *self.ends.life.threads.lock());
        for thread in threads {
            // A thread that panicked has said so through the end reason.
            let _ = thread.handle.join();
        }
        if let Some(supervisor) = slot.as_mut().and_then(|hardware| hardware.supervisor.take()) {
            let _ = supervisor.join();
        }
        if let Some(hardware) = slot.as_ref() {
            hardware.platform.disks.end();
        }
        self.ends.life.forget_memory();
        *slot = None;
    }

    /// Why the machine ended; `None` while it has not.
    pub fn ended(&self) -> Option<EndReason> {
        self.ends.life.end.get()
    }

    /// Waits for the end, at most `timeout` if there is one; `None` when that passes first.
    pub fn wait_end(&self, timeout: Option<Duration>) -> Option<EndReason> {
        self.ends.life.end.wait(timeout)
    }

    /// Everything the serial console has printed, at most the last 16 MiB.
    pub fn console_log(&self) -> Vec<u8> {
        self.ends.console.log()
    }

    /// The last `max` bytes of the console, cut at a line start.
    pub fn console_tail(&self, max: usize) -> String {
        self.ends.console.tail(max)
    }

    /// The bytes that the serial console has printed from position `from` on (0 is the start), and the
    /// position behind them; waits for some to be there, at most `limit`.
    pub fn console_since(&self, from: u64, limit: Duration) -> (Vec<u8>, u64) {
        self.ends.console.since(from, limit)
    }

    /// Calls `listener` with each splat on the console, from those on that it shows now, each time when the
    /// line is there that says what happened; `None` calls nobody any more. The thread is that of a vCPU,
    /// which waits meanwhile.
    pub fn on_splat(&self, listener: Option<SplatListener>) {
        self.ends.console.set_splat_listener(listener);
    }

    /// The splats that begin at position `from` of the console or behind it, the last hundred at most, and
    /// how many more there have been.
    pub fn splats(&self, from: u64) -> (Vec<Arc<Splat>>, u64) {
        self.ends.console.splats(from)
    }

    fn with_serial<T>(&self, act: impl FnOnce(&mut SerialPort<ConsoleWriter>) -> T) -> io::Result<T> {
        match self.hardware().as_ref() {
            Some(hardware) => Ok(act(&mut hardware.platform.serial.lock())),
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the machine has ended",
            )),
        }
    }

    /// Types as many bytes into the serial console as its receive FIFO has room for; gives their number.
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

    /// The guest's vsock context id: no other machine's that has booted in this process, or the one that the
    /// guest had when it was saved.
    pub fn cid(&self) -> u32 {
        self.ends.vsock.cid()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}
