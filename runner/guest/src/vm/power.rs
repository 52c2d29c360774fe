//! A VM's power: boot, pause, shutdown and the ways to end it.
//!
//! Input: a call in a state that it fits. Output: the next state. Not here: snapshots; the order in which
//! several VMs should boot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_base::cancel::Cancel;
use provium_base::events::VmStart;
use provium_vmm::{Machine, MachineConfig};

use super::calls::END_GRACE;
use super::error::{VmError, VmState};
use super::life::{EndedConsole, EndedMachine, Life, Vm, state_after};
use crate::error::GuestError;
use crate::start::boot::{boot_watched, kill_on_cancel};
use crate::start::wall_clock;

/// How long a guest that was asked to shut down may take before it is killed.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

impl Vm {
    /// Boots it; returns when the agent has answered. Works in `created` and `shutdown`.
    pub fn boot(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        match self.state() {
            VmState::Created | VmState::Shutdown => self.boot_now(cancel),
            _ => Err(self.wrong_state("created or shutdown")),
        }
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

    /// Asks the guest to power off, and kills it if it has not ten seconds later, whether it has answered or
    /// not. Works in every state: one that has ended is shut down with the reason it ended for, one that
    /// never ran stays `created`.
    pub fn shutdown(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        if self.state() == VmState::Paused {
            self.resume()?;
        }
        if let Life::Running { guest, .. } = &mut self.life {
            let _end_on_cancel = kill_on_cancel(&guest.machine, cancel);
            let asked = Instant::now();
            let error = guest.client.shutdown(false, SHUTDOWN_LIMIT).err();
            // A guest too far gone to answer is ended all the same, which is what was asked for.
            let lost = error.filter(|error| !error.session_lives());
            let limit = if lost.is_some() { END_GRACE } else { SHUTDOWN_LIMIT };
            let left = limit.min(SHUTDOWN_LIMIT.saturating_sub(asked.elapsed()));
            let ended = guest.machine.wait_end(Some(left));
            if let Some(reason) = cancel.is_cancelled() {
                self.finish(VmState::Dead, format!("it was torn down: {reason}"));
                let name = self.name.clone();
                return Err(VmError::Cancelled { name, reason });
            }
            let why = match (ended, lost) {
                (Some(reason), _) if state_after(&reason) == VmState::Dead => reason.to_string(),
                (Some(_), _) => "it was shut down".to_owned(),
                (None, Some(error)) if !matches!(error, GuestError::Silent(_)) => {
                    format!("it was killed: {error}")
                }
                (None, _) => "it was killed: it did not shut down within 10 s".to_owned(),
            };
            self.finish(VmState::Shutdown, why);
        }
        self.settle_end();
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

    /// Ends it now, whatever its state: one that has ended is shut down with the reason it ended for, one
    /// that never ran stays `created`.
    pub fn kill(&mut self) {
        self.notice_end();
        if matches!(self.life, Life::Running { .. }) {
            self.finish(VmState::Shutdown, "it was killed".to_owned());
        }
        self.settle_end();
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

    fn boot_now(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        let lease = self.admit(self.config.memory, self.config.cpus)?;
        self.begin_log();
        let config = MachineConfig {
            disks: self.disks.clone(),
            ..self.config.clone()
        };
        let made = |machine: &Arc<Machine>| {
            machine.on_splat(self.splat_listener());
            if let Some(watch) = &self.watch {
                watch.starts(machine);
            }
        };
        match boot_watched(config, self.boot_timeout, cancel, self.check.as_ref(), made) {
            Ok(guest) => {
                self.note_boot();
                self.life = Life::Running { guest, paused: false };
                self.hold(lease);
                self.tell_began(self.config.memory, VmStart::Boot);
                self.origin = None;
                self.timeline.begin();
                match self.initial_time {
                    Some(ns) => self.call(cancel, |client| wall_clock::set(client, ns)),
                    None => Ok(()),
                }
            }
            Err(error) => {
                let console = EndedConsole::whole(error.console().as_bytes().to_vec());
                let why = format!("it did not boot: {}", error.headline());
                self.life = Life::Over(EndedMachine {
                    state: VmState::Dead,
                    why,
                    console,
                    places: error.places().to_vec(),
                });
                Err(VmError::Boot {
                    name: self.name.clone(),
                    error: Box::new(error),
                })
            }
        }
    }
}
