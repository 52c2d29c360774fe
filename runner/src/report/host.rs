//! What the user sees while the emulated host starts: one live line on a terminal, next to nothing elsewhere.
//!
//! Input: events. Output: lines on stderr. Not here: the output of the command that runs in the emulated
//! host.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use provium_base::events::{Event, HostEvent, Sink};

use super::Output;

/// Shows the start of the emulated host.
pub struct HostReporter {
    output: Arc<Output>,
    /// Whether stderr is a terminal, on which a line can be drawn over.
    live: bool,
    line: Mutex<Option<ProgressBar>>,
}

impl HostReporter {
    /// Writes to `output`, which is stderr; `live` says whether that is a terminal.
    pub fn new(output: Arc<Output>, live: bool) -> Self {
        HostReporter {
            output,
            live,
            line: Mutex::default(),
        }
    }

    /// Puts the event in the live line, if there is to be one.
    fn show(&self, event: &HostEvent) {
        if self.live {
            let mut line = self.line.lock();
            let line = line.get_or_insert_with(spinner);
            line.set_message(event.to_string());
            line.enable_steady_tick(Duration::from_millis(150));
        }
    }

    fn clear(&self) {
        if let Some(line) = self.line.lock().take() {
            line.finish_and_clear();
        }
    }

    fn say(&self, event: &HostEvent) {
        self.output.write(&format!("provium: {event}\n"));
    }
}

impl Sink for HostReporter {
    fn event(&self, event: &Event) {
        let Event::Host(event) = event else { return };
        match event {
            HostEvent::Chosen { .. } => {}
            HostEvent::Preparing { .. } if !self.live => self.say(event),
            HostEvent::Preparing { .. } | HostEvent::Starting { .. } => self.show(event),
            HostEvent::Running { .. } | HostEvent::Ended => self.clear(),
            HostEvent::Again { .. } => {
                self.clear();
                self.say(event);
            }
        }
    }
}

fn spinner() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        line.set_style(style);
    }
    line
}
