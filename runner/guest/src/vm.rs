//! A VM as a test sees it: one life from `created` to its end, and what may be asked of it in each state.
//!
//! ```text
//! created ──boot──► booted ◄──pause/resume──► paused
//!                     │  └── panic, triple fault, agent lost ──► dead
//!                     └── shutdown, kill, power off ──► shutdown ──boot──► booted
//! created, shutdown ──restore──► booted;  whatever it is ──put_back──► booted
//! ```
//!
//! Enters: a configuration, then calls. Leaves: answers, or a [`VmError`] that names the VM and why. The machine
//! is watched at each call, so that a guest which died in between is noticed. Absent on purpose: names of Lua
//! methods, scopes, and any waiting that the given [`Cancel`] does not end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use provium_vmm::disk::{Disk, ImageDigest};
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{EndReason, Machine, MachineConfig, MachineError};

use super::boot::{CONSOLE_TAIL, Guest, boot, kill_on_cancel};
use super::client::GuestClient;
use super::error::GuestError;
use super::ready::Ready;
use super::resume::{Arrival, ResumeError, arrival_of, reset, save_with};
use super::timeline::Timeline;
use super::vm_error::{VmError, VmState};
use super::wall_clock;
use provium_base::cancel::{Cancel, CancelGuard};

/// How long a guest that was asked to shut down may take before it is killed.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// How long after a broken session the machine's own reason is waited for.
const END_GRACE: Duration = Duration::from_secs(2);
/// The same for a session that may break by itself.
const WORKER_GRACE: Duration = Duration::from_millis(200);
/// How long a further session may take to come about.
const SESSION_LIMIT: Duration = Duration::from_secs(20);

/// A VM.
#[derive(Debug)]
pub struct Vm {
    name: String,
    config: MachineConfig,
    boot_timeout: Duration,
    pub(super) life: Life,
    /// What it boots with, or runs with.
    pub(super) disks: Vec<Arc<Disk>>,
    /// The snapshot it came from last, or was saved as.
    origin: Option<Arc<Snapshot>>,
    /// Nanoseconds since 1970 that the clock is set to at each boot.
    initial_time: Option<i64>,
    timeline: Timeline,
}

#[derive(Debug)]
pub(super) enum Life {
    Created,
    Running { guest: Guest, paused: bool },
    Over(End),
}

/// What remains of a machine.
#[derive(Debug)]
pub(super) struct End {
    state: VmState,
    why: String,
    console: Vec<u8>,
}

impl Vm {
    /// Declares a VM; nothing is made yet.
    pub fn new(name: String, config: MachineConfig, boot_timeout: Duration) -> Vm {
        Vm {
            name,
            config,
            boot_timeout,
            initial_time: None,
            life: Life::Created,
            disks: Vec::new(),
            origin: None,
            timeline: Timeline::default(),
        }
    }

