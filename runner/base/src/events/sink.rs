//! Who hears of events.
//!
//! Input: events, from many threads. Output: whatever a [`Sink`] makes of them. Not here: the reports.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Event;

/// Hears of events. Called from many threads, so a sink orders its own output; it must not call back into its
/// caller.
pub trait Sink: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: &Event);
}

impl dyn Sink + '_ {
    /// Gives it an event of any of the kinds there are.
    pub fn emit(&self, event: impl Into<Event>) {
        self.event(&event.into());
    }
}

/// A closure that hears of each event.
impl<F: Fn(&Event) + Send + Sync> Sink for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

impl<S: Sink + ?Sized> Sink for std::sync::Arc<S> {
    fn event(&self, event: &Event) {
        (**self).event(event);
    }
}

/// A sink that takes no note of anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn event(&self, _: &Event) {}
}

/// Several sinks as one; they hear of each event in this order.
pub struct Sinks(pub Vec<Box<dyn Sink>>);

impl Sink for Sinks {
    fn event(&self, event: &Event) {
        for sink in &self.0 {
            sink.event(event);
        }
    }
}

/// A sink that keeps every event. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    /// The events so far, in the order they came; none of them is kept any longer.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Sink for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().push(event.clone());
    }
}
