//! `provium list`: the tests, or the fixtures.
//!
//! Input: what chooses files and tests. Output: on stdout, files with their tests below them, or fixtures
//! with their sources; as text or a JSON object a line. Not here: how a file is listed without a guest
//! (`lua`), the search (`discover`), and what the cache holds of fixtures (`fixture`).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelReason};
use provium_base::cause::Cause;
use provium_base::events::Discard;
use provium_base::exit;
use provium_cache::{FixtureSource, Sources};
use provium_guest::WarmPool;
use serde_json::json;

use super::args::{ListArgs, OrderArgs};
use super::chosen::{self, Chosen, History};
use super::print::{complain, in_line, print};
use super::project::Project;
use crate::discover::{TestFile, shown};
use crate::lua;
use crate::session::emptied::{self, Seen};
use crate::session::job::FileJob;
use crate::session::listed::{Listed, ListedTest};
use crate::session::order::Order;
use crate::session::pool::{Amount, Pool};
use crate::session::repeat::Repeat;
use crate::session::select::{Selection, TAGS};
use crate::stock::Fixtures;

/// How long a file's own code may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(10);
/// Stack of a file's thread, in bytes, as a run has it.
const STACK: usize = 16 << 20;

pub(super) fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let project = Project::load(&args.choose.project, &args.choose.paths)?;
    if args.fixtures {
        print(&fixtures(&project, &args.choose.paths, args.json)?)?;
        return Ok(exit::SUCCESS);
    }
    let order = OrderArgs {
        failed_first: false,
        shuffle: None,
    };
    let history = History::read(&project, &args.select, &order)?;
    let chosen = chosen::choose(&project, &args.choose, &args.select, &history)?;
    if let Some(why) = &chosen.nothing {
        complain(&format!("provium: {why}"));
        return Ok(exit::SUCCESS);
    }
    let Listing { files, seen, missing } = Listing::of(&project, chosen)?;
    anyhow::ensure!(missing.is_empty(), missing.join("; "));
    if let Some(why) = seen {
        anyhow::bail!(why);
    }
    let text = files.iter().map(|file| match args.json {
        true => format!("{}\n", to_json(file)),
        false => to_text(file),
    });
    print(&text.collect::<String>())?;
    Ok(exit::SUCCESS)
}

/// The files that are chosen, with their tests.
struct Listing {
    files: Vec<Listed>,
    /// Why there is nothing, where there is.
    seen: Option<String>,
    /// Messages about tests that were named one by one and are not there.
    missing: Vec<String>,
}

