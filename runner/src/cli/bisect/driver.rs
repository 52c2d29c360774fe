//! A whole bisect, in a worktree of its own.
//!
//! Input: revisions and tests. Output: the first bad commit, shown; an exit code. What is found out is
//! kept in the cache's folder, so that whatever ends this process costs no more than the commit that it
//! was at. Not here: which commit is next, which is Git's to say.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use provium_base::cancel::Cancel;
use provium_base::events::Discard;
use provium_base::exit;
use provium_base::outcome::Rounds;
use provium_base::units::DisplayDuration;
use provium_cache::Digest;
use rustix::fs::{FlockOperation, flock};

use super::answer;
use super::git::{Git, Progress};
use super::known::{Known, Verdicts};
use super::rate;
use super::trial::{Halt, Repeat, Trial};
use super::verdict::{Judged, Verdict};
use crate::cli::args::{DriverArgs, RunArgs};
use crate::cli::interrupt::SignalWatch;
use crate::cli::print::{complain, print};
use crate::cli::project::Project;
use crate::config::Sources;
use crate::report::Output;
use crate::session::build::BuildLog;

/// Rounds in which the bad commit's tests are looked at, where nothing else is said.
const LOOKS: u32 = 100;

/// A bisect.
pub(super) struct Driver<'a> {
    args: &'a DriverArgs,
    trial: Trial<'a>,
    project: Project,
    run: RunArgs,
    /// What holds everything of this bisect, and this process's lock on it.
    folder: PathBuf,
    _lock: File,
    /// The worktree.
    pub(super) git: Git,
    verdicts: Verdicts,
    pub(super) repeat: Repeat,
}

/// Bisects and shows what that comes to.
pub(super) fn drive(args: &DriverArgs) -> Result<u8, Halt> {
    let cancel = Cancel::new();
    let _watch = SignalWatch::new(&cancel)?;
    let mut driver = Driver::prepare(args, &cancel)?;
    let bad = driver.git.commit(args.bad.as_deref().unwrap_or_default())?;
    let good = args
        .good
        .iter()
        .map(|good| driver.git.commit(good))
        .collect::<anyhow::Result<Vec<_>>>()?;
    driver.set_rounds(&bad, &good)?;
    let mut progress = driver.git.begin(&bad, &good, args.first_parent)?;
    let mut steps = 0;
    let end = loop {
        match progress {
            Progress::Next(left) => {
                let commit = driver.git.commit("HEAD")?;
                say(&format!("{left}: {}", driver.git.title(&commit)?));
                let verdict = driver.judge(&commit)?.judged.verdict;
                steps += 1;
                progress = driver.git.mark(verdict)?;
            }
            end => break end,
        }
    };
    say(&format!("{steps} steps"));
    let log = driver.folder.join("bisect.log");
    let replay = driver.git.text(["bisect", "log"])?;
    fs::write(&log, replay).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", log.display()))?;
    let answer = answer::of(&mut driver, &end)?;
    let beside = format!(
        "\ngit bisect replay {}\nlogs of each commit: {}\n",
        log.display(),
        driver.logs().display()
    );
    print(&(answer.text + &beside))?;
    Ok(match answer.holds {
        true => exit::SUCCESS,
        false => exit::FAILED,
    })
}

