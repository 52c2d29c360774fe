//! What a bisect has on the disk: its lock, its verdicts, the logs of what it has tested.
//!
//! Input: a project and what is bisected for it. Output: a folder below the cache's, which nobody else has
//! meanwhile; runs whose report and words are kept there. Not here: what is tested next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use provium_base::outcome::Rounds;
use provium_base::units::DisplayDuration;
use provium_cache::Digest;
use rustix::fs::{FlockOperation, flock};

use super::known::{Known, Verdicts};
use super::say;
use super::trial::{Halt, Repeat, Tested, Trial};
use super::verdict::Judged;
use crate::cli::project::Project;
use crate::report::Output;

/// The folder of a bisect.
pub(super) struct Records {
    folder: PathBuf,
    _lock: File,
    verdicts: Verdicts,
}

impl Records {
    /// The folder for bisects of `what` for this project; with `fresh`, nothing is known.
    ///
    /// # Errors
    /// It cannot be had, or another process has it.
    pub(super) fn open(project: &Project, what: &Path, fresh: bool) -> anyhow::Result<Records> {
        let config = &project.config;
        let parts = [config.project.as_os_str(), what.as_os_str()].map(|part| part.as_encoded_bytes());
        let name = Digest::of_parts(parts).short();
        let caches = config.cache_dir.parent().unwrap_or(&config.cache_dir);
        let folder = caches.join("bisect").join(name);
        fs::create_dir_all(folder.join("logs"))
            .map_err(|error| anyhow::anyhow!("cannot make {}: {error}", folder.display()))?;
        let lock = lock(&folder)?;
        let path = folder.join("verdicts.json");
        if fresh && path.exists() {
            fs::remove_file(&path)?;
        }
        let verdicts =
            Verdicts::open(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        Ok(Records {
            folder,
            _lock: lock,
            verdicts,
        })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The file with what the `build`, the `run` or the `report` of `name` said.
    pub(super) fn log(&self, name: &str, what: &str) -> PathBuf {
        self.logs().join(format!("{name}.{what}"))
    }

    /// What is known under the key.
    pub(super) fn known(&self, key: Digest) -> Option<Known> {
        self.verdicts.get(key).cloned()
    }

    /// The same, which is said.
    pub(super) fn known_before(&self, key: Digest) -> Option<Known> {
        let known = self.known(key)?;
        let Judged { verdict, why } = &known.judged;
        say(&format!("  {}: {why} (known)", verdict.word()));
        Some(known)
    }

    /// Keeps under further keys what is known.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep_as(&mut self, keys: &[Digest], known: &Known) -> anyhow::Result<()> {
        Ok(self.verdicts.keep(keys, known)?)
    }

    /// Runs the tests on `name`, whose logs are kept.
    ///
    /// # Errors
    /// [`Halt`]
    pub(super) fn run(&self, trial: &Trial<'_>, repeat: Repeat, name: &str) -> Result<Tested, Halt> {
        let file = |what: &str| {
            let path = self.log(name, what);
            File::create(&path).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
        };
        let report = Arc::new(Output::new(Box::new(file("report")?), None));
        trial
            .run(repeat, report, Some(file("run")?))
            .map_err(|halt| match halt {
                Halt::Broken(error) => {
                    let said = fs::read_to_string(self.log(name, "run")).unwrap_or_default();
                    Halt::Broken(anyhow::anyhow!("{error}\n{}", said.trim_end()))
                }
                halt => halt,
            })
    }

    /// Keeps what became of `name`, and says it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep(
        &mut self,
        keys: &[Digest],
        name: &str,
        judged: Judged,
        rounds: Option<Rounds>,
        began: Instant,
    ) -> Result<Known, Halt> {
        let took = DisplayDuration(began.elapsed());
        say(&format!("  {}: {} ({took})", judged.verdict.word(), judged.why));
        let known = Known {
            name: name.to_owned(),
            judged,
            rounds,
        };
        self.keep_as(keys, &known)?;
        Ok(known)
    }

    /// What the tests reported of `name`, each line moved in.
    pub(super) fn report(&self, name: &str) -> String {
        let report = fs::read_to_string(self.log(name, "report")).unwrap_or_default();
        report
            .trim_end()
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect()
    }
}

/// The key of what is known by `what`.
pub(super) fn key(what: &str, around: Digest, of: &[u8]) -> Digest {
    Digest::of_parts([what.as_bytes(), around.as_bytes(), of])
}

/// Keeps others out of the folder.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!(
            "another `provium bisect` of the same runs: {} is locked",
            path.display()
        )
    })?;
    Ok(file)
}
