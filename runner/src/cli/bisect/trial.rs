//! One commit, built and tested.
//!
//! Input: what `provium` is to run, and the folders of the sources where they are not the user's own.
//! Output: whether `build` works; the results of the tests, which another process runs, and a verdict. Not
//! here: which commit it is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::Parser;
use provium_base::cancel::Cancel;
use provium_base::events::{Discard, Event, Sink};
use provium_base::exit;
use provium_base::outcome::{FileEnd, FileResult, Rounds};
use provium_base::walk::is_searched;
use provium_cache::{Digest, Reading, Store};
use walkdir::{DirEntry, WalkDir};

use super::verdict::Judged;
use crate::cli::again;
use crate::cli::args::{Cli, RunArgs, StepArgs};
use crate::cli::project::Project;
use crate::config::Sources;
use crate::report::{Output, Paint, PlainReporter, Verbosity};
use crate::session::build::{BuildError, BuildLog, build_profiles};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// The user has ended it.
    #[error("interrupted")]
    Interrupted,
    /// The harness could not do its work.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

/// What is run to judge a commit.
pub(super) struct Trial<'a> {
    /// What `provium` takes, and what a guest that does not boot means.
    pub(super) step: &'a StepArgs,
    /// The folders of the sources, if they are not those of the configuration.
    pub(super) sources: Option<Sources>,
    /// Flags of `provium` beside the user's.
    pub(super) further: Vec<OsString>,
    /// Ends it.
    pub(super) cancel: &'a Arc<Cancel>,
}

/// What a run has said.
pub(super) struct Tested {
    /// Its verdict.
    pub(super) judged: Judged,
    /// How often the test ran and failed that failed most often, where tests ran in rounds.
    pub(super) rounds: Option<Rounds>,
}

/// In how many rounds tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// As the user's own flags say.
    AsGiven,
    /// In so many at most, up to the first failure.
    UntilFail(u32),
    /// In so many, whatever they come to.
    All(u32),
}