impl<'a> Driver<'a> {
    /// Has a worktree for the bisect.
    fn prepare(args: &'a DriverArgs, cancel: &'a Arc<Cancel>) -> Result<Driver<'a>, Halt> {
        let mut trial = Trial {
            step: &args.step,
            sources: None,
            cancel,
        };
        let (_, own) = trial.project()?;
        let tree = sources_of(args, &own)?;
        let (repository, below) = Git::at(&tree)?;
        let bad = repository.commit(args.bad.as_deref().unwrap_or_default())?;
        for good in &args.good {
            repository.commit(good)?;
        }
        let folder = folder(&own, &tree)?;
        let lock = lock(&folder)?;
        let worktree = folder.join("tree");
        say(&format!("in {}", worktree.display()));
        let git = repository.worktree(&worktree, &bad)?;
        trial.sources = Some(Sources {
            tree: match below.as_os_str().is_empty() {
                true => worktree,
                false => worktree.join(below),
            },
            out: folder.join("out"),
        });
        let (run, project) = trial.project()?;
        let changed = |name: &String| own.config.profiles[name].guest != project.config.profiles[name].guest;
        if !project.config.profiles.keys().any(changed) {
            let why = anyhow::anyhow!(
                "no profile boots anything that a build makes of {}: `kernel`, `initrd` or `rootfs` has to begin with \
                 {{out}} or {{tree}}",
                tree.display()
            );
            return Err(why.into());
        }
        let path = folder.join("verdicts.json");
        if args.fresh && path.exists() {
            fs::remove_file(&path).map_err(anyhow::Error::from)?;
        }
        let verdicts =
            Verdicts::open(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        fs::create_dir_all(folder.join("logs")).map_err(anyhow::Error::from)?;
        let repeat = args.repeat.map_or(Repeat::AsGiven, Repeat::UntilFail);
        Ok(Driver {
            args,
            trial,
            project,
            run,
            folder,
            _lock: lock,
            git,
            verdicts,
            repeat,
        })
    }

    /// The folder of logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Finds out in how many rounds tests have to pass, if that is asked for.
    fn set_rounds(&mut self, bad: &str, good: &[String]) -> Result<(), Halt> {
        let Some(confidence) = self.args.confidence else {
            return Ok(());
        };
        let looks = self.args.repeat.unwrap_or(LOOKS);
        say(&format!("how often the tests fail on {}", self.git.title(bad)?));
        self.git.check_out(bad)?;
        self.repeat = Repeat::All(looks);
        let known = self.judge(bad)?;
        let seen = known.rounds.unwrap_or(Rounds { run: 0, failed: 0 });
        if known.judged.verdict != Verdict::Bad || seen.failed == 0 {
            let why = anyhow::anyhow!(
                "the tests did not fail in {looks} rounds on the bad commit ({}); --repeat N looks longer",
                known.judged.why
            );
            return Err(why.into());
        }
        let mut range = vec!["rev-list", "--count", bad, "--not"];
        range.extend(good.iter().map(String::as_str));
        let commits: u32 = self.git.words(range)?.parse().unwrap_or(u32::MAX);
        let verdicts = commits.max(2).ilog2() + 1;
        let rounds = rate::rounds(rate::at_least(seen), confidence, verdicts);
        say(&format!(
            "they failed in {} of {} rounds: a commit is good when they pass in {rounds}",
            seen.failed, seen.run
        ));
        self.repeat = Repeat::UntilFail(rounds);
        Ok(())
    }

    /// What the commit is that is checked out.
    ///
    /// # Errors
    /// [`Halt`]
    pub(super) fn judge(&mut self, commit: &str) -> Result<Known, Halt> {
        let began = Instant::now();
        let around = self.trial.circumstances(&self.run, &self.project, self.repeat)?;
        let tree = self.git.words(["rev-parse", &format!("{commit}^{{tree}}")])?;
        let by_tree = key("tree", around, tree.as_bytes());
        if let Some(known) = self.verdicts.get(by_tree).cloned() {
            say(&format!(
                "  {}: {} (known)",
                known.judged.verdict.word(),
                known.judged.why
            ));
            return Ok(known);
        }
        let build_log = self.log(commit, "build");
        // What an interrupted build has said is said again.
        let _ = fs::remove_file(&build_log);
        if let Some(judged) = self
            .trial
            .build(&self.project, BuildLog::File(&build_log), &Discard)?
        {
            return self.keep(&[by_tree], commit, judged, None, began);
        }
        let built = began.elapsed();
        let image = self.trial.image(&self.project)?;
        let by_image = key(
            "image",
            around,
            image
                .map_or(Vec::new(), |image| image.as_bytes().to_vec())
                .as_slice(),
        );
        if let Some(known) = self.verdicts.get(by_image).cloned() {
            say(&format!(
                "  {}: builds the same as {}",
                known.judged.verdict.word(),
                self.git.title(&known.commit)?
            ));
            self.verdicts
                .keep(&[by_tree], &known)
                .map_err(anyhow::Error::from)?;
            return Ok(known);
        }
        say(&format!("  built in {}", DisplayDuration(built)));
        let file = |what: &str| {
            let path = self.log(commit, what);
            File::create(&path).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
        };
        let report = Arc::new(Output::new(Box::new(file("report")?), None));
        let tested = match self.trial.run(self.repeat, report, Some(file("run")?)) {
            Err(Halt::Broken(error)) => {
                let said = fs::read_to_string(self.log(commit, "run")).unwrap_or_default();
                return Err(Halt::Broken(anyhow::anyhow!("{error}\n{}", said.trim_end())));
            }
            tested => tested?,
        };
        self.keep(&[by_tree, by_image], commit, tested.judged, tested.rounds, began)
    }

