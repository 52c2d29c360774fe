//! Ctrl-C and its like: the first ends the run in order, the second at once.
//!
//! Input: SIGINT, SIGTERM, and SIGHUP of a terminal that goes away. Output: a cancelled token, then the
//! process's end. Not here: what cancelling ends.

use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use provium_base::cancel::{Cancel, CancelReason};
use provium_base::{exit, group};

/// What is done before the process ends at once.
static LAST: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());

/// Leaves something to be done before the process ends at once: to give the terminal back as it was, to
/// leave nothing behind. It must not wait for anything.
pub(super) fn at_once(last: impl Fn() + Send + 'static) {
    LAST.lock().push(Box::new(last));
}

/// Watches for Ctrl-C for as long as it lives.
#[derive(Debug)]
pub(super) struct SignalWatch(Handle);

impl SignalWatch {
    /// From now on the first of these signals cancels `cancel` and the second ends the process.
    ///
    /// # Errors
    /// When handlers or the thread that waits for them cannot be set up.
    pub(super) fn new(cancel: &Arc<Cancel>) -> anyhow::Result<SignalWatch> {
        let failed = |error: io::Error| anyhow::anyhow!("cannot watch for Ctrl-C: {error}");
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let handle = signals.handle();
        let mut told = on_signal(cancel);
        let wait = move || signals.forever().for_each(|_| told());
        thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .map_err(failed)?;
        Ok(SignalWatch(handle))
    }
}

/// What each signal does: the first cancels `cancel`, the second ends the process.
pub(super) fn on_signal(cancel: &Arc<Cancel>) -> impl FnMut() + Send + use<> {
    let cancel = cancel.clone();
    let mut seen = false;
    move || {
        if seen {
            // Guests live in this process and end with it; commands of the host do not.
            group::kill_all();
            LAST.lock().iter().for_each(|last| last());
            signal_hook::low_level::exit(i32::from(exit::INTERRUPTED));
        }
        seen = true;
        let cancel = cancel.clone();
        // On a thread of its own: what clean-up takes must not delay the second Ctrl-C.
        let _ = thread::Builder::new().name("interrupt".into()).spawn(move || {
            cancel.cancel(CancelReason::Interrupted);
        });
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.0.close();
    }
}
