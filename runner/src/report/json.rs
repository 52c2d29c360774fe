//! `--json`: one object a file as it ends, one line each.
//!
//! Input: events. Output: the JSON form of each file's result, in which the log of a failed test ends with
//! the consoles of its VMs. Not here: the other events.

use std::sync::Arc;

use provium_base::events::{Event, Sink};
use provium_base::outcome::FileResult;

use super::{Output, text};

/// Most bytes of a console in a log.
const CONSOLE_TAIL: usize = 4096;

/// Writes one JSON line per file.
pub struct JsonReporter(pub Arc<Output>);

impl Sink for JsonReporter {
    fn event(&self, event: &Event) {
        let Event::FileEnded(end) = event else { return };
        if end.selected && !end.shown_before {
            let line =
                serde_json::to_string(&with_consoles(&end.result)).expect("a result has only string keys");
            self.0.write(&format!("{}\n", without_commands(&line)));
        }
    }
}

/// The same object without `##`, which a runner of a CI job would look for anywhere in a line. A `#` of JSON
/// stands in a string.
pub(super) fn without_commands(json: &str) -> String {
    json.replace("##", "#\\u0023")
}

/// The result with the ends of consoles in the logs of failed tests, where readers look that know no
/// `failure`.
fn with_consoles(result: &FileResult) -> FileResult {
    let mut result = result.clone();
    for test in &mut result.tests {
        let consoles = test.failure.iter().flat_map(|failure| &failure.consoles);
        let shown = consoles.map(|console| {
            let text = text::last_bytes(console.text.trim_end(), CONSOLE_TAIL);
            format!("console of VM `{}`:\n{text}", console.vm)
        });
        test.log.extend(shown);
    }
    result
}
