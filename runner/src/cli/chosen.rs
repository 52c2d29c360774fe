//! What the arguments choose: files, tests of them, and their order.
//!
//! Input: arguments, the project, the last run. Output: a [`Chosen`]. Not here: deciding about one test
//! (`session::select`), and what has changed (`since`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use provium_cache::Sources;

use super::args::{ChooseArgs, OrderArgs, Seed, SelectArgs};
use super::print::complain;
use super::project::Project;
use super::since;
use crate::discover::{TestFile, shown};
use crate::session::Outcome;
use crate::session::artifacts::Artifacts;
use crate::session::last_run::LastRun;
use crate::session::order::Order;
use crate::session::select::{KeyValue, NameFilter, Only, Selection, only};
use crate::uses::Uses;

/// The files and tests of a run.
pub(super) struct Chosen {
    pub(super) files: Vec<TestFile>,
    pub(super) selection: Selection,
    /// Why that is nothing, where it is nobody's mistake.
    pub(super) nothing: Option<String>,
}

impl Chosen {
    /// Whether one of the files may boot a virtual machine, as far as their texts say.
    pub(super) fn may_boot(&self, project: &Project) -> anyhow::Result<bool> {
        let config = &project.config;
        let sources = Sources::find(&config.project, &config.roots)?;
        let uses = Uses::new(&config.project, &config.roots, &sources);
        Ok(self.files.iter().any(|file| uses.of(&file.path).may_boot()))
    }
}

/// Finds what the arguments choose.
pub(super) fn choose(
    project: &Project,
    choose: &ChooseArgs,
    select: &SelectArgs,
    history: &History,
) -> anyhow::Result<Chosen> {
    let split = choose.paths.iter().map(|path| only::split(path, &project.cwd));
    let (paths, named): (Vec<_>, Vec<_>) = split.unzip();
    let mut files = project.files(&paths)?;
    let mut selection = Selection {
        only: of_files(project, &files, &paths, &named),
        partition: select.partition,
        ..filter(select).into()
    };
    let mut nothing = None;
    if let Some(since) = &select.since {
        files = since::changed(project, since, files)?;
        if files.is_empty() {
            nothing = Some(format!(
                "nothing to run: no test file has changed since {since}, nor what it uses"
            ));
        }
    }
    if select.rerun_failed {
        let last = history.last.clone().ok_or_else(|| {
            anyhow::anyhow!(
                "--rerun-failed: no failure is known: {} is not there, as no test has failed yet",
                shown(&history.path, &project.cwd)
            )
        })?;
        files.retain(|file| last.has_failed_in(&file.path));
        if files.is_empty() {
            nothing = Some("nothing to run again: what failed last has passed since".to_owned());
        }
        selection.again = Some(last);
    }
    Ok(Chosen {
        files,
        selection,
        nothing,
    })
}

/// The tests that are named one by one, by their files; not those of files that are named whole as well.
fn of_files(
    project: &Project,
    files: &[TestFile],
    paths: &[PathBuf],
    named: &[Option<Only>],
) -> BTreeMap<PathBuf, Vec<Only>> {
    let real = |path: &PathBuf| std::fs::canonicalize(project.cwd.join(path)).ok();
    let mut found: BTreeMap<PathBuf, Vec<Only>> = BTreeMap::new();
    for (path, only) in paths.iter().zip(named) {
        let file = files.iter().find(|file| real(&file.path) == real(path));
        if let (Some(only), Some(file)) = (only, file) {
            found.entry(file.path.clone()).or_default().push(only.clone());
        }
    }
    let whole = paths.iter().zip(named).filter(|(_, only)| only.is_none());
    let whole: Vec<_> = whole.filter_map(|(path, _)| real(path)).collect();
    found.retain(|file, _| {
        let file = real(file).unwrap_or_else(|| file.clone());
        !whole.iter().any(|path| file.starts_with(path))
    });
    found
}

/// What the arguments say of tests' names and metadata.
fn filter(args: &SelectArgs) -> NameFilter {
    let labels = |tags: &[String], meta: &[KeyValue]| {
        let tags = tags.iter().cloned().map(KeyValue::tag);
        tags.chain(meta.iter().cloned()).collect()
    };
    NameFilter {
        test: None,
        substring: args.filter.clone(),
        expression: args.expression.clone(),
        with: labels(&args.tag, &args.tag_meta),
        without: labels(&args.no_tag, &args.no_tag_meta),
        include_slow: args.include_slow,
    }
}

/// What is known of earlier runs.
pub(super) struct History {
    /// The file that it is kept in.
    pub(super) path: PathBuf,
    /// What failed last; `None` when none is known to have.
    pub(super) last: Option<Arc<LastRun>>,
}

impl History {
    /// Reads it, for the flags that go by it; others can do without a file that cannot be read.
    pub(super) fn read(project: &Project, select: &SelectArgs, order: &OrderArgs) -> anyhow::Result<History> {
        let path = Artifacts::default_folder(&project.config.project).with_extension("json");
        let last = LastRun::read(&path, &project.config.project);
        let last = match select.rerun_failed || order.failed_first {
            true => last?,
            false => last.ok().flatten(),
        };
        Ok(History {
            path,
            last: last.map(Arc::new),
        })
    }

    /// Takes note of what a run came to; that this cannot be written is a warning.
    pub(super) fn note(&self, project: &Project, files: &[TestFile], outcome: &Outcome) {
        let mut last = self.last.as_deref().cloned().unwrap_or_default();
        for end in &outcome.files {
            let path = &end.result.path;
            if let Some(file) = files.iter().find(|file| file.shown == *path) {
                let tests = outcome.tests.iter().filter(|(of, _)| of == path);
                let tests: Vec<_> = tests.map(|(_, test)| test).collect();
                last.note(&file.path, end, &tests);
            }
        }
        if let Err(error) = last.write(&self.path, &project.config.project) {
            complain(&format!(
                "provium: warning: --rerun-failed will not know of this run: {error}"
            ));
        }
    }

    /// The order that the arguments ask for; what to say of it, if that is anything.
    pub(super) fn order(&self, args: &OrderArgs) -> (Order, Option<String>) {
        let shuffle = args.shuffle.map(|seed| match seed {
            Seed::Given(seed) => seed,
            Seed::Any => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                u64::from(now.unwrap_or_default().subsec_nanos())
            }
        });
        let order = Order {
            shuffle,
            failed_first: self.last.clone().filter(|_| args.failed_first),
        };
        let said = shuffle.map(|seed| format!("shuffled; --shuffle={seed} repeats this order"));
        (order, said)
    }
}
