//! Progress of the emulated host's start: one live line on a terminal, and only what takes long elsewhere.
//!
//! Input: [`Event`]s. Output: lines on standard error. Not here: the command's own output.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::request::Event;

/// An observer that shows progress on standard error.
pub(crate) fn observer() -> impl FnMut(Event<'_>) {
    let mut line: Option<ProgressBar> = None;
    let live = io::stderr().is_terminal();
    move |event| {
        let mut show = |text: String| {
            if live {
                let line = line.get_or_insert_with(spinner);
                line.set_message(text);
                line.enable_steady_tick(Duration::from_millis(150));
            }
        };
        match event {
            Event::Preparing(text) if live => show(format!("the emulated host: {text}")),
            Event::Preparing(text) => eprintln!("provium: the emulated host: {text}"),
            Event::Starting { start: 1, .. } => show("starting the emulated host".to_owned()),
            Event::Starting { start, .. } => {
                show(format!("starting the emulated host again (start {start})"))
            }
            Event::Running { .. } | Event::Ended => {
                if let Some(line) = line.take() {
                    line.finish_and_clear();
                }
            }
            Event::Again { cause, start, of } => {
                if let Some(line) = line.take() {
                    line.finish_and_clear();
                }
                eprintln!("provium: {cause}; starting it again ({start} of {of})");
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
