//! One frame of the live view, as lines.
//!
//! Input: the run's state, the time, the terminal's size in columns and rows. Output: lines that fit in
//! there: one for each test that runs, or for each file that runs none just now, as long as they take no more
//! than a third of the screen; the others counted; the totals. Not here: colours and the cursor.

use std::time::{Duration, Instant};

use provium_base::events::Stage;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::state::{LiveState, RunningFile};
use crate::report::text;

/// How long a test may run without a mark.
pub(in crate::report) const SLOW: Duration = Duration::from_secs(10);

/// The lines of a frame; none for a run that is over or has not begun.
pub(super) fn frame(state: &LiveState, now: Instant, width: usize, height: usize) -> Vec<String> {
    let nothing = state.files.is_none() && state.host.is_none();
    if state.is_over() || nothing {
        return Vec::new();
    }
    let mut rows = Vec::new();
    if let Some((step, since)) = &state.host {
        rows.push(row(now, *since, "host", step, false));
    }
    for file in &state.running {
        rows.extend(file_rows(state, file, now));
    }
    // At least one line is left for a row where the terminal has room for any.
    let most = (height / 3).max(2) - 1;
    if rows.len() > most {
        let left_out = rows.len() - most.saturating_sub(1);
        rows.truncate(most.saturating_sub(1));
        rows.push(format!("{:>7}  … and {left_out} more", ""));
    }
    rows.push(totals(state, now));
    // The last column stays free: a terminal may go to the next line once it is taken.
    rows.iter().map(|row| cut(row, width.saturating_sub(1))).collect()
}

/// The rows of a file: one for each of its tests that runs, or one for itself.
fn file_rows(state: &LiveState, file: &RunningFile, now: Instant) -> Vec<String> {
    let path = text::first_line(&file.path);
    let (word, about) = match &file.stage {
        _ if file.blocked.is_some() => ("wait", file.blocked.clone()),
        Stage::Runs => ("run", None),
        Stage::Fixture { fixture } if state.builds(fixture) => ("build", Some(file.stage.to_string())),
        Stage::Fixture { .. } => ("resume", Some(file.stage.to_string())),
        Stage::Boots { .. } => ("boot", Some(file.stage.to_string())),
        Stage::Resumes { .. } => ("resume", Some(file.stage.to_string())),
    };
    let of = file.of.map(|of| format!("/{of}")).unwrap_or_default();
    let tests = file.tests.iter().map(|test| {
        let name = text::first_line(&test.name);
        let about = about
            .as_deref()
            .map(|about| format!("  {about}"))
            .unwrap_or_default();
        let what = format!("{path}  {}{of}  {name}{about}", test.number);
        row(now, test.since, word, &what, true)
    });
    let tests: Vec<String> = tests.collect();
    match tests.is_empty() {
        true => {
            let about = about
                .as_deref()
                .map(|about| format!("  {about}"))
                .unwrap_or_default();
            vec![row(now, file.since, word, &format!("{path}{about}"), false)]
        }
        false => tests,
    }
}

/// How long, which phase, what; a test that takes long is marked.
fn row(now: Instant, since: Instant, word: &str, what: &str, test: bool) -> String {
    let elapsed = now.saturating_duration_since(since);
    let mark = if test && elapsed >= SLOW { "SLOW  " } else { "" };
    format!("{:>7}  {word:<6}  {mark}{what}", clock(elapsed))
}

/// How long and how far.
pub(in crate::report) fn totals(state: &LiveState, now: Instant) -> String {
    let clock = clock(now.saturating_duration_since(state.began));
    let Some(files) = state.files else {
        return format!("{clock:>7}  nothing has run yet");
    };
    let counts = state.counts;
    let xfailed = match counts.xfailed {
        0 => String::new(),
        xfailed => format!(", {xfailed} xfailed"),
    };
    format!(
        "{clock:>7}  {} of {files} file(s); {} passed, {} failed, {} skipped{xfailed}",
        state.ended, counts.passed, counts.failed, counts.skipped
    )
}

