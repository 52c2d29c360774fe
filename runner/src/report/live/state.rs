//! What a live view knows of a run.
//!
//! Input: events, each with the time at which it came. Output: running files and their tests, and the totals.
//! Not here: how much of it fits on the terminal.

use std::time::Instant;

use provium_base::events::{Event, FixtureEvent, HostEvent, Stage};
use provium_base::outcome::{Counts, TestStatus};

/// A run as far as it has gone.
pub(in crate::report) struct LiveState {
    /// When the user began to wait.
    pub(in crate::report) began: Instant,
    /// The start of the emulated host: what is done, and since when.
    pub(in crate::report) host: Option<(String, Instant)>,
    /// Number of files of the run, once that is known.
    pub(in crate::report) files: Option<usize>,
    /// Number of files that have ended.
    pub(in crate::report) ended: usize,
    /// The tests that have ended.
    pub(in crate::report) counts: Counts,
    /// Files that run, the oldest first.
    pub(in crate::report) running: Vec<RunningFile>,
    /// Fixtures that are being built.
    building: Vec<String>,
    over: bool,
    /// Whether nothing is shown for the moment, since a command in the emulated host has the terminal.
    hidden: bool,
}

/// A file that runs.
pub(in crate::report) struct RunningFile {
    pub(in crate::report) path: String,
    /// What it does.
    pub(in crate::report) stage: Stage,
    /// What it waits for, if the host has no room for it.
    pub(in crate::report) blocked: Option<String>,
    /// Since when.
    pub(in crate::report) since: Instant,
    /// Its tests that run, with the number and the start of each.
    pub(in crate::report) tests: Vec<RunningTest>,
    /// Number of tests that have begun.
    begun: usize,
    /// Number of tests there are, once that is known.
    pub(in crate::report) of: Option<usize>,
}

/// A test that runs.
pub(in crate::report) struct RunningTest {
    pub(in crate::report) name: String,
    /// Which of the file's tests it is, from 1.
    pub(in crate::report) number: usize,
    pub(in crate::report) since: Instant,
}

impl LiveState {
    /// A run of which nothing is known yet.
    pub(in crate::report) fn new(now: Instant) -> LiveState {
        LiveState {
            began: now,
            host: None,
            files: None,
            ended: 0,
            counts: Counts::default(),
            running: Vec::new(),
            building: Vec::new(),
            over: false,
            hidden: false,
        }
    }

    /// Whether there is nothing to show.
    pub(in crate::report) fn is_over(&self) -> bool {
        self.over || self.hidden
    }

    /// Shows nothing from now on.
    pub(in crate::report) fn end(&mut self) {
        self.over = true;
    }

    /// Whether this fixture is being built.
    pub(in crate::report) fn builds(&self, fixture: &str) -> bool {
        self.building.iter().any(|building| building == fixture)
    }

    /// Takes note of an event.
    pub(in crate::report) fn apply(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { files } => {
                // Another start of the same run, or another round, begins anew.
                let began = if self.over { now } else { self.began };
                *self = LiveState::new(began);
                self.files = Some(*files);
            }
            Event::FileStarted { path } => self.running.push(RunningFile {
                path: path.clone(),
                stage: Stage::Runs,
                blocked: None,
                since: now,
                tests: Vec::new(),
                begun: 0,
                of: None,
            }),
            Event::TestsFound { path, tests } => self.of_file(path, |file| file.of = Some(*tests)),
            Event::FileStage { path, stage } => self.of_file(path, |file| {
                file.stage = stage.clone();
                file.blocked = None;
                file.since = now;
            }),
            Event::FileBlocked { path, why, .. } => self.of_file(path, |file| {
                file.blocked = Some(why.clone());
                file.since = now;
            }),
            Event::TestStarted { path, test, .. } => self.of_file(path, |file| {
                file.begun += 1;
                file.tests.push(RunningTest {
                    name: test.clone(),
                    number: file.begun,
                    since: now,
                });
            }),
            Event::TestEnded { path, result } => {
                self.of_file(path, |file| {
                    let began = file.tests.len();
                    file.tests.retain(|test| test.name != result.name);
                    // One that is skipped beforehand has no beginning.
                    file.begun += usize::from(file.tests.len() == began);
                    file.since = now;
                });
                match result.status {
                    TestStatus::Passed => self.counts.passed += 1,
                    TestStatus::Failed | TestStatus::Xpassed => self.counts.failed += 1,
                    TestStatus::Skipped => self.counts.skipped += 1,
                    TestStatus::Xfailed => self.counts.xfailed += 1,
                }
            }
            Event::FileEnded(end) => {
                let running = self.running.iter().position(|file| file.path == end.result.path);
                match running {
                    Some(at) => drop(self.running.remove(at)),
                    // An earlier start of the run has run it, and its tests are told by no other event.
                    None => {
                        let counts = end.counts();
                        self.counts.passed += counts.passed;
                        self.counts.failed += counts.failed + counts.xpassed;
                        self.counts.skipped += counts.skipped;
                    }
                }
                self.ended += 1;
                let no_test_to_show = !end
                    .result
                    .tests
                    .iter()
                    .any(|test| test.status.counts_against_the_run());
                if running.is_some() && end.failed() && no_test_to_show {
                    self.counts.failed += 1;
                }
            }
            Event::RunEnded(_) => self.over = true,
            Event::Fixture(FixtureEvent::BuildStarted { fixture }) => self.building.push(fixture.clone()),
            Event::Fixture(FixtureEvent::BuildDone { fixture, .. }) => {
                if let Some(at) = self.building.iter().position(|building| building == fixture) {
                    self.building.swap_remove(at);
                }
            }
            Event::Host(event) => self.host_event(event, now),
            _ => {}
        }
    }

    fn host_event(&mut self, event: &HostEvent, now: Instant) {
        let since = self.host.take().map_or(now, |(_, since)| since);
        match event {
            HostEvent::Preparing { .. } | HostEvent::Starting { .. } => {
                (self.over, self.hidden) = (false, false);
                self.host = Some((event.to_string(), since));
            }
            // Its command may write to the terminal itself; files come with the next event.
            HostEvent::Running { .. } | HostEvent::Ended => self.hidden = self.files.is_none(),
            HostEvent::Chosen { .. } | HostEvent::Again { .. } => {}
        }
    }

    fn of_file(&mut self, path: &str, change: impl FnOnce(&mut RunningFile)) {
        if let Some(file) = self.running.iter_mut().find(|file| file.path == path) {
            change(file);
        }
    }
}
