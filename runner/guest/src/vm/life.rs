//! A VM: one life from `created` to its end, and what may be asked of it in each state.
//!
//! ```text
//! created ──boot──► booted ◄──pause/resume──► paused
//!                     │  └── panic, triple fault, agent lost ──► dead
//!                     └── shutdown, kill, power off ──► shutdown ──boot──► booted
//! dead ──shutdown, kill──► shutdown
//! created, shutdown, dead ──restore──► booted;  whatever it is ──put_back──► booted
//! ```
//!
//! Input: a configuration, then calls. Output: answers, or a [`VmError`] that names the VM and why. The
//! machine is watched at each call, so that a guest which died in between is noticed. Not here: names of Lua
//! methods, scopes, and any waiting that the given `Cancel` does not end. What is asked is in files of its
//! own: `power`, `calls`, `saved`, `disks`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use provium_vmm::disk::Disk;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{EndReason, Machine, MachineConfig, MachineError, VcpuPlace};

use super::calls::END_GRACE;
use super::error::{VmError, VmState};
use super::gate::{Gate, Lease};
use super::splats::SplatWatch;
use super::timeline::Timeline;
use super::watch::LifeWatch;
use crate::start::boot::{Guest, LOOK_LIMIT};
use crate::start::kernel_check::KernelCheck;
use crate::start::resume::ResumeError;

/// A VM.
#[derive(Debug)]
pub struct Vm {
    pub(super) name: String,
    pub(super) config: MachineConfig,
    pub(super) boot_timeout: Duration,
    /// What is known of its kernel, for a boot that fails.
    pub(super) check: Option<KernelCheck>,
    pub(super) life: Life,
    /// What it boots with, or runs with.
    pub(super) disks: Vec<Arc<Disk>>,
    /// The snapshot it came from last, or was saved as.
    pub(super) origin: Option<Arc<Snapshot>>,
    /// Whether anybody may have changed it since it came from there, other than by letting time pass.
    pub(super) touched: Cell<bool>,
    /// Nanoseconds since 1970 that the clock is set to at each boot.
    pub(super) initial_time: Option<i64>,
    pub(super) timeline: Timeline,
    /// Number of the log that its console writes.
    pub(super) log_number: u64,
    pub(super) splats: SplatWatch,
    pub(super) gate: Option<Arc<dyn Gate>>,
    /// Hears of each machine that runs for it.
    pub(super) watch: Option<Arc<dyn LifeWatch>>,
    /// What it holds of the host while it runs.
    pub(super) lease: Option<Box<dyn Lease>>,
}

#[derive(Debug)]
pub(super) enum Life {
    Created,
    Running { guest: Guest, paused: bool },
    Over(EndedMachine),
}

/// What remains of a machine.
#[derive(Debug)]
pub(super) struct EndedMachine {
    pub(super) state: VmState,
    pub(super) why: String,
    pub(super) console: EndedConsole,
    /// Where its vCPUs stood, if it was ended because it did not answer in time.
    pub(super) places: Vec<VcpuPlace>,
}

/// The log of a console that prints no more.
#[derive(Debug, Default)]
pub(super) struct EndedConsole {
    bytes: Vec<u8>,
    /// Position behind the last byte.
    end: u64,
}

impl EndedConsole {
    /// The log of a machine as it is now.
    pub(super) fn of(machine: &Machine) -> EndedConsole {
        let (bytes, end) = machine.console_since(0, Duration::ZERO);
        EndedConsole { bytes, end }
    }

    /// A log of which nothing was dropped.
    pub(super) fn whole(bytes: Vec<u8>) -> EndedConsole {
        let end = bytes.len() as u64;
        EndedConsole { bytes, end }
    }
}

/// A place in what a VM's console prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleMark {
    /// Number of the log; see [`Vm::log_number`].
    pub log: u64,
    /// Position in there, in bytes.
    pub at: u64,
}

impl Vm {
    /// Declares a VM; nothing is made yet.
    pub fn new(name: String, config: MachineConfig, boot_timeout: Duration) -> Vm {
        Vm {
            name,
            config,
            boot_timeout,
            check: None,
            initial_time: None,
            life: Life::Created,
            disks: Vec::new(),
            origin: None,
            touched: Cell::new(true),
            timeline: Timeline::default(),
            log_number: 0,
            splats: SplatWatch::default(),
            gate: None,
            watch: None,
            lease: None,
        }
    }

