//! `--json`: one object a file as it ends, one line each.
//!
//! Input: events. Output: the JSON form of each file's result. Not here: the other events.

use std::sync::Arc;

use provium_base::events::{Event, Sink};

use super::Output;

/// Writes one JSON line per file.
pub struct JsonReporter(pub Arc<Output>);

impl Sink for JsonReporter {
    fn event(&self, event: &Event) {
        let Event::FileEnded(end) = event else { return };
        if end.selected && !end.shown_before {
            let line = serde_json::to_string(&end.result).expect("a result has only string keys");
            self.0.write(&format!("{line}\n"));
        }
    }
}
