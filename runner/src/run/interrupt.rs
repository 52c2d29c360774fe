//! Ctrl-C: the first ends the run in order, the second at once.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::cancel::{Cancel, CancelReason};

/// Exit code of an interrupted run.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Watches for Ctrl-C for as long as it lives.
#[derive(Debug)]
pub struct Watch(Handle);

impl Watch {
    /// From now on the first SIGINT or SIGTERM cancels `cancel` and the second ends the process.
    ///
    /// # Errors
    /// The system's, when handlers or the thread that waits for them cannot be set up.
    pub fn new(cancel: &Arc<Cancel>) -> io::Result<Watch> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let cancel = cancel.clone();
        let wait = move || {
            let mut seen = false;
            for _ in signals.forever() {
                if seen {
                    // Guests live in this process and end with it.
                    signal_hook::low_level::exit(i32::from(EXIT_INTERRUPTED));
                }
                seen = true;
                let cancel = cancel.clone();
                // On a thread of its own: what clean-up takes must not delay the second Ctrl-C.
                let _ = thread::Builder::new().name("interrupt".into()).spawn(move || {
                    cancel.cancel(CancelReason::Interrupted);
                });
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(Watch(handle))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.close();
    }
}
