//! A VM's agent: requests on the VM's own session, and on further ones.
//!
//! Input: what is to be asked. Output: the answer; when a session breaks, the VM's end is found out and told.
//! Not here: what can be asked, which `client` knows.

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelGuard};

use super::error::{VmError, VmState};
use super::life::{Life, Vm};
use crate::client::session::GuestClient;
use crate::error::GuestError;
use crate::start::boot::kill_on_cancel;
use crate::start::wall_clock;

/// How long after a broken session the machine's own reason is waited for.
const END_GRACE: Duration = Duration::from_secs(2);
/// The same for a session that may break by itself.
const WORKER_GRACE: Duration = Duration::from_millis(200);
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

    /// Seconds the guest has been up, by its own clock. Works in `booted`.
    pub fn uptime(&mut self, cancel: &Arc<Cancel>) -> Result<f64, VmError> {
        let ns = self.call(cancel, wall_clock::since_boot)?;
        Ok(ns as f64 / 1e9)
    }
}
