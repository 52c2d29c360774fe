//! A VM's agent: requests on the VM's own session, and on further ones.
//!
//! Input: what is to be asked. Output: the answer; when a session breaks, the VM's end is found out and told.
//! A session whose thread the guest's kernel has ended is followed by another, since the guest goes on.
//! Not here: what can be asked, which `client` knows.

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelGuard, CancelReason};
use provium_protocol::{AGENT_PORT, EndedThread, ThreadEnd};
use provium_vmm::Machine;

use super::console_words;
use super::error::{VmError, VmState};
use super::life::{Life, Vm};
use crate::client::session::GuestClient;
use crate::error::GuestError;
use crate::start::boot::{Guest, kill_for};
use crate::start::wall_clock;
use crate::wire::breaker::UnderWay;

/// How long after a broken session the machine's own reason is waited for.
pub(super) const END_GRACE: Duration = Duration::from_secs(2);
/// The same for a session that may break by itself.
const WORKER_GRACE: Duration = Duration::from_millis(200);
/// How long the session that follows the VM's own may take to come about, in a guest whose kernel has a bug.
const FOLLOW_LIMIT: Duration = Duration::from_secs(10);
/// How long a request that is to be broken off may still take, so that its session need not end.
const LAST_GRACE: Duration = Duration::from_millis(250);
/// How long the session may take that follows one that was broken off, in a guest whose kernel has a fault.
const AGAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long a further session may take to come about.
const SESSION_LIMIT: Duration = Duration::from_secs(20);

impl Vm {
    /// Asks the agent. Works in `booted`; when the session breaks, the VM's end is found out and told.
    pub fn call<R>(
        &mut self,
        cancel: &Arc<Cancel>,
        ask: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, VmError> {
        self.check_wanted(cancel)?;
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let under_way = guest.client.breaker.begin();
        let end_on_cancel = end_on_cancel(&guest.machine, Some(&under_way), cancel);
        let asked = ask(&mut guest.client);
        drop(under_way);
        let taint = guest.client.take_taint();
        let mut error = match asked {
            Ok(answer) => {
                self.note_answer(taint);
                return Ok(answer);
            }
            Err(error) => explained(error, &guest.machine),
        };
        if error.session_lives() {
            self.note_answer(taint);
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
        if let Some(error) = self.broken_off(cancel) {
            return Err(error);
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
        self.check_wanted(cancel)?;
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let under_way = client.breaker.begin();
        let end_on_cancel = end_on_cancel(&guest.machine, Some(&under_way), cancel);
        let asked = ask(client);
        drop(under_way);
        let taint = client.take_taint();
        match asked {
            Ok(answer) => {
                self.note_answer(taint);
                Ok(answer)
            }
            Err(error) => {
                let error = explained(error, &guest.machine);
                let grace = match error {
                    // The guest was well enough to say so, or what ended is known from an earlier call.
                    GuestError::ThreadEnded { .. } | GuestError::Over(_) => Duration::ZERO,
                    _ => WORKER_GRACE,
                };
                if error.session_lives() {
                    self.note_answer(taint);
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
        self.check_wanted(cancel)?;
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let end_on_cancel = end_on_cancel(&guest.machine, None, cancel);
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

    /// Refuses what nobody waits for any more; where guests are to live, a request must not be begun.
    fn check_wanted(&self, cancel: &Cancel) -> Result<(), VmError> {
        match cancel.is_cancelled().filter(|reason| reason.spares_guests()) {
            Some(reason) => Err(self.cancelled(reason)),
            None => Ok(()),
        }
    }

    fn cancelled(&self, reason: CancelReason) -> VmError {
        VmError::Cancelled {
            name: self.name.clone(),
            reason,
        }
    }

    /// Gives the VM another session where its own broke because a request was broken off; the error of that
    /// request.
    fn broken_off(&mut self, cancel: &Cancel) -> Option<VmError> {
        let reason = cancel.is_cancelled().filter(|reason| reason.spares_guests())?;
        let Life::Running { guest, .. } = &mut self.life else {
            return None;
        };
        if guest.machine.ended().is_some() {
            return None;
        }
        let connected = guest
            .machine
            .connect(AGENT_PORT, AGAIN_LIMIT)
            .map_err(GuestError::Lost);
        match connected.and_then(|stream| GuestClient::handshake(Box::new(stream), AGAIN_LIMIT)) {
            Ok(client) => {
                guest.client = client;
                // What was made in the session that is gone, is gone with it.
                self.timeline.begin();
                Some(self.cancelled(reason))
            }
            Err(error) => {
                let why = format!("{reason}, and its agent took no further session: {error}");
                self.finish(VmState::Dead, why);
                Some(self.ended())
            }
        }
    }

    /// Asks through a session of its own that is given up when it, or an answer in it, takes longer than
    /// `limit`; the VM goes on whatever becomes of it. Works in `booted`.
    pub fn ask_aside<R>(
        &mut self,
        limit: Duration,
        ask: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted], "booted")?;
        let stream = guest.machine.connect(AGENT_PORT, limit).map_err(GuestError::Lost);
        let session = stream.and_then(|stream| GuestClient::handshake(Box::new(stream), limit));
        session
            .and_then(|client| ask(&mut client.answering_within(limit)))
            .map_err(VmError::Guest)
    }

    /// Finds out whether a broken session means the VM's end, within `grace`.
    fn broken(&mut self, cancel: &Cancel, end_on_cancel: CancelGuard, grace: Duration) -> Option<VmError> {
        let Life::Running { guest, .. } = &self.life else {
            return Some(self.ended());
        };
        let ended = guest.machine.wait_end(Some(grace));
        drop(end_on_cancel);
        if let Some(reason) = cancel.is_cancelled().filter(|reason| !reason.spares_guests()) {
            self.finish(VmState::Dead, format!("it was torn down: {reason}"));
            return Some(self.cancelled(reason));
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

/// When `cancel` fires, kills the machine (see [`kill_for`]), or where guests are to live, breaks off the
/// request that is under way, for as long as the guard lives.
fn end_on_cancel(machine: &Arc<Machine>, under_way: Option<&UnderWay>, cancel: &Arc<Cancel>) -> CancelGuard {
    let (machine, token) = (Arc::clone(machine), Arc::downgrade(cancel));
    let breaks_off = under_way.map(|under_way| under_way.breaks_off(LAST_GRACE));
    cancel.on_cancel(Box::new(move || {
        let reason = token.upgrade().and_then(|token| token.is_cancelled());
        match (&breaks_off, reason.is_some_and(CancelReason::spares_guests)) {
            (_, false) => kill_for(&machine, reason),
            (Some(breaks_off), true) => drop(breaks_off()),
            (None, true) => {}
        }
    }))
}