impl Listing {
    fn of(project: &Project, chosen: Chosen) -> anyhow::Result<Listing> {
        let selection = Arc::new(chosen.selection);
        let (mut files, mut seen, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        let count = chosen.files.len();
        for (number, file) in chosen.files.into_iter().enumerate() {
            let job = job(project, &selection, number, file);
            let mut listed = listed(&job)?;
            let found = job.progress.tests();
            if listed.error.is_none() {
                let only = selection.only.get(&job.path).into_iter().flatten();
                missing.extend(only.filter_map(|only| only.missing_from(&job.shown, &found)));
            }
            seen.extend(found.into_iter().map(|test| (job.shown.clone(), test)));
            listed.tests.retain(|test| test.wanted);
            // What cannot be listed may have a test that is wanted.
            if !selection.is_active() || !listed.tests.is_empty() || listed.error.is_some() {
                files.push(listed);
            }
        }
        let why = |seen: &[Seen]| emptied::explain(&selection, count, seen);
        let nothing = files.is_empty() && !seen.iter().any(|(_, test): &Seen| test.chosen);
        Ok(Listing {
            seen: nothing.then(|| why(&seen)),
            files,
            missing,
        })
    }
}

/// A job that is listed, and for which nothing can boot.
fn job(project: &Project, selection: &Arc<Selection>, number: usize, file: TestFile) -> FileJob {
    let build = Box::new(lua::builder(&Pool::new(Amount::default())));
    let config = Arc::clone(&project.config);
    FileJob {
        number,
        path: file.path,
        shown: file.shown,
        fixtures: Fixtures::new(Arc::clone(&config), WarmPool::new(0), Arc::new(Discard), build),
        config,
        selection: Arc::clone(selection),
        order: Order::default(),
        repeat: Repeat::default(),
        retries: 0,
        timeout: Some(LIMIT),
        slots: Arc::default(),
        pool: Pool::new(Amount::default()),
        known: Arc::default(),
        progress: Arc::default(),
        artifacts: None,
        observed: false,
        cancel: Cancel::new(),
    }
}

/// Lists a file on a thread of its own, for as long as it may take.
fn listed(job: &FileJob) -> anyhow::Result<Listed> {
    let (sender, receiver) = mpsc::channel();
    let own = job.clone();
    let body = move || drop(sender.send(lua::list_file(&own)));
    thread::Builder::new()
        .name("listed file".into())
        .stack_size(STACK)
        .spawn(body)?;
    let ended = receiver.recv_timeout(LIMIT).or_else(|_| {
        job.cancel.cancel(CancelReason::FileTimeout);
        receiver.recv_timeout(GRACE)
    });
    Ok(ended.unwrap_or_else(|_| Listed {
        shown: job.shown.clone(),
        path: job.path.clone(),
        tests: Vec::new(),
        error: Some("its own code does not end without a guest".to_owned()),
    }))
}

/// A file's line, and one for each test: line, name, tags, why it is skipped.
fn to_text(file: &Listed) -> String {
    let mut text = match &file.error {
        None => format!("{}\n", file.shown),
        Some(error) => {
            let first = error.lines().next().unwrap_or_default();
            format!("{}: not listed: {}\n", file.shown, in_line(first))
        }
    };
    for test in &file.tests {
        let line = test.line.map_or(String::new(), |line| line.to_string());
        let _ = write!(text, "  {line:>4}  {}", in_line(&test.name));
        if !tags(test).is_empty() {
            let _ = write!(text, "  [{}]", tags(test).join(", "));
        }
        if let Some(skip) = &test.skip {
            let _ = write!(
                text,
                "  skip: {}",
                in_line(skip.lines().next().unwrap_or_default())
            );
        }
        text.push('\n');
    }
    text
}

fn tags(test: &ListedTest) -> &[String] {
    test.labels.get(TAGS).map_or(&[], Vec::as_slice)
}

fn to_json(file: &Listed) -> serde_json::Value {
    let test = |test: &ListedTest| {
        let mut meta = test.labels.clone();
        meta.remove(TAGS);
        json!({"name": test.name, "line": test.line, "tags": tags(test), "meta": meta, "skip": test.skip})
    };
    let tests: Vec<_> = file.tests.iter().map(test).collect();
    json!({"path": file.shown, "error": file.error, "tests": tests})
}

/// A line for each fixture whose source is one of `paths` or below one; for all of them without.
fn fixtures(project: &Project, paths: &[PathBuf], as_json: bool) -> anyhow::Result<String> {
    project.config.check_roots()?;
    let mut places = Vec::new();
    for path in paths {
        let place = std::fs::canonicalize(project.cwd.join(path));
        places.push(place.map_err(|error| anyhow::anyhow!("{}: {}", path.display(), Cause(&error)))?);
    }
    let sources = Sources::find(&project.config.project, &project.config.roots)?;
    let chosen = |source: &&FixtureSource| {
        let path = std::fs::canonicalize(&source.path).unwrap_or_else(|_| source.path.clone());
        places.is_empty() || places.iter().any(|place| path.starts_with(place))
    };
    let chosen: Vec<_> = sources.all().filter(chosen).collect();
    let width = chosen.iter().map(|source| source.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for source in chosen {
        let (name, path) = (&source.name, shown(&source.path, &project.cwd));
        let _ = match as_json {
            true => writeln!(text, "{}", json!({"name": name, "path": path})),
            false => writeln!(text, "{name:width$}  {path}"),
        };
    }
    Ok(text)
}
