//! Signals that this process is sent, for the command in the guest.
//!
//! Input: signals. Output: before the command runs, a cancelled token; then the same signals for the
//! command's process group, and sizes for its terminal. Three of a kind within a second end the guest,
//! whatever state it is in. Not here: control characters, which a raw terminal passes on as input.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use provium_base::terminal::Hurry;
use provium_guest::{AGENT_PORT, Cancel, CancelReason, GuestClient, ops};
use provium_vmm::Machine;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals as Watched;

use super::streams;

/// What is passed on.
const SIGNALS: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];
/// How long the session for them may take to come about.
const LIMIT: Duration = Duration::from_secs(5);

/// The way of signals to the command; clones are of the same.
#[derive(Clone)]
pub(super) struct Signals(Arc<Shared>);

struct Shared {
    cancel: Arc<Cancel>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The way to the command, once it runs.
    command: Option<Sender<i32>>,
    /// Whether it has a terminal.
    terminal: bool,
    /// Bits of the kernel's taint that were news on the session for signals.
    taint: u64,
    /// What has ended the guest.
    ended_by: Option<i32>,
}

/// What watches for signals, until it is dropped.
pub(super) struct Watch {
    pub(super) signals: Signals,
    handle: signal_hook::iterator::Handle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl Watch {
    /// Watches from now on; `cancel` ends whatever comes before the command.
    ///
    /// # Errors
    /// When handlers or the thread that waits for them cannot be set up.
    pub(super) fn begin(cancel: &Arc<Cancel>) -> Result<Watch> {
        let mut watched = Watched::new(SIGNALS).context("cannot watch for signals")?;
        let handle = watched.handle();
        let signals = Signals(Arc::new(Shared {
            cancel: Arc::clone(cancel),
            state: Mutex::default(),
        }));
        let of_thread = signals.clone();
        let watch = move || {
            let mut hurry: Vec<Hurry> = SIGNALS.iter().map(|_| Hurry::default()).collect();
            for signal in watched.forever() {
                let at = SIGNALS
                    .iter()
                    .position(|other| *other == signal)
                    .unwrap_or_default();
                let many = signal != SIGWINCH && hurry[at].pressed(1, Instant::now());
                of_thread.take(signal, many);
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(watch)
            .context("cannot watch for signals")?;
        Ok(Watch { signals, handle })
    }
}

impl Signals {
    /// From now on signals are for the command of this handle.
    pub(super) fn pass_on(&self, machine: Arc<Machine>, handle: u64, terminal: bool) {
        let (to, signals) = channel();
        {
            let mut state = self.0.state.lock();
            (state.command, state.terminal) = (Some(to), terminal);
        }
        let of_thread = self.clone();
        let deliver = move || deliver(&machine, handle, &signals, &of_thread);
        let _ = thread::Builder::new().name("deliver".into()).spawn(deliver);
    }

    /// Sends the command a signal.
    pub(super) fn send(&self, signal: i32) {
        if let Some(command) = &self.0.state.lock().command {
            let _ = command.send(signal);
        }
    }

    /// Bits of the kernel's taint that were set as signals were delivered.
    pub(super) fn taint(&self) -> u64 {
        self.0.state.lock().taint
    }

    /// Ends the guest because of this signal.
    pub(super) fn end_now(&self, signal: i32) {
        self.0.state.lock().ended_by.get_or_insert(signal);
        self.0.cancel.cancel(CancelReason::Interrupted);
    }

    /// The signal that has ended the guest, if one has.
    pub(super) fn ended_by(&self) -> Option<i32> {
        self.0.state.lock().ended_by
    }

    /// Takes a signal; `many` says that it is the third within a second.
    fn take(&self, signal: i32, many: bool) {
        let (runs, terminal) = {
            let state = self.0.state.lock();
            (state.command.is_some(), state.terminal)
        };
        match signal {
            SIGWINCH if !terminal => {}
            _ if runs && !many => self.send(signal),
            SIGWINCH => {}
            _ => self.end_now(signal),
        }
    }
}

/// Delivers signals to a command, by a session that is opened for the first of them.
fn deliver(machine: &Arc<Machine>, handle: u64, signals: &Receiver<i32>, told: &Signals) {
    let mut session: Option<GuestClient> = None;
    for signal in signals {
        if session.is_none() {
            let stream = machine.connect(AGENT_PORT, LIMIT).ok();
            session = stream.and_then(|stream| GuestClient::handshake(Box::new(stream), LIMIT).ok());
        }
        let Some(client) = &mut session else { continue };
        let done = match signal {
            SIGWINCH => client.ask(ops::resize_terminal(handle, streams::size())),
            signal => client.ask(ops::signal_group(handle, signal)),
        };
        told.0.state.lock().taint |= client.take_taint();
        // One that has ended takes none.
        if done.is_err_and(|error| !error.session_lives()) {
            session = None;
        }
    }
}
