//! `--json`: one object a file as it ends, one line each.

use std::sync::Arc;

use super::{Event, Output, Reporter};

/// Writes one JSON line per file.
pub struct JsonReporter(pub Arc<Output>);

impl Reporter for JsonReporter {
    fn event(&self, event: Event<'_>) {
        let Event::FileEnded(end) = event else { return };
        if end.selected && !end.shown_before {
            let line = serde_json::to_string(&end.result).expect("a result has only string keys");
            self.0.write(&format!("{line}\n"));
        }
    }
}
