//! A VM's agent: requests on the VM's own session, and on further ones.
//!
//! Input: what is to be asked. Output: the answer; when a session breaks, the VM's end is found out and told.
//! A session whose thread the guest's kernel has ended is followed by another, since the guest goes on.
//! Not here: what can be asked, which `client` knows.

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelGuard};
use provium_protocol::{AGENT_PORT, EndedThread, ThreadEnd};
use provium_vmm::Machine;

use super::console_words;
use super::error::{VmError, VmState};
use super::life::{Life, Vm};
use crate::client::session::GuestClient;
use crate::error::GuestError;
use crate::start::boot::{Guest, kill_on_cancel};
use crate::start::wall_clock;

/// How long after a broken session the machine's own reason is waited for.
pub(super) const END_GRACE: Duration = Duration::from_secs(2);
/// The same for a session that may break by itself.
const WORKER_GRACE: Duration = Duration::from_millis(200);
/// How long the session that follows the VM's own may take to come about, in a guest whose kernel has a bug.
const FOLLOW_LIMIT: Duration = Duration::from_secs(10);
/// How long a further session may take to come about.
const SESSION_LIMIT: Duration = Duration::from_secs(20);

impl Vm {
    /// Asks the agent. Works in `booted`; when the session breaks, the VM's end is found out and told.
    pub fn call<R>(
        &mut self,
        cancel: &Arc<Cancel>,
        ask: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let end_on_cancel = kill_on_cancel(&guest.machine, cancel);
        let mut error = match ask(&mut guest.client) {
            Ok(answer) => return Ok(answer),
            Err(error) => explained(error, &guest.machine),
        };
        if error.session_lives() {
            return Err(VmError::Guest(error));
        }
        if let GuestError::ThreadEnded { thread, .. } = error {
            match follow(guest, thread) {
                Ok(()) => return Err(VmError::Guest(error)),
                Err(why) => {
                    error = GuestError::Protocol(format!("{error}; no other session could be had: {why}"))
                }
            }
        }
        Err(match self.broken(cancel, end_on_cancel, END_GRACE) {
            Some(error) => error,
            None => {
                let why = self.why_lost(&error);
                self.finish(VmState::Dead, why);
                self.ended()
            }
        })
    }

    /// Why the agent does not answer any more, with what the console says about its end.
    fn why_lost(&self, error: &GuestError) -> String {
        let said = match (&self.life, error) {
            (Life::Running { guest, .. }, GuestError::Lost(_)) => {
                console_words::end_of_the_agent(&guest.machine)
            }
            _ => None,
        };
        match said {
            Some(said) => format!("{error}; the console says: {said}"),
            None => error.to_string(),
        }
    }

    /// Asks through a session besides its own. Works in `booted`; when that session breaks, the VM may well
    /// go on.
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
            Err(error) => {
                let error = explained(error, &guest.machine);
                let grace = match error {
                    // The guest was well enough to say so, or what ended is known from an earlier call.
                    GuestError::ThreadEnded { .. } | GuestError::Over(_) => Duration::ZERO,
                    _ => WORKER_GRACE,
                };
                if error.session_lives() {
                    return Err(VmError::Guest(error));
                }
                Err(self
                    .broken(cancel, end_on_cancel, grace)
                    .unwrap_or(VmError::Guest(error)))
            }
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

    /// Seconds the guest has been up, by its own clock. Works in `booted`.
    pub fn uptime(&mut self, cancel: &Arc<Cancel>) -> Result<f64, VmError> {
        let ns = self.call(cancel, wall_clock::since_boot)?;
        Ok(ns as f64 / 1e9)
    }
}

/// Gives a guest another session of its own, in place of the one whose thread its kernel has ended.
fn follow(guest: &mut Guest, thread: EndedThread) -> Result<(), GuestError> {
    let stream = guest
        .machine
        .connect(AGENT_PORT, FOLLOW_LIMIT)
        .map_err(GuestError::Lost)?;
    let mut client = GuestClient::handshake(Box::new(stream), FOLLOW_LIMIT)?;
    client.take_over(&mut guest.client, thread.tid)?;
    guest.client = client;
    Ok(())
}

/// The error of a call, with what the console says about a thread that the kernel has killed.
fn explained(error: GuestError, machine: &Machine) -> GuestError {
    match error {
        GuestError::ThreadEnded {
            thread,
            console: None,
        } if thread.how == ThreadEnd::Killed => {
            let console = console_words::latest_bug(machine);
            GuestError::ThreadEnded { thread, console }
        }
        error => error,
    }
}