    /// Which of the things made in the guest are there now.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Writes it into `folder`; it goes on as it was. With `on_parent`, only what differs from the snapshot it came
    /// from. The digests are those of images below its disks, as far as anybody made them. Works in `booted` and `paused`.
    pub fn snapshot(
        &mut self,
        folder: &Path,
        on_parent: bool,
        arrival: Arrival,
        image_digests: BTreeMap<PathBuf, ImageDigest>,
    ) -> Result<Arc<Snapshot>, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted, VmState::Paused], "booted or paused")?;
        let saved = save_with(guest, folder, on_parent, arrival, image_digests);
        let saved = saved.map_err(|error| self.resume_error(error))?;
        self.origin = Some(Arc::clone(&saved));
        self.timeline.save(saved.id());
        Ok(saved)
    }

    /// The snapshot it came from last, or was saved as.
    pub fn origin(&self) -> Option<&Arc<Snapshot>> {
        self.origin.as_ref()
    }

    /// Looks at the images below a snapshot's disks: one that was touched is good if `digest` finds its old content.
    ///
    /// # Errors
    /// When one is another.
    pub fn confirm_images(
        &self,
        snapshot: &Snapshot,
        digest: &dyn Fn(&Path) -> std::io::Result<ImageDigest>,
    ) -> Result<(), VmError> {
        let confirmed = snapshot.confirm_images(digest);
        confirmed.map_err(|error| self.resume_error(MachineError::from(error).into()))
    }

    /// Starts it from a snapshot. Works in `created` and `shutdown`.
    pub fn restore(&mut self, snapshot: &Arc<Snapshot>, ready: &Ready) -> Result<(), VmError> {
        match self.state() {
            VmState::Created | VmState::Shutdown => self.restore_now(snapshot, ready),
            _ => Err(self.wrong_state("created or shutdown")),
        }
    }

    /// Puts it into the state of a snapshot, whatever it is now: in place where it runs.
    pub fn put_back(&mut self, snapshot: &Arc<Snapshot>, ready: &Ready) -> Result<(), VmError> {
        if matches!(self.state(), VmState::Booted | VmState::Paused)
            && let Life::Running { guest, paused } = &mut self.life
        {
            match reset(guest, snapshot, arrival_of(snapshot)) {
                Ok(_) => {
                    *paused = false;
                    self.origin = Some(Arc::clone(snapshot));
                    self.take_machines_disks();
                    self.timeline.enter(snapshot.id());
                    return Ok(());
                }
                Err(error) if guest.machine.ended().is_none() && !refused(&error) => {
                    return Err(self.resume_error(error));
                }
                // Of another shape, or dead: a new machine takes its place.
                Err(error) => tracing::debug!(vm = self.name, %error, "no reset in place"),
            }
        }
        self.restore_now(snapshot, ready)
    }

    fn restore_now(&mut self, snapshot: &Arc<Snapshot>, ready: &Ready) -> Result<(), VmError> {
        self.give_up(ready);
        let guest = ready
            .resume(snapshot, arrival_of(snapshot))
            .map_err(|error| self.resume_error(error))?;
        self.life = Life::Running { guest, paused: false };
        self.origin = Some(Arc::clone(snapshot));
        self.take_machines_disks();
        self.timeline.enter(snapshot.id());
        Ok(())
    }

    /// Ends it without waiting for what it holds to be given back; one that came from a snapshot may serve again.
    pub fn give_up(&mut self, ready: &Ready) {
        self.disks.clear();
        self.notice_end();
        let Life::Running { guest, .. } = &self.life else {
            return;
        };
        let over = Life::Over(End {
            state: VmState::Shutdown,
            why: "it was closed".to_owned(),
            console: guest.machine.console_log(),
        });
        if let Life::Running { guest, .. } = std::mem::replace(&mut self.life, over) {
            match self.origin.take() {
                Some(snapshot) => ready.give_back(&snapshot, guest),
                None => ready.end(guest),
            }
        }
    }

    pub(super) fn resume_error(&self, error: ResumeError) -> VmError {
        VmError::Resume {
            name: self.name.clone(),
            error: Box::new(error),
        }
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

    /// Boots it; returns when the agent has answered. Works in `created` and `shutdown`.
    pub fn boot(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        match self.state() {
            VmState::Created | VmState::Shutdown => self.boot_now(cancel),
            _ => Err(self.wrong_state("created or shutdown")),
        }
    }

    /// Boots several at once; returns when all have answered or failed. The first failure, in the order
    /// given, is returned; the others stay booted.
    pub fn boot_all(vms: &mut [&mut Vm], cancel: &Arc<Cancel>) -> Result<(), VmError> {
        Vm::all(vms, |vm| vm.boot(cancel))
    }

    /// Shuts several down at once; returns when all have ended. The first failure, in the order given, is returned.
    pub fn shutdown_all(vms: &mut [&mut Vm], cancel: &Arc<Cancel>) -> Result<(), VmError> {
        Vm::all(vms, |vm| vm.shutdown(cancel))
    }

    /// Does `action` to several at once, each on a thread of its own.
    fn all(
        vms: &mut [&mut Vm],
        action: impl Fn(&mut Vm) -> Result<(), VmError> + Sync,
    ) -> Result<(), VmError> {
        let action = &action;
        std::thread::scope(|scope| {
            let threads: Vec<_> = vms.iter_mut().map(|vm| scope.spawn(move || action(vm))).collect();
            let results: Vec<_> = threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect();
            results.into_iter().collect()
        })
    }

    /// Stops the vCPUs. Works in `booted`.
    pub fn pause(&mut self) -> Result<(), VmError> {
        let (guest, paused) = self.running_as(&[VmState::Booted], "booted")?;
        let done = guest.machine.pause();
        *paused = done.is_ok();
        done.map_err(|error| self.machine_error(error))
    }

    /// Lets the vCPUs go on. Works in `paused`.
    pub fn resume(&mut self) -> Result<(), VmError> {
        let (guest, paused) = self.running_as(&[VmState::Paused], "paused")?;
        let done = guest.machine.resume();
        *paused = done.is_err();
        done.map_err(|error| self.machine_error(error))
    }

    /// Asks the guest to power off, waits ten seconds, then kills it. Works in `booted` and `paused`.
    pub fn shutdown(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        if self.state() == VmState::Paused {
            self.resume()?;
        }
        self.running_as(&[VmState::Booted], "booted or paused")?;
        match self.call(cancel, |client| client.shutdown(false)) {
            // A guest too far gone to answer is ended all the same, which is what was asked for.
            Ok(()) | Err(VmError::Guest(_) | VmError::Ended { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Life::Running { guest, .. } = &self.life {
            let _end_on_cancel = kill_on_cancel(&guest.machine, cancel);
            let why = match guest.machine.wait_end(Some(SHUTDOWN_LIMIT)) {
                Some(_) => "it was shut down",
                None => "it was killed: it did not shut down within 10 s",
            };
            self.finish(VmState::Shutdown, why.to_owned());
        }
        Ok(())
    }

    /// Presses the power button; the guest may obey. Works in `booted`.
    pub fn power_button(&mut self) -> Result<(), VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        guest
            .machine
            .power_button()
            .map_err(|error| self.machine_error(error))
    }

    /// Ends it now, whatever its state; a VM that does not run stays what it is.
    pub fn kill(&mut self) {
        self.notice_end();
        if matches!(self.life, Life::Running { .. }) {
            self.finish(VmState::Shutdown, "it was killed".to_owned());
        }
    }

    /// What the reset line of a board does: ends it now and boots it again. Works in every state but
    /// `created`.
    pub fn reset(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        if self.state() == VmState::Created {
            return Err(self.wrong_state("booted, paused, shutdown or dead"));
        }
        self.kill();
        self.boot_now(cancel)
    }

    /// Asks the agent. Works in `booted`; when the session breaks, the VM's end is found out and told.
    pub fn call<R>(
        &mut self,
        cancel: &Arc<Cancel>,
        ask: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let end_on_cancel = kill_on_cancel(&guest.machine, cancel);
        let error = match ask(&mut guest.client) {
            Ok(answer) => return Ok(answer),
            Err(error) if error.session_lives() => return Err(VmError::Guest(error)),
            Err(error) => error,
        };
        Err(match self.broken(cancel, end_on_cancel, END_GRACE) {
            Some(error) => error,
            None => {
                self.finish(VmState::Dead, error.to_string());
                self.ended()
            }
        })
    }

    /// Asks through a session besides its own. Works in `booted`; when that session breaks, the VM may well go on.
    pub fn call_on<R>(
        &mut self,
        client: &mut GuestClient,
        cancel: &Arc<Cancel>,
        ask: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let end_on_cancel = kill_on_cancel(&guest.machine, cancel);
        match ask(client) {
            Ok(answer) => Ok(answer),
            Err(error) if error.session_lives() => Err(VmError::Guest(error)),
            Err(error) => Err(self
                .broken(cancel, end_on_cancel, WORKER_GRACE)
                .unwrap_or(VmError::Guest(error))),
        }
    }

    /// A further session with the agent's process that listens on `port` of the guest. Works in `booted`.
    pub fn session(&mut self, port: u32, cancel: &Arc<Cancel>) -> Result<GuestClient, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let end_on_cancel = kill_on_cancel(&guest.machine, cancel);
        let connected = guest
            .machine
            .connect(port, SESSION_LIMIT)
            .map_err(GuestError::Lost);
        let session = connected.and_then(|stream| GuestClient::handshake(Box::new(stream), SESSION_LIMIT));
        session.map_err(|error| {
            self.broken(cancel, end_on_cancel, WORKER_GRACE)
                .unwrap_or(VmError::Guest(error))
        })
    }

    /// Finds out whether a broken session means the VM's end, within `grace`.
    fn broken(&mut self, cancel: &Cancel, end_on_cancel: CancelGuard, grace: Duration) -> Option<VmError> {
        let Life::Running { guest, .. } = &self.life else {
            return Some(self.ended());
        };
        let ended = guest.machine.wait_end(Some(grace));
        drop(end_on_cancel);
        if let Some(reason) = cancel.is_cancelled() {
            self.finish(VmState::Dead, format!("it was torn down: {reason}"));
            return Some(VmError::Cancelled {
                name: self.name.clone(),
                reason,
            });
        }
        self.finish_by(&ended?);
        Some(self.ended())
    }

    fn ended(&self) -> VmError {
        VmError::Ended {
            name: self.name.clone(),
            why: self.why().unwrap_or_default(),
        }
    }

    /// Seconds the guest has been up, by its own clock. Works in `booted`.
    pub fn uptime(&mut self, cancel: &Arc<Cancel>) -> Result<f64, VmError> {
        let ns = self.call(cancel, wall_clock::since_boot)?;
        Ok(ns as f64 / 1e9)
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
            Life::Over(end) => end.console.clone(),
        }
    }

    /// The machine that runs now, for whoever follows its console.
    pub fn machine(&self) -> Option<Arc<Machine>> {
        match &self.life {
            Life::Running { guest, .. } => Some(Arc::clone(&guest.machine)),
            Life::Created | Life::Over(_) => None,
        }
    }

    /// The console's last lines, at most 4 KiB.
    pub fn console_tail(&self) -> String {
        let log = self.console_log();
        let tail = &log[log.len().saturating_sub(CONSOLE_TAIL)..];
        let whole_lines = match tail.iter().position(|byte| *byte == b'\n') {
            Some(newline) if tail.len() < log.len() => &tail[newline + 1..],
            _ => tail,
        };
        String::from_utf8_lossy(whole_lines).into_owned()
    }

    fn boot_now(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        let config = MachineConfig {
            disks: self.disks.clone(),
            ..self.config.clone()
        };
        match boot(config, self.boot_timeout, cancel) {
            Ok(guest) => {
                self.life = Life::Running { guest, paused: false };
                self.origin = None;
                self.timeline.begin();
                match self.initial_time {
                    Some(ns) => self.call(cancel, |client| wall_clock::set(client, ns)),
                    None => Ok(()),
                }
            }
            Err(error) => {
                let console = error.console().as_bytes().to_vec();
                let why = format!("it did not boot: {}", error.headline());
                self.life = Life::Over(End {
                    state: VmState::Dead,
                    why,
                    console,
                });
                Err(VmError::Boot {
                    name: self.name.clone(),
                    error: Box::new(error),
                })
            }
        }
    }

    /// Notices a machine that ended while nobody was looking.
    fn notice_end(&mut self) {
        if let Life::Running { guest, .. } = &self.life
            && let Some(reason) = guest.machine.ended()
        {
            self.finish_by(&reason);
        }
    }

    fn finish_by(&mut self, reason: &EndReason) {
        let state = match reason {
            EndReason::PowerOff | EndReason::Reboot | EndReason::Killed => VmState::Shutdown,
            EndReason::Panic(_)
            | EndReason::TripleFault(_)
            | EndReason::InternalError(_)
            | EndReason::Monitor(_) => VmState::Dead,
        };
        self.finish(state, reason.to_string());
    }

    /// Kills what still runs and keeps the reason and the console.
    fn finish(&mut self, state: VmState, why: String) {
        if let Life::Running { guest, .. } = &self.life {
            guest.machine.kill();
            let console = guest.machine.console_log();
            self.life = Life::Over(End { state, why, console });
        }
    }

    fn running_as(
        &mut self,
        allowed: &[VmState],
        needs: &'static str,
    ) -> Result<(&mut Guest, &mut bool), VmError> {
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

/// Whether a machine refused a snapshot before anything was done.
fn refused(error: &ResumeError) -> bool {
    matches!(error, ResumeError::Machine(MachineError::Shape { .. }))
}