/// A duration with tenths of a second below ten seconds, and with minutes from a minute on.
pub(in crate::report) fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0..10) => format!("{}.{} s", seconds, elapsed.subsec_millis() / 100),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The line, its end left out when it has more than `width` columns.
fn cut(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let mut columns = 0;
    let kept = line.chars().take_while(|c| {
        columns += c.width().unwrap_or(0);
        columns < width
    });
    let mut kept: String = kept.collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use provium_base::events::{Event, FixtureEvent, HostEvent};
    use provium_base::meta::Meta;
    use provium_base::outcome::{FileEnd, TestResult, TestStatus};

    use super::*;
    use crate::samples;

    /// A run, and the time at which it stands.
    struct Run {
        state: LiveState,
        now: Instant,
    }

    impl Run {
        fn of(files: usize) -> Run {
            let now = Instant::now();
            let mut run = Run {
                state: LiveState::new(now),
                now,
            };
            run.tell(Event::RunStarted { files });
            run
        }

        fn tell(&mut self, event: impl Into<Event>) {
            self.state.apply(&event.into(), self.now);
        }

        fn file(&mut self, path: &str, tests: usize) {
            let path = path.to_owned();
            self.tell(Event::FileStarted { path: path.clone() });
            self.tell(Event::TestsFound { path, tests });
        }

        fn test(&mut self, path: &str, test: &str) {
            self.tell(Event::TestStarted {
                path: path.into(),
                test: test.into(),
                meta: Meta::new(),
            });
        }

        fn ended(&mut self, path: &str, test: &str, status: TestStatus) {
            self.tell(Event::TestEnded {
                path: path.into(),
                result: TestResult::new(test, status),
            });
        }

        fn stage(&mut self, path: &str, stage: Stage) {
            self.tell(Event::FileStage {
                path: path.into(),
                stage,
            });
        }

        fn wait(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }

        /// The frame in a box of that size, of which it takes the last rows.
        fn shown(&self, width: usize, height: usize) -> String {
            let lines = frame(&self.state, self.now, width, height);
            assert!(lines.len() <= (height / 3).max(2), "{lines:#?}");
            assert!(lines.iter().all(|line| line.width() < width), "{lines:#?}");
            lines.join("\n")
        }
    }

    fn busy() -> Run {
        let mut run = Run::of(45);
        run.tell(FixtureEvent::BuildStarted {
            fixture: "base".into(),
        });
        run.file("tests/boots.test.lua", 12);
        run.test("tests/boots.test.lua", "says hello");
        run.ended("tests/boots.test.lua", "says hello", TestStatus::Passed);
        run.test("tests/boots.test.lua", "is slow to answer");
        run.wait(9_400);
        run.file("tests/disks.test.lua", 3);
        run.test("tests/disks.test.lua", "a disk of\nits own");
        run.stage("tests/disks.test.lua", Stage::Boots { vm: "web".into() });
        run.tell(Event::FileStarted {
            path: "tests/net.test.lua".into(),
        });
        run.stage(
            "tests/net.test.lua",
            Stage::Fixture {
                fixture: "base".into(),
            },
        );
        run.file("tests/über/größe.test.lua", 7);
        run.stage("tests/über/größe.test.lua", Stage::Resumes { vm: "vm".into() });
        run.wait(1_234);
        run
    }

    #[test]
    fn each_file_has_its_phase_its_test_and_its_time() {
        let run = busy();
        assert_snapshot!(run.shown(80, 24), @r"
           10 s  run     SLOW  tests/boots.test.lua  2/12  is slow to answer
          1.2 s  boot    tests/disks.test.lua  1/3  a disk of  VM `web`
          1.2 s  build   tests/net.test.lua  fixture `base`
          1.2 s  resume  tests/über/größe.test.lua  VM `vm`
           10 s  0 of 45 file(s); 1 passed, 0 failed, 0 skipped
        ");
        assert_snapshot!(run.shown(40, 24), @r"
           10 s  run     SLOW  tests/boots.tes…
          1.2 s  boot    tests/disks.test.lua …
          1.2 s  build   tests/net.test.lua  f…
          1.2 s  resume  tests/über/größe.test…
           10 s  0 of 45 file(s); 1 passed, 0 …
        ");
    }

    #[test]
    fn a_third_of_the_screen_is_enough_and_the_rest_is_counted() {
        let mut run = Run::of(300);
        for number in 0..40 {
            let path = format!("t{number}.test.lua");
            run.file(&path, 1);
            run.test(&path, "runs");
        }
        run.wait(75_000);
        assert_snapshot!(run.shown(80, 24), @r"
           1:15  run     SLOW  t0.test.lua  1/1  runs
           1:15  run     SLOW  t1.test.lua  1/1  runs
           1:15  run     SLOW  t2.test.lua  1/1  runs
           1:15  run     SLOW  t3.test.lua  1/1  runs
           1:15  run     SLOW  t4.test.lua  1/1  runs
           1:15  run     SLOW  t5.test.lua  1/1  runs
                 … and 34 more
           1:15  0 of 300 file(s); 0 passed, 0 failed, 0 skipped
        ");
        assert_eq!(run.shown(200, 50).lines().count(), 16);
        // However small the terminal is, the totals are there.
        assert_snapshot!(run.shown(80, 4), @r"
                 … and 40 more
           1:15  0 of 300 file(s); 0 passed, 0 failed, 0 skipped
        ");
        for (width, height) in [(0, 0), (1, 1), (2, 3), (3, 1)] {
            let lines = frame(&run.state, run.now, width, height);
            assert!(lines.iter().all(|line| line.width() <= width.saturating_sub(1)));
        }
    }

    #[test]
    fn tests_of_one_file_that_run_side_by_side_have_a_row_each() {
        let mut run = Run::of(1);
        run.file("a.test.lua", 5);
        run.test("a.test.lua", "one");
        run.test("a.test.lua", "two");
        run.wait(300);
        run.ended("a.test.lua", "one", TestStatus::Failed);
        run.test("a.test.lua", "three");
        assert_snapshot!(run.shown(80, 24), @r"
          0.3 s  run     a.test.lua  2/5  two
          0.0 s  run     a.test.lua  3/5  three
          0.3 s  0 of 1 file(s); 0 passed, 1 failed, 0 skipped
        ");
    }

    #[test]
    fn the_emulated_hosts_start_is_a_phase_before_any_file() {
        let now = Instant::now();
        let mut run = Run {
            state: LiveState::new(now),
            now,
        };
        assert_eq!(run.shown(80, 24), "");
        run.tell(HostEvent::Preparing {
            step: "unpacking".into(),
        });
        run.tell(HostEvent::Starting { start: 1, pid: 7 });
        run.wait(11_000);
        assert_snapshot!(run.shown(80, 24), @r"
           11 s  host    starting the emulated host
           11 s  nothing has run yet
        ");
        run.tell(HostEvent::Running {
            after: Duration::from_secs(11),
        });
        assert_eq!(run.shown(80, 24), "", "a command may write to the terminal now");
        run.tell(Event::RunStarted { files: 2 });
        assert_snapshot!(run.shown(80, 24), @"   11 s  0 of 2 file(s); 0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn another_start_of_the_run_counts_what_the_first_has_shown_once() {
        let mut run = busy();
        run.tell(Event::RunStarted { files: 45 });
        for result in [samples::failing("a.test.lua"), samples::broken("b.test.lua")] {
            run.tell(Event::FileEnded(FileEnd {
                result,
                stopped: false,
                shown_before: true,
                selected: true,
            }));
        }
        assert_snapshot!(run.shown(80, 24), @"   10 s  2 of 45 file(s); 1 passed, 2 failed, 0 skipped");
    }
}
