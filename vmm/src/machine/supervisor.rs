//! The machine's supervisor: a thread with an event loop for what happens outside of any vCPU.
//!
//! Input: the lifecycle's wake-up and a timer. Output: the end of a machine whose kernel has panicked, after
//! a moment to print where, whatever `panic=` makes the kernel do. Not here: noticing the panic. When the
//! machine has ended, so does the loop.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::timerfd::TimerFd;

use super::end::EndReason;
use super::lifecycle::Lifecycle;
use crate::confine::ThreadWork;

/// Time for which a panicking kernel may go on printing.
const PANIC_GRACE: Duration = Duration::from_millis(500);

struct Supervisor {
    life: Arc<Lifecycle>,
    timer: TimerFd,
    /// Moment at which the panic that is being printed ends the machine.
    due: Option<Instant>,
}

impl Supervisor {
    fn set_timer(&mut self, time: Duration) {
        if let Err(error) = self.timer.reset(time, None) {
            self.life
                .end(EndReason::Monitor(format!("its timer cannot be set: {error}")));
        }
    }
}

/// Starts the thread, which ends when the machine has ended.
pub(crate) fn spawn(life: Arc<Lifecycle>) -> std::io::Result<JoinHandle<()>> {
    let other = |error: event_manager::Error| std::io::Error::other(error.to_string());
    let timer = TimerFd::new().map_err(|error| std::io::Error::from_raw_os_error(error.errno()))?;
    let mut manager = EventManager::new_with_capacity(4).map_err(other)?;
    manager.add_subscriber(Supervisor {
        life: Arc::clone(&life),
        timer,
        due: None,
    });
    std::thread::Builder::new()
        .name("provium-machine".to_owned())
        .spawn(move || {
            life.confine(ThreadWork::Supervisor);
            while life.end.get().is_none() {
                if let Err(error) = manager.run() {
                    life.end(EndReason::Monitor(format!("its event loop failed: {error}")));
                }
            }
        })
}

impl MutEventSubscriber for Supervisor {
    fn init(&mut self, ops: &mut EventOps) {
        let sources = [
            Events::new(&self.life.wake, EventSet::IN),
            Events::new(&self.timer, EventSet::IN),
        ];
        for source in sources {
            if let Err(error) = ops.add(source) {
                self.life.end(EndReason::Monitor(format!(
                    "its event loop cannot be set up: {error}"
                )));
            }
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        use std::os::fd::AsRawFd;
        if events.fd() == self.life.wake.as_raw_fd() {
            // Only the wake-up matters, not how many there were.
            let _ = self.life.wake.read();
            if let Some(end) = self.life.refused().or_else(|| self.life.memory_lost()) {
                return self.life.end(end);
            }
            match self.life.panic_message() {
                Some(_) if self.due.is_none() => {
                    self.due = Some(Instant::now() + PANIC_GRACE);
                    self.set_timer(PANIC_GRACE);
                }
                Some(_) => {}
                // A panic that a restore has undone; the next one has its own time.
                None => self.due = None,
            }
            return;
        }
        // The timer is set anew and never read: a read would block when it was set since it fired.
        let left = self.due.map(|due| due.saturating_duration_since(Instant::now()));
        match (left, self.life.panic_message()) {
            (Some(Duration::ZERO), Some(message)) => self.life.end(EndReason::Panic(message)),
            (Some(left), Some(_)) => return self.set_timer(left),
            _ => {}
        }
        if let Err(error) = self.timer.clear() {
            self.life.end(EndReason::Monitor(format!(
                "its timer cannot be stopped: {error}"
            )));
        }
    }
}
