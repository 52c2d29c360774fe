//! The live view: on a terminal, a line per running file with its current test and how long it has run.
//!
//! Input: events. Output: lines that are drawn over and gone when the run is. Not here: anything that stays.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use provium_base::events::{Event, Sink};

use super::text;

/// Draws the live view on the terminal that a [`MultiProgress`] stands for.
pub struct LiveReporter {
    view: MultiProgress,
    lines: Mutex<LiveLines>,
}

/// What is drawn.
#[derive(Default)]
struct LiveLines {
    /// How far the run is, below the files.
    total: Option<ProgressBar>,
    files: HashMap<String, ProgressBar>,
    passed: usize,
    failed: usize,
}

impl LiveReporter {
    /// Draws on `view`.
    pub fn new(view: MultiProgress) -> Self {
        LiveReporter {
            view,
            lines: Mutex::default(),
        }
    }
}

/// The template, which is a constant; the default style stands in should it ever be wrong.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Sink for LiveReporter {
    fn event(&self, event: &Event) {
        let mut lines = self.lines.lock();
        match event {
            Event::RunStarted { files } => {
                let total = self.view.add(ProgressBar::new(*files as u64));
                total.set_style(style("  {pos}/{len} file(s), {wide_msg} {elapsed}"));
                total.set_message("0 passed, 0 failed");
                total.enable_steady_tick(Duration::from_secs(1));
                lines.total = Some(total);
            }
            Event::FileStarted { path } => {
                let file = match &lines.total {
                    Some(total) => self.view.insert_before(total, ProgressBar::new_spinner()),
                    None => self.view.add(ProgressBar::new_spinner()),
                };
                // `wide_msg` is cut at the terminal's width.
                file.set_style(style("{spinner} {wide_msg} {elapsed}"));
                file.set_message(text::first_line(path));
                file.enable_steady_tick(Duration::from_millis(120));
                lines.files.insert(path.to_owned(), file);
            }
            Event::TestStarted { path, test, .. } => {
                if let Some(file) = lines.files.get(path) {
                    file.set_message(format!("{} > {}", text::first_line(path), text::first_line(test)));
                }
            }
            Event::FileEnded(end) => {
                if let Some(file) = lines.files.remove(&end.result.path) {
                    file.finish_and_clear();
                    self.view.remove(&file);
                }
                let counts = end.counts();
                lines.passed += counts.passed;
                lines.failed += counts.failed + counts.xpassed;
                if let Some(total) = &lines.total {
                    total.inc(1);
                    total.set_message(format!("{} passed, {} failed", lines.passed, lines.failed));
                }
            }
            Event::RunEnded(_) => {
                for file in std::mem::take(&mut lines.files).into_values() {
                    file.finish_and_clear();
                }
                if let Some(total) = lines.total.take() {
                    total.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}