impl Trial<'_> {
    /// What is to be run, as `provium` would read it, and the project that it is about.
    ///
    /// # Errors
    /// It is no command line that runs tests.
    pub(super) fn project(&self) -> anyhow::Result<(RunArgs, Project)> {
        let words = [OsString::from("provium")].into_iter().chain(self.given());
        let cli = Cli::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            anyhow::anyhow!(
                "behind `--`: {}",
                text.trim_start_matches("error: ")
                    .lines()
                    .next()
                    .unwrap_or_default()
            )
        })?;
        anyhow::ensure!(
            cli.command.is_none(),
            "behind `--` belongs what `provium` runs: paths and flags"
        );
        let other = cli.run.show.json || cli.run.running.watch || cli.run.running.matrix.is_some();
        anyhow::ensure!(
            !other,
            "behind `--`: --json, --watch and --matrix cannot be given"
        );
        let project = Project::load(&cli.run.choose.project, &cli.run.choose.paths)?;
        Ok((cli.run, project))
    }

    /// What is given to `provium`.
    fn given(&self) -> impl Iterator<Item = OsString> {
        let flag = |name: &str, folder: &Path| [OsStr::new(name), folder.as_os_str()].map(OsStr::to_owned);
        let sources = self.sources.iter();
        let sources = sources.flat_map(move |of| [flag("--tree", &of.tree), flag("--out", &of.out)]);
        let beside = sources.flatten().chain(self.further.iter().cloned());
        beside.chain(self.step.tests.iter().cloned())
    }

    /// Runs profiles' builds; the verdict of a commit that does not build.
    ///
    /// # Errors
    /// [`Halt`]
    pub(super) fn build(
        &self,
        project: &Project,
        log: BuildLog<'_>,
        sink: &dyn Sink,
    ) -> Result<Option<Judged>, Halt> {
        match build_profiles(&project.config, log, self.cancel, sink) {
            Ok(()) => Ok(None),
            Err(BuildError::Cancelled(..)) => Err(Halt::Interrupted),
            Err(error @ BuildError::Failed { .. }) => Ok(Some(Judged::skip(&error.to_string()))),
            Err(error) => Err(Halt::Broken(error.into())),
        }
    }

    /// Runs the tests; their report goes to `report`, what is said beside it to `beside`, or else to stderr.
    ///
    /// # Errors
    /// [`Halt`]
    pub(super) fn run(
        &self,
        repeat: Repeat,
        report: Arc<Output>,
        beside: Option<File>,
    ) -> Result<Tested, Halt> {
        let program = std::env::current_exe().map_err(anyhow::Error::from)?;
        let mut command = Command::new(program);
        command.args(["--json", "--no-build"]);
        match repeat {
            Repeat::AsGiven => {}
            Repeat::UntilFail(rounds) => {
                command.arg("--until-fail").arg(format!("--repeat={rounds}"));
            }
            Repeat::All(rounds) => {
                command.arg(format!("--repeat={rounds}"));
            }
        }
        command.args(self.given());
        if let Some(beside) = beside {
            command.stderr(beside);
        }
        let plain = PlainReporter::new(report, Paint(false), Verbosity::Normal);
        let mut results: Vec<FileResult> = Vec::new();
        let code = again::again(command, self.cancel, |line| {
            let result: FileResult = serde_json::from_str(line)?;
            plain.event(&Event::FileEnded(FileEnd {
                result: result.clone(),
                stopped: false,
                shown_before: false,
                selected: true,
            }));
            results.push(result);
            Ok(())
        })?;
        if self.cancel.is_cancelled().is_some() || code == exit::INTERRUPTED {
            return Err(Halt::Interrupted);
        }
        let Some(judged) = Judged::of_run(code, &results, self.step.boot_failure) else {
            return Err(Halt::Broken(anyhow::anyhow!(
                "the tests could not be run, so they say nothing of the commit (provium's exit code was {code})"
            )));
        };
        let rounds = results.iter().flat_map(|file| &file.tests);
        let rounds = rounds
            .filter_map(|test| test.rounds)
            .max_by_key(|rounds| rounds.failed);
        Ok(Tested { judged, rounds })
    }

    /// Digest of what the build has made of the sources and guests boot.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn image(&self, project: &Project) -> anyhow::Result<Digest> {
        let made = |path: &&PathBuf| {
            let sources = self.sources.as_ref();
            sources.is_some_and(|of| path.starts_with(&of.out) || path.starts_with(&of.tree))
        };
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for profile in project.config.profiles.values() {
            let guest = &profile.guest;
            let disks = guest.disks.iter().filter_map(|disk| disk.image.as_ref());
            let files = [
                Some(&guest.kernel),
                guest.initrd.as_ref(),
                guest.rootfs.as_ref(),
                guest.modules.as_ref(),
            ];
            for path in files.into_iter().flatten().chain(disks).filter(made) {
                parts.push(path.as_os_str().as_encoded_bytes().to_vec());
                parts.push(self.digest(project, path)?.as_bytes().to_vec());
            }
        }
        Ok(Digest::of_parts(parts.iter().map(Vec::as_slice)))
    }

    /// Digest of a file or folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn digest(&self, project: &Project, path: &Path) -> anyhow::Result<Digest> {
        let store = Store::look(&project.config.cache_dir, project.config.cache_max_size);
        let nobody: Arc<dyn Sink> = Arc::new(Discard);
        let digest = store.digests().digest(path, &Reading::new(self.cancel, &nobody));
        digest.map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))
    }

    /// Digest of all that a verdict depends on beside the sources: the tests and everything written in Lua
    /// that they could use, the configuration, what is run and how.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn circumstances(
        &self,
        args: &RunArgs,
        project: &Project,
        repeat: Repeat,
    ) -> anyhow::Result<Digest> {
        let config = &project.config;
        let mut parts = vec![
            env!("CARGO_PKG_VERSION").as_bytes().to_vec(),
            format!("{:?} {:?} {repeat:?}", self.step.tests, self.step.boot_failure).into_bytes(),
            format!("{:?}", config.profiles).into_bytes(),
        ];
        let named = args.choose.paths.iter().map(|path| project.cwd.join(path));
        for root in config.roots.iter().cloned().chain(named) {
            let found = WalkDir::new(&root).sort_by_file_name().into_iter();
            let searched = |entry: &DirEntry| is_searched(entry) && entry.path() != config.cache_dir;
            for entry in found.filter_entry(searched).flatten() {
                let path = entry.path();
                if entry.file_type().is_file() && path.extension().is_some_and(|ending| ending == "lua") {
                    let text = std::fs::read(path);
                    let text =
                        text.map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
                    parts.extend([path.as_os_str().as_encoded_bytes().to_vec(), text]);
                }
            }
        }
        Ok(Digest::of_parts(parts.iter().map(Vec::as_slice)))
    }
}