    /// Which of the things made in the guest are there now.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) fn resume_error(&self, error: ResumeError) -> VmError {
        VmError::Resume {
            name: self.name.clone(),
            error: Box::new(error),
        }
    }

    /// Number of the log that its console writes: each boot, reset and restore begins another, and an offset
    /// in one means nothing in the next.
    pub fn log_number(&self) -> u64 {
        self.log_number
    }

    /// Begins another log.
    pub(super) fn begin_log(&mut self) {
        self.log_number += 1;
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says what the next boot is made of and how long it may take.
    pub fn set_config(&mut self, config: MachineConfig, boot_timeout: Duration) {
        self.config = config;
        self.boot_timeout = boot_timeout;
    }

    /// Says by what a boot that fails is explained.
    pub fn set_kernel_check(&mut self, check: Option<KernelCheck>) {
        self.check = check;
    }

    /// Says what its clock is set to, in nanoseconds since 1970, before a boot returns.
    pub fn set_initial_time(&mut self, ns: Option<i64>) {
        self.initial_time = ns;
    }

    /// Where it is in its life, looked up now.
    pub fn state(&mut self) -> VmState {
        self.notice_end();
        match &self.life {
            Life::Created => VmState::Created,
            Life::Running { paused: false, .. } => VmState::Booted,
            Life::Running { paused: true, .. } => VmState::Paused,
            Life::Over(end) => end.state,
        }
    }

    pub(super) fn ended(&self) -> VmError {
        VmError::Ended {
            name: self.name.clone(),
            why: self.why().unwrap_or_default(),
        }
    }

    /// The guest's vsock context id while it runs.
    pub fn cid(&self) -> Option<u32> {
        match &self.life {
            Life::Running { guest, .. } => Some(guest.machine.cid()),
            _ => None,
        }
    }

    /// Why it ended, if it did.
    pub fn why(&self) -> Option<String> {
        match &self.life {
            Life::Over(end) => Some(end.why.clone()),
            _ => None,
        }
    }

    /// All the serial console has printed since the last boot.
    pub fn console_log(&self) -> Vec<u8> {
        match &self.life {
            Life::Created => Vec::new(),
            Life::Running { guest, .. } => guest.machine.console_log(),
            Life::Over(end) => end.console.bytes.clone(),
        }
    }

    /// The place that its console has come to.
    pub fn console_mark(&self) -> ConsoleMark {
        let at = match &self.life {
            Life::Created => 0,
            Life::Running { guest, .. } => guest.machine.console_since(u64::MAX, Duration::ZERO).1,
            Life::Over(end) => end.console.end,
        };
        ConsoleMark {
            log: self.log_number,
            at,
        }
    }

    /// What its console has printed since the mark, as far as it is kept: all of the log where that is
    /// another than the mark's, after a boot, a reset or a restore.
    pub fn console_after(&self, mark: ConsoleMark) -> Vec<u8> {
        let mut log = self.console_log();
        if mark.log == self.log_number {
            let new = self.console_mark().at.saturating_sub(mark.at);
            log.drain(
                ..log
                    .len()
                    .saturating_sub(usize::try_from(new).unwrap_or(usize::MAX)),
            );
        }
        log
    }

    /// The machine that runs now, for whoever follows its console.
    pub fn machine(&self) -> Option<Arc<Machine>> {
        self.touched.set(true);
        self.running_machine()
    }

    /// The same for whoever only listens.
    pub(super) fn running_machine(&self) -> Option<Arc<Machine>> {
        match &self.life {
            Life::Running { guest, .. } => Some(Arc::clone(&guest.machine)),
            Life::Created | Life::Over(_) => None,
        }
    }

    /// Where each vCPU stands; of one that was ended because it did not answer in time, where each stood.
    /// None of one that ended otherwise.
    pub fn vcpu_places(&self) -> Vec<VcpuPlace> {
        match &self.life {
            Life::Created => Vec::new(),
            Life::Running { guest, .. } => guest.machine.vcpu_places(LOOK_LIMIT),
            Life::Over(end) => end.places.clone(),
        }
    }

    /// Notices a machine that ended while nobody was looking.
    pub(super) fn notice_end(&mut self) {
        if let Life::Running { guest, .. } = &self.life
            && let Some(reason) = guest.machine.ended()
        {
            self.finish_by(&reason);
        }
    }

    pub(super) fn finish_by(&mut self, reason: &EndReason) {
        self.finish(state_after(reason), reason.to_string());
    }

    /// Why its machine ended; one whose connections have just broken is waited for a moment.
    pub fn wait_end(&mut self) -> Option<EndReason> {
        let machine = self.running_machine()?;
        machine.wait_end(Some(END_GRACE))
    }

    /// Makes a VM that died one that is shut down; why it died is kept.
    pub(super) fn settle_end(&mut self) {
        if let Life::Over(end) = &mut self.life {
            end.state = VmState::Shutdown;
        }
    }

    /// Kills what still runs and keeps the reason and the console.
    pub(super) fn finish(&mut self, state: VmState, why: String) {
        if let Life::Running { guest, .. } = &self.life {
            guest.machine.kill();
            self.tell_ended(state, &why);
            self.life = Life::Over(EndedMachine {
                state,
                why,
                console: EndedConsole::of(&guest.machine),
                places: guest.machine.last_places(),
            });
            self.lease = None;
        }
    }

    pub(super) fn running_as(
        &mut self,
        allowed: &[VmState],
        needs: &'static str,
    ) -> Result<(&mut Guest, &mut bool), VmError> {
        self.touched.set(true);
        if !allowed.contains(&self.state()) {
            return Err(self.wrong_state(needs));
        }
        match &mut self.life {
            Life::Running { guest, paused } => Ok((guest, paused)),
            Life::Created | Life::Over(_) => Err(VmError::WrongState {
                name: self.name.clone(),
                state: VmState::Created,
                why: None,
                needs,
            }),
        }
    }

    pub(super) fn wrong_state(&mut self, needs: &'static str) -> VmError {
        VmError::WrongState {
            name: self.name.clone(),
            state: self.state(),
            why: self.why(),
            needs,
        }
    }

    pub(super) fn machine_error(&self, error: MachineError) -> VmError {
        VmError::Machine {
            name: self.name.clone(),
            error: Box::new(error),
        }
    }
}

/// The state of a VM whose machine ended for this reason.
pub(super) fn state_after(reason: &EndReason) -> VmState {
    match reason {
        EndReason::PowerOff | EndReason::Reboot | EndReason::Killed => VmState::Shutdown,
        EndReason::Panic(_)
        | EndReason::TripleFault(_)
        | EndReason::InternalError(_)
        | EndReason::MemoryLost(_)
        | EndReason::Monitor(_) => VmState::Dead,
    }
}
