//! What stays on the screen of the emulated host's start: next to nothing.
//!
//! Input: events. Output: lines on stderr. Not here: the output of the command that runs in the emulated
//! host, and the live view, which shows each step while it takes its time.

use std::sync::Arc;

use provium_base::events::{Event, HostEvent, Sink};

use super::Output;

/// Tells of the start of the emulated host.
pub struct HostReporter {
    output: Arc<Output>,
    /// Whether a live view shows the steps.
    live: bool,
}

impl HostReporter {
    /// Writes to `output`, which is stderr; `live` says whether a live view shows the steps.
    pub fn new(output: Arc<Output>, live: bool) -> Self {
        HostReporter { output, live }
    }
}

impl Sink for HostReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::Host(HostEvent::Preparing { .. }) if self.live => {}
            Event::Host(event @ (HostEvent::Preparing { .. } | HostEvent::Again { .. })) => {
                self.output.write(&format!("provium: {event}\n"));
            }
            _ => {}
        }
    }
}
