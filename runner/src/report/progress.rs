//! `--progress plain`: for logs, a line when a file starts and, now and then, what is still running.
//!
//! Input: events. Output: lines on stderr. Not here: what came of the files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::{Event, Sink};

use super::{Output, text};

/// How often a line says what is still running.
const INTERVAL: Duration = Duration::from_secs(30);

/// Writes lines about what is running.
pub struct ProgressReporter {
    output: Arc<Output>,
    running: Arc<Mutex<BTreeMap<String, Running>>>,
    ended: Arc<Cancel>,
}

/// A file that runs.
struct Running {
    since: Instant,
    test: Option<String>,
}

impl ProgressReporter {
    /// Writes to `output`.
    pub fn new(output: Arc<Output>) -> Self {
        ProgressReporter {
            output,
            running: Arc::default(),
            ended: Cancel::new(),
        }
    }

    /// Says every [`INTERVAL`] what runs, on a thread that ends with the run.
    fn repeat(&self) {
        let (output, running, ended) = (self.output.clone(), self.running.clone(), self.ended.clone());
        let repeat = move || {
            while ended.sleep(INTERVAL).is_none() {
                output.write(&still_running(&running.lock(), INTERVAL));
            }
        };
        // Without the thread only these lines are missing.
        let _ = std::thread::Builder::new().name("progress".into()).spawn(repeat);
    }
}

/// A line for each file that has run for at least `least`.
fn still_running(running: &BTreeMap<String, Running>, least: Duration) -> String {
    let long = running.iter().filter(|(_, file)| file.since.elapsed() >= least);
    let line = |(path, file): (&String, &Running)| {
        let test = file
            .test
            .as_ref()
            .map(|test| format!(", in `{test}`"))
            .unwrap_or_default();
        format!(
            "still running {path}{test} ({} s)\n",
            file.since.elapsed().as_secs()
        )
    };
    long.map(line).collect()
}

impl Sink for ProgressReporter {
    fn event(&self, event: &Event) {
        let mut running = self.running.lock();
        match event {
            Event::RunStarted { .. } => self.repeat(),
            Event::FileStarted { path } => {
                running.insert(
                    path.to_owned(),
                    Running {
                        since: Instant::now(),
                        test: None,
                    },
                );
                self.output
                    .write(&format!("running {}\n", text::first_line(path)));
            }
            Event::TestStarted { path, test, .. } => {
                if let Some(file) = running.get_mut(path) {
                    file.test = Some(text::first_line(test));
                }
            }
            Event::FileEnded(end) => {
                running.remove(&end.result.path);
            }
            Event::RunEnded(_) => self.ended.cancel(CancelReason::Interrupted),
            _ => {}
        }
    }
}

impl Drop for ProgressReporter {
    fn drop(&mut self) {
        self.ended.cancel(CancelReason::Interrupted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_long_is_named() {
        let since = Instant::now()
            .checked_sub(Duration::from_secs(40))
            .expect("a machine up for a minute");
        let running = BTreeMap::from([
            (
                "a.test.lua".to_owned(),
                Running {
                    since,
                    test: Some("boots".into()),
                },
            ),
            (
                "b.test.lua".to_owned(),
                Running {
                    since: Instant::now(),
                    test: None,
                },
            ),
        ]);
        assert_eq!(
            still_running(&running, INTERVAL),
            "still running a.test.lua, in `boots` (40 s)\n"
        );
    }
}
