//! A whole bisect, in a worktree of its own.
//!
//! Input: revisions and tests. Output: the first bad commit, shown; an exit code. What is found out is
//! kept in the cache's folder, so that whatever ends this process costs no more than the commit that it
//! was at. Not here: which commit is next, which is Git's to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use provium_base::cancel::Cancel;
use provium_base::events::Discard;
use provium_base::exit;
use provium_base::outcome::Rounds;
use provium_base::units::DisplayDuration;

use super::answer;
use super::git::{Git, Progress};
use super::known::Known;
use super::rate;
use super::records::{Records, key};
use super::say;
use super::trial::{Halt, Repeat, Trial};
use super::verdict::Verdict;
use crate::cli::args::{DriverArgs, RunArgs};
use crate::cli::print::print;
use crate::cli::project::Project;
use crate::config::Sources;
use crate::session::build::BuildLog;

/// Rounds in which the bad commit's tests are looked at, where nothing else is said.
const LOOKS: u32 = 100;

/// A bisect.
pub(super) struct Driver<'a> {
    args: &'a DriverArgs,
    trial: Trial<'a>,
    project: Project,
    run: RunArgs,
    pub(super) records: Records,
    /// The worktree.
    pub(super) git: Git,
    repeat: Repeat,
}

/// Bisects and shows what that comes to.
pub(super) fn drive(args: &DriverArgs, cancel: &Arc<Cancel>) -> Result<u8, Halt> {
    let (mut driver, bad, good) = Driver::prepare(args, cancel)?;
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
    let log = driver.records.folder().join("bisect.log");
    let replay = driver.git.text(["bisect", "log"])?;
    fs::write(&log, replay).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", log.display()))?;
    let answer = answer::of(&mut driver, &end)?;
    let beside = format!(
        "\ngit bisect replay {}\nlogs of each commit: {}\n",
        log.display(),
        driver.records.logs().display()
    );
    print(&(answer.text + &beside))?;
    Ok(match answer.holds {
        true => exit::SUCCESS,
        false => exit::FAILED,
    })
}

impl<'a> Driver<'a> {
    /// Has a worktree for the bisect; gives as well the bad commit and those that are good.
    fn prepare(
        args: &'a DriverArgs,
        cancel: &'a Arc<Cancel>,
    ) -> Result<(Driver<'a>, String, Vec<String>), Halt> {
        let mut trial = Trial {
            step: &args.step,
            sources: None,
            further: Vec::new(),
            cancel,
        };
        let (_, own) = trial.project()?;
        let tree = sources_of(args, &own)?;
        let (repository, below) = Git::at(&tree)?;
        let bad = repository.commit(args.bad.as_deref().unwrap_or_default())?;
        let good = args.good.iter().map(|good| repository.commit(good));
        let good = good.collect::<anyhow::Result<Vec<_>>>()?;
        let records = Records::open(&own, &tree, args.fresh)?;
        let worktree = records.folder().join("tree");
        say(&format!("in {}", worktree.display()));
        let git = repository.worktree(&worktree, &bad)?;
        trial.sources = Some(Sources {
            tree: match below.as_os_str().is_empty() {
                true => worktree,
                false => worktree.join(below),
            },
            out: records.folder().join("out"),
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
        let repeat = args.repeat.map_or(Repeat::AsGiven, Repeat::UntilFail);
        let driver = Driver {
            args,
            trial,
            project,
            run,
            records,
            git,
            repeat,
        };
        Ok((driver, bad, good))
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
        if let Some(known) = self.records.known_before(by_tree) {
            return Ok(known);
        }
        let build_log = self.records.log(commit, "build");
        // What an interrupted build has said is said again.
        let _ = fs::remove_file(&build_log);
        if let Some(judged) = self
            .trial
            .build(&self.project, BuildLog::File(&build_log), &Discard)?
        {
            return self.records.keep(&[by_tree], commit, judged, None, began);
        }
        let built = began.elapsed();
        let image = self.trial.image(&self.project)?;
        let by_image = key("image", around, image.as_bytes());
        if let Some(known) = self.records.known(by_image) {
            say(&format!(
                "  {}: builds the same as {}",
                known.judged.verdict.word(),
                self.git.title(&known.name)?
            ));
            self.records.keep_as(&[by_tree], &known)?;
            return Ok(known);
        }
        say(&format!("  built in {}", DisplayDuration(built)));
        let tested = self.records.run(&self.trial, self.repeat, commit)?;
        let keys = [by_tree, by_image];
        self.records
            .keep(&keys, commit, tested.judged, tested.rounds, began)
    }
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