    fn keep(
        &mut self,
        keys: &[Digest],
        commit: &str,
        judged: Judged,
        rounds: Option<Rounds>,
        began: Instant,
    ) -> Result<Known, Halt> {
        say(&format!(
            "  {}: {} ({})",
            judged.verdict.word(),
            judged.why,
            DisplayDuration(began.elapsed())
        ));
        let known = Known {
            commit: commit.to_owned(),
            judged,
            rounds,
        };
        self.verdicts.keep(keys, &known).map_err(anyhow::Error::from)?;
        Ok(known)
    }

    /// The file with what a commit's `build`, `run` or `report` said.
    pub(super) fn log(&self, commit: &str, what: &str) -> PathBuf {
        self.logs().join(format!("{commit}.{what}"))
    }
}

fn say(line: &str) {
    complain(&format!("provium bisect: {line}"));
}

/// The key of what is known by `what`.
fn key(what: &str, around: Digest, of: &[u8]) -> Digest {
    Digest::of_parts([what.as_bytes(), around.as_bytes(), of])
}

/// The folder with the sources that are bisected.
fn sources_of(args: &DriverArgs, project: &Project) -> anyhow::Result<PathBuf> {
    let builds = project
        .config
        .profiles
        .values()
        .filter_map(|profile| profile.build.as_ref());
    let mut trees: Vec<&Path> = builds
        .filter(|build| build.names_tree)
        .map(|build| build.tree.as_path())
        .collect();
    trees.sort_unstable();
    trees.dedup();
    anyhow::ensure!(
        !trees.is_empty(),
        "no profile's `build` says {{tree}}, which is where a bisect has each commit's sources: write \
         `build = \"make -C {{tree}} O={{out}} …\"`, and `tree = \"DIR\"` if they are not in the project's folder"
    );
    match (&args.tree, trees.as_slice()) {
        (Some(tree), _) => Ok(project.cwd.join(tree)),
        (None, [tree]) => Ok((*tree).to_owned()),
        (None, _) => anyhow::bail!("profiles have several values of `tree`; say which by --tree DIR"),
    }
}

/// The folder of everything that a bisect of these sources for this project keeps.
fn folder(project: &Project, tree: &Path) -> anyhow::Result<PathBuf> {
    let config = &project.config;
    let parts = [config.project.as_os_str(), tree.as_os_str()].map(|part| part.as_encoded_bytes());
    let name = Digest::of_parts(parts).short();
    let caches = config.cache_dir.parent().unwrap_or(&config.cache_dir);
    let folder = caches.join("bisect").join(name);
    fs::create_dir_all(&folder)
        .map_err(|error| anyhow::anyhow!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Keeps others out of the folder.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!(
            "another `provium bisect` of these sources runs: {} is locked",
            path.display()
        )
    })?;
    Ok(file)
}
