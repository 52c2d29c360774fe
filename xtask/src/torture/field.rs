//! A project with its own cache and folder for temporary files, and runs of its tests.
//!
//! Input: the built `provium`. Output: runs under way, how they ended, and what is left in the folders. Not
//! here: what is done to a run meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::Deserialize;

use super::processes::{self, MARK};
use super::tally::Tally;

/// No run takes that long, however it was treated.
const LIMIT: Duration = Duration::from_secs(240);
/// By when processes of a run that has ended are gone.
const GRACE: Duration = Duration::from_secs(10);

const FIXTURE: &str = include_str!("project/base.fixture.lua");
const FILES: [(&str, &str); 3] = [
    ("commands.test.lua", include_str!("project/commands.test.lua")),
    ("resets.test.lua", include_str!("project/resets.test.lua")),
    ("snapshots.test.lua", include_str!("project/snapshots.test.lua")),
];

/// The project and its folders, removed with this.
#[derive(Debug)]
pub(super) struct Field {
    provium: PathBuf,
    folder: tempfile::TempDir,
}

/// One run of all tests.
#[derive(Debug)]
pub(super) struct Run {
    child: Child,
    mark: String,
    out: PathBuf,
    err: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// None when it hung and was killed.
    pub(super) status: Option<ExitStatus>,
    files: Vec<FileResult>,
    /// What it said on both streams.
    pub(super) said: String,
    /// Processes that did not end with it.
    left: Vec<String>,
}

/// A line of `provium --json`, as far as it is used here.
#[derive(Debug, Deserialize)]
struct FileResult {
    path: String,
    passed: bool,
}

impl Field {
    /// A project for the guest of `cargo xtask guest` in this workspace.
    pub(super) fn new(provium: &Path, workspace: &Path) -> Result<Field> {
        let folder = tempfile::Builder::new().prefix("torture").tempdir()?;
        let field = Field {
            provium: provium.to_owned(),
            folder,
        };
        for part in ["project", "cache", "tmp", "said"] {
            fs::create_dir(field.at(part))?;
        }
        let guest = workspace.join("target/guest");
        let config = format!(
            "[provium]\ncache_dir = {:?}\ncache_max_size = '2G'\n\n[profiles.small]\nkernel = {:?}\n\
             initrd = {:?}\ncmdline = 'console=ttyS0 quiet'\nmemory = '96M'\n",
            field.cache(),
            guest.join("vmlinux"),
            guest.join("initrd.cpio")
        );
        fs::write(field.at("project/provium.toml"), config)?;
        fs::write(field.at("project/base.fixture.lua"), FIXTURE)?;
        for (name, text) in FILES {
            fs::write(field.at("project").join(name), text)?;
        }
        Ok(field)
    }

    pub(super) fn at(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// The fixture cache's folder.
    pub(super) fn cache(&self) -> PathBuf {
        self.at("cache")
    }

    /// The runs' folder for temporary files.
    pub(super) fn tmp(&self) -> PathBuf {
        self.at("tmp")
    }

    /// Changes the fixture's source, so that the next run builds it.
    pub(super) fn change_fixture(&self) -> Result<()> {
        static CHANGES: AtomicU32 = AtomicU32::new(0);
        let number = CHANGES.fetch_add(1, Ordering::Relaxed);
        let text = format!("{FIXTURE}-- Change {number}.\n");
        fs::write(self.at("project/base.fixture.lua"), text).context("change the fixture")
    }

    /// Starts a run of all tests, below `wrapper` if that has words.
    pub(super) fn start(&self, wrapper: &[&str]) -> Result<Run> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let (out, err) = (self.at("said/out"), self.at("said/err"));
        let mut command = match wrapper {
            [] => Command::new(&self.provium),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.provium);
                command
            }
        };
        command.args(["--json", "-j2"]).current_dir(self.at("project"));
        command.env(MARK, &mark).env("TMPDIR", self.tmp());
        command.stdin(Stdio::null());
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().context("start provium")?;
        Ok(Run {
            child,
            mark,
            out,
            err,
        })
    }

    /// A run that nothing is done to. It has to pass and to leave nothing in any folder.
    pub(super) fn whole_run(&self, tally: &mut Tally, after: &str) -> Result<Duration> {
        let begin = Instant::now();
        let ended = self.start(&[])?.end()?;
        let took = begin.elapsed();
        ended.must_pass(tally, &format!("the run after {after}"));
        self.must_be_tidy(tally, after)?;
        Ok(took)
    }

    /// Counts what lies in folders where nothing should.
    pub(super) fn must_be_tidy(&self, tally: &mut Tally, after: &str) -> Result<()> {
        for folder in [self.tmp(), self.cache().join("staging")] {
            for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
                let path = entry?.path();
                tally.leaked(format!("{} after {after}", path.display()));
                // Once; whether it is a file or a folder.
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
        Ok(())
    }
}

impl Run {
    /// Its processes.
    pub(super) fn processes(&self) -> Vec<processes::Process> {
        processes::marked(&self.mark)
    }

    /// The pid of the one that was started.
    pub(super) fn first(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end, and for that of all its processes.
    pub(super) fn end(mut self) -> Result<Ended> {
        let begin = Instant::now();
        let status = loop {
            match self.child.try_wait().context("wait for provium")? {
                None if begin.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(5)),
                status => break status,
            }
        };
        if status.is_none() {
            self.child.kill().context("kill provium")?;
            self.child.wait().context("wait for provium")?;
        }
        let left = processes::left(&self.mark, GRACE);
        let out = fs::read_to_string(&self.out).context("provium's output")?;
        let said = format!("{out}{}", fs::read_to_string(&self.err).unwrap_or_default());
        // A process that was killed may have broken off in the middle of a line.
        let results = out.lines().map(serde_json::from_str::<FileResult>);
        Ok(Ended {
            status,
            files: results.flatten().collect(),
            said,
            left,
        })
    }
}

impl Ended {
    /// Whether the run ended by itself with all its files passed.
    pub(super) fn passed(&self) -> bool {
        let all = self.files.len() == FILES.len() && self.files.iter().all(|file| file.passed);
        all && self.status.is_some_and(|status| status.success())
    }

    /// Counts a run that hung, and processes that it left.
    pub(super) fn must_be_gone(&self, tally: &mut Tally, what: &str) {
        if self.status.is_none() {
            tally.hung(format!("{what} did not end in {LIMIT:?}: {}", self.said));
        }
        for left in &self.left {
            tally.leaked(format!("{left} of {what}"));
        }
    }

    /// Counts a run that was broken off, or that ended with a result while a file has none. A run that could
    /// not be carried out says so by its exit code, and need not have results.
    pub(super) fn must_report(&self, tally: &mut Tally, what: &str) {
        self.must_be_gone(tally, what);
        let Some(status) = self.status else { return };
        let whole = match status.code() {
            Some(0 | 1) => self.files.len() == FILES.len(),
            Some(2) => self.said.contains("provium: "),
            _ => false,
        };
        if !whole {
            let files: Vec<_> = self.files.iter().map(|file| file.path.as_str()).collect();
            tally.lost(format!(
                "{what}: {status}, with results of {files:?}: {}",
                self.said
            ));
        }
        tally.passed += u32::from(self.passed());
    }

    /// Counts anything but success.
    pub(super) fn must_pass(&self, tally: &mut Tally, what: &str) {
        self.must_be_gone(tally, what);
        if self.status.is_some() && !self.passed() {
            tally.lost(format!("{what} did not pass: {}", self.said));
        }
    }
}
