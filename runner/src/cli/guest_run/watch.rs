//! What is watched of the guest from outside while it runs: its console, its splats, the time.
//!
//! Input: the machine, from before its kernel's first line. Output: the console on stderr; splats; whether
//! the guest still answered when its time was over. Not here: what follows from it.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use provium_base::events::VmStart;
use provium_guest::{AGENT_PORT, Cancel, CancelReason, GuestClient, LifeWatch};
use provium_vmm::{Machine, Splat, SplatListener};

/// How long a guest may take to answer for it to count as alive.
const ALIVE: Duration = Duration::from_secs(1);
/// How often it is looked whether a console that prints nothing belongs to a machine that has ended.
const LOOK: Duration = Duration::from_millis(200);

/// What is known of the guest.
#[derive(Debug, Default)]
pub(super) struct GuestWatch {
    console: bool,
    machine: Mutex<Option<Arc<Machine>>>,
    splats: Mutex<Vec<Arc<Splat>>>,
    overtime: Mutex<Option<Overtime>>,
    shown: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What there was when the time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overtime {
    /// A guest that answered.
    Alive,
    /// One that did not.
    Hung,
}

impl LifeWatch for GuestWatch {
    fn starts(&self, machine: &Arc<Machine>) {
        self.follow(machine);
    }

    fn began(&self, _: &str, _: u64, _: u32, _: VmStart) {}

    fn ended(&self, _: &str, _: Option<&str>) {}
}

impl GuestWatch {
    /// `console` shows the console.
    pub(super) fn new(console: bool) -> Arc<GuestWatch> {
        Arc::new(GuestWatch {
            console,
            ..GuestWatch::default()
        })
    }

    /// Watches this machine.
    pub(super) fn follow(&self, machine: &Arc<Machine>) {
        *self.machine.lock() = Some(Arc::clone(machine));
        if self.console {
            let machine = Arc::clone(machine);
            let show = move || show_console(&machine);
            *self.shown.lock() = thread::Builder::new().name("console".into()).spawn(show).ok();
        }
    }

    /// Whoever hears of splats.
    pub(super) fn listener(self: &Arc<Self>) -> SplatListener {
        let watch = Arc::clone(self);
        Arc::new(move |splat| watch.splats.lock().push(Arc::clone(splat)))
    }

    /// The splats so far.
    pub(super) fn splats(&self) -> Vec<Arc<Splat>> {
        self.splats.lock().clone()
    }

    /// Ends the guest when this much time is over.
    pub(super) fn limit(self: &Arc<Self>, limit: Duration, cancel: &Arc<Cancel>) {
        let (watch, cancel) = (Arc::clone(self), Arc::clone(cancel));
        let wait = move || {
            thread::sleep(limit);
            let machine = watch.machine.lock().clone();
            let answers = machine.is_some_and(|machine| {
                let stream = machine.connect(AGENT_PORT, ALIVE);
                let session = stream
                    .ok()
                    .map(|stream| GuestClient::handshake(Box::new(stream), ALIVE));
                matches!(session, Some(Ok(_)))
            });
            let found = if answers { Overtime::Alive } else { Overtime::Hung };
            watch.overtime.lock().get_or_insert(found);
            cancel.cancel(CancelReason::TestTimeout);
        };
        // It ends with the process.
        let _ = thread::Builder::new().name("limit".into()).spawn(wait);
    }

    /// What there was when the time was over, if it was.
    pub(super) fn overtime(&self) -> Option<Overtime> {
        *self.overtime.lock()
    }

    /// Waits until all of an ended machine's console is shown.
    pub(super) fn finish(&self) {
        let shown = self.shown.lock().take();
        if let Some(shown) = shown {
            let _ = shown.join();
        }
    }
}

/// Writes the console to stderr as it comes, until the machine has ended.
fn show_console(machine: &Machine) {
    let mut from = 0;
    loop {
        // Asked first: what was printed by its end comes before that.
        let ended = machine.ended().is_some();
        let (bytes, next) = machine.console_since(from, if ended { Duration::ZERO } else { LOOK });
        from = next;
        if !bytes.is_empty() && io::stderr().write_all(&bytes).is_err() {
            return;
        }
        if bytes.is_empty() && ended {
            return;
        }
    }
}
