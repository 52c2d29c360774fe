//! The rows of a test suite: what the harness adds to the operations of its tests.
//!
//! Input: the guest that `cargo xtask guest` makes, a project that is written here.
//! Output: samples of a run of [`TESTS`] tests in this process, and of their operations done by hand.
//! Not here: the start of the command, and of an emulated host; that is once a run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use provium::config::Config;
use provium::config::Environment;
use provium::discover::{self, TestFile};
use provium::lua;
use provium::report::{Output, Paint, PlainReporter, Verbosity};
use provium::session::pool::{Limits, Pool};
use provium::session::{RunOptions, Session};
use provium::stock::Fixtures;
use provium_base::cancel::Cancel;
use provium_base::events::Sink;
use provium_guest::WarmPool;

use crate::linux_rows::LinuxRows;
use crate::recorder::Recorder;

/// Number of tests of the suite.
const TESTS: u32 = 500;
const IDS: [&str; 3] = ["suite", "suite/by-hand", "suite/harness"];
const FIXTURE: &str = "return provium:vm('bench', 'bench'):boot():snapshot()\n";

/// A project whose one file has many tests of one operation each.
pub(crate) struct SuiteRows {
    folder: tempfile::TempDir,
}

impl SuiteRows {
    /// Writes the project. `artifacts` is the folder with the guest's kernel and initrd.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn prepare(artifacts: &Path) -> Result<SuiteRows> {
        let folder = tempfile::tempdir()?;
        let guest = std::path::absolute(artifacts)?;
        let toml = format!(
            "[provium]\ncache_dir = \"cache\"\n[profiles.bench]\nkernel = {:?}\ninitrd = {:?}\n\
             cmdline = \"console=ttyS0 quiet\"\nmemory = \"128M\"\n",
            guest.join("vmlinux"),
            guest.join("initrd.cpio"),
        );
        let mut tests =
            String::from("provium.reset_between_tests = true\nlocal vm = provium:vm_fixture('base')\n");
        for test in 1..=TESTS {
            writeln!(
                tests,
                "test('test {test}', function(t) t:assert(vm:syscall(39).ret > 0) end)"
            )?;
        }
        for (name, text) in [
            ("provium.toml", toml),
            ("base.fixture.lua", FIXTURE.to_owned()),
            ("suite.test.lua", tests),
        ] {
            fs::write(folder.path().join(name), text)?;
        }
        let rows = SuiteRows { folder };
        // Builds the fixture.
        rows.run()?;
        Ok(rows)
    }

    /// Measures every row once; `linux` has the guest for what is done by hand.
    pub(crate) fn round(&self, linux: &LinuxRows, recorder: &mut Recorder) {
        recorder.attempt(&IDS, |recorder| {
            let suite = self.run()? / TESTS;
            let by_hand = linux.reset_and_call(TESTS)? / TESTS;
            recorder.time("suite", suite);
            recorder.time("suite/by-hand", by_hand);
            recorder.time("suite/harness", suite.saturating_sub(by_hand));
            Ok(())
        });
    }

    /// Runs the suite as the command does; returns how long that took.
    fn run(&self) -> Result<Duration> {
        let begin = Instant::now();
        let config = Arc::new(Config::load(
            None,
            self.folder.path(),
            &[],
            &Environment::of_process(),
        )?);
        let output = Arc::new(Output::new(Box::new(std::io::sink()), None));
        let report = PlainReporter::new(output, Paint(false), Verbosity::Normal);
        let sink: Arc<dyn Sink> = Arc::new(report);
        let pool = Pool::of_host(&Limits::default());
        let fixtures = Fixtures::new(
            Arc::clone(&config),
            WarmPool::new(0),
            Arc::clone(&sink),
            lua::builder(&pool),
        );
        let mut session = Session::new(config, fixtures, pool, sink, Arc::new(lua::run_file));
        let path = self.folder.path().join("suite.test.lua");
        let shown = discover::shown(&path, self.folder.path());
        let options = RunOptions {
            jobs: 1,
            ..RunOptions::default()
        };
        let outcome = session.run(vec![TestFile { path, shown }], options, &Cancel::new())?;
        drop(session);
        let passed = outcome.summary.passed;
        ensure!(
            passed == TESTS as usize,
            "{passed} of {TESTS} tests passed: {:?}",
            outcome
                .files
                .first()
                .context("the file did not end")?
                .result
                .failure
        );
        Ok(begin.elapsed())
    }
}
