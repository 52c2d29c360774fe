//! A VM's power: boot, pause, shutdown and the ways to end it.
//!
//! Input: a call in a state that it fits. Output: the next state. Not here: snapshots; the order in which
//! several VMs should boot.

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;
use provium_vmm::MachineConfig;

use super::error::{VmError, VmState};
use super::life::{EndedConsole, EndedMachine, Life, Vm, state_after};
use crate::start::boot::{boot, kill_on_cancel};
use crate::start::wall_clock;

/// How long a guest that was asked to shut down may take before it is killed.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

impl Vm {
    /// Boots it; returns when the agent has answered. Works in `created` and `shutdown`.
    pub fn boot(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        self.begin_log();
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

    /// Asks the guest to power off, waits ten seconds, then kills it. Works in every state: one that has
    /// ended is shut down with the reason it ended for, one that never ran stays `created`.
    pub fn shutdown(&mut self, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        if self.state() == VmState::Paused {
            self.resume()?;
        }
        if self.state() == VmState::Booted {
            match self.call(cancel, |client| client.shutdown(false)) {
                // A guest too far gone to answer is ended all the same, which is what was asked for.
                Ok(()) | Err(VmError::Guest(_) | VmError::Ended { .. } | VmError::WrongState { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if let Life::Running { guest, .. } = &self.life {
            let _end_on_cancel = kill_on_cancel(&guest.machine, cancel);
            let why = match guest.machine.wait_end(Some(SHUTDOWN_LIMIT)) {
                Some(reason) if state_after(&reason) == VmState::Dead => reason.to_string(),
                Some(_) => "it was shut down".to_owned(),
                None => "it was killed: it did not shut down within 10 s".to_owned(),
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
        self.begin_log();
        if self.state() == VmState::Created {
            return Err(self.wrong_state("booted, paused, shutdown or dead"));
        }
        self.kill();
        self.boot_now(cancel)
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
                let console = EndedConsole::whole(error.console().as_bytes().to_vec());
                let why = format!("it did not boot: {}", error.headline());
                self.life = Life::Over(EndedMachine {
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
}
