//! `--progress plain`: for logs, a line when a test takes long and, now and then, how far the run is.
//!
//! Input: events. Output: lines on stderr. Not here: what came of the files.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};

use super::live::frame::{SLOW, clock, totals};
use super::live::state::LiveState;
use super::{Output, text};

/// How often a line says how far the run is.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often is looked whether there is something to say.
const TICK: Duration = Duration::from_millis(500);
/// Most tests that such a line names.
const NAMED: usize = 3;

/// Writes lines about what is running.
pub struct ProgressReporter(Arc<Mutex<Progress>>);

struct Progress {
    output: Arc<Output>,
    state: LiveState,
    /// The tests that have been called slow, with their files.
    told: BTreeSet<(String, String)>,
    heartbeat: Instant,
}

impl ProgressReporter {
    /// Writes to `output`, on a thread of its own, until it is dropped.
    pub fn new(output: Arc<Output>) -> Self {
        let now = Instant::now();
        let progress = Arc::new(Mutex::new(Progress {
            output,
            state: LiveState::new(now),
            told: BTreeSet::new(),
            heartbeat: now,
        }));
        let weak = Arc::downgrade(&progress);
        // Without the thread only these lines are missing.
        let _ = thread::Builder::new()
            .name("progress".into())
            .spawn(move || tell(&weak));
        ProgressReporter(progress)
    }
}

impl Sink for ProgressReporter {
    fn event(&self, event: &Event) {
        self.0.lock().state.apply(event, Instant::now());
    }
}

fn tell(progress: &Weak<Mutex<Progress>>) {
    loop {
        thread::sleep(TICK);
        let Some(progress) = progress.upgrade() else {
            return;
        };
        let mut progress = progress.lock();
        let lines = progress.lines(Instant::now());
        progress.output.write(&lines);
    }
}

impl Progress {
    /// What there is to say at this time.
    fn lines(&mut self, now: Instant) -> String {
        let mut lines = String::new();
        if self.state.is_over() {
            self.heartbeat = now;
            return lines;
        }
        for file in &self.state.running {
            for test in &file.tests {
                let elapsed = now.saturating_duration_since(test.since);
                if elapsed >= SLOW && self.told.insert((file.path.clone(), test.name.clone())) {
                    let (path, name) = (text::first_line(&file.path), text::first_line(&test.name));
                    let _ = writeln!(lines, "provium: {path}: `{name}` runs for {} now", clock(elapsed));
                }
            }
        }
        if now.saturating_duration_since(self.heartbeat) >= HEARTBEAT {
            self.heartbeat = now;
            let _ = writeln!(
                lines,
                "provium: {}{}",
                totals(&self.state, now).trim_start(),
                self.running(now)
            );
        }
        lines
    }

    /// What runs, for the end of a line.
    fn running(&self, now: Instant) -> String {
        let since = |since| clock(now.saturating_duration_since(since));
        let mut named = Vec::new();
        for file in &self.state.running {
            let path = text::first_line(&file.path);
            match file.tests.is_empty() {
                true => named.push(format!("{path} ({})", since(file.since))),
                false => named.extend(file.tests.iter().map(|test| {
                    format!(
                        "{path}: `{}` ({})",
                        text::first_line(&test.name),
                        since(test.since)
                    )
                })),
            }
        }
        if let Some((step, at)) = self.state.host.as_ref().filter(|_| self.state.files.is_none()) {
            named.push(format!("{step} ({})", since(*at)));
        }
        let more = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        match named.is_empty() {
            true => String::new(),
            false => format!("; running: {}", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use provium_base::meta::Meta;

    use super::*;

    #[test]
    fn a_slow_test_is_named_once_and_the_heartbeat_says_how_far_the_run_is() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let reporter = ProgressReporter::new(Arc::new(Output::new(Box::new(std::io::sink()), None)));
        let mut progress = reporter.0.lock();
        progress.heartbeat = start;
        progress.state = LiveState::new(start);
        assert_eq!(progress.lines(at(0)), "");
        let path = |path: &str| path.to_owned();
        progress.state.apply(&Event::RunStarted { files: 9 }, at(0));
        for file in ["a.test.lua", "b.test.lua", "c.test.lua", "d.test.lua"] {
            progress
                .state
                .apply(&Event::FileStarted { path: path(file) }, at(1));
        }
        let boots = Event::TestStarted {
            path: path("a.test.lua"),
            test: "boots".into(),
            meta: Meta::new(),
        };
        progress.state.apply(&boots, at(2));
        assert_eq!(progress.lines(at(11)), "");
        assert_eq!(
            progress.lines(at(12)),
            "provium: a.test.lua: `boots` runs for 10 s now\n"
        );
        assert_eq!(progress.lines(at(29)), "");
        assert_eq!(
            progress.lines(at(30)),
            "provium: 30 s  0 of 9 file(s); 0 passed, 0 failed, 0 skipped; running: a.test.lua: `boots` (28 s), \
             b.test.lua (29 s), c.test.lua (29 s), 1 more\n"
        );
        assert_eq!(progress.lines(at(59)), "");
        assert!(
            progress
                .lines(at(60))
                .contains("running: a.test.lua: `boots` (58 s)")
        );
    }
}
