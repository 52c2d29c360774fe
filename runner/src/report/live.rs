//! The live view: on a terminal, a line per running file with its current test and how long it has run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Event, Reporter, text};

/// Draws the live view on the terminal that a [`MultiProgress`] stands for.
pub struct LiveReporter {
    view: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
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
            state: Mutex::default(),
        }
    }
}

/// The template, which is a constant; the default style stands in should it ever be wrong.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Reporter for LiveReporter {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RunStarted { files } => {
                let total = self.view.add(ProgressBar::new(files as u64));
                total.set_style(style("  {pos}/{len} file(s), {wide_msg} {elapsed}"));
                total.set_message("0 passed, 0 failed");
                total.enable_steady_tick(Duration::from_secs(1));
                state.total = Some(total);
            }
            Event::FileStarted { path } => {
                let file = match &state.total {
                    Some(total) => self.view.insert_before(total, ProgressBar::new_spinner()),
                    None => self.view.add(ProgressBar::new_spinner()),
                };
                // `wide_msg` is cut at the terminal's width.
                file.set_style(style("{spinner} {wide_msg} {elapsed}"));
                file.set_message(text::first_line(path));
                file.enable_steady_tick(Duration::from_millis(120));
                state.files.insert(path.to_owned(), file);
            }
            Event::TestStarted { path, test } => {
                if let Some(file) = state.files.get(path) {
                    file.set_message(format!("{} > {}", text::first_line(path), text::first_line(test)));
                }
            }
            Event::TestEnded { .. } => {}
            Event::FileEnded(end) => {
                if let Some(file) = state.files.remove(&end.result.path) {
                    file.finish_and_clear();
                    self.view.remove(&file);
                }
                let (passed, failed, _) = end.counts();
                state.passed += passed;
                state.failed += failed;
                if let Some(total) = &state.total {
                    total.inc(1);
                    total.set_message(format!("{} passed, {} failed", state.passed, state.failed));
                }
            }
            Event::RunEnded(_) => {
                for file in std::mem::take(&mut state.files).into_values() {
                    file.finish_and_clear();
                }
                if let Some(total) = state.total.take() {
                    total.finish_and_clear();
                }
            }
        }
    }
}
