//! One run of a session: files go in, each runs on a thread of its own, events and counts come out.
//!
//! Input: a session, [`RunOptions`], the files. Output: the events from [`RunStarted`](Event::RunStarted) to
//! [`RunEnded`](Event::RunEnded), and what they add up to. Not here: one file's thread and time limit
//! (`file`).

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::Event;
use provium_base::outcome::{FileEnd, FileResult, Summary, Timeliness};

use super::artifacts::Artifacts;
use super::emptied::Seen;
use super::job::FileJob;
use super::journal::Journal;
use super::known::KnownFailures;
use super::order::Order;
use super::progress::Found;
use super::repeat::Repeat;
use super::select::Selection;
use super::slots::Slots;
use super::watched::{self, found};
use super::{RunOptions, Session, SessionError};
use crate::discover::TestFile;

/// A run under way; the threads that run its files share it.
pub(super) struct Run<'a> {
    pub(super) session: &'a Session,
    /// The run's own token, a child of the one it was started with.
    pub(super) cancel: Arc<Cancel>,
    pub(super) timeout: Option<Duration>,
    pub(super) failures: Arc<Failures>,
    pub(super) repeat: Repeat,
    pub(super) journal: Option<Arc<Journal>>,
    allow_empty: bool,
    known: Arc<KnownFailures>,
    selection: Arc<Selection>,
    order: Order,
    retries: u32,
    /// Numbers of the files, by their names in reports.
    numbers: HashMap<String, usize>,
    artifacts: Option<Arc<Artifacts>>,
    slots: Arc<Slots>,
    observed: bool,
    ended: Mutex<Ended>,
    error: Mutex<Option<SessionError>>,
}

/// The files that have ended.
#[derive(Default)]
pub(super) struct Ended {
    /// Counts of their tests.
    pub(super) summary: Summary,
    /// The files in the order of their ends.
    pub(super) files: Vec<FileEnd>,
    /// The tests that their files have told of, wanted or not.
    pub(super) seen: Vec<Seen>,
    /// Messages about tests that were named one by one and are not there.
    pub(super) missing: Vec<String>,
}

/// The failures of a run, up to the number that ends it.
pub(super) struct Failures {
    most: Option<usize>,
    seen: AtomicUsize,
}

impl Failures {
    /// Counts one; says whether it is one too many to go on.
    pub(super) fn add(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.is_some_and(|most| seen >= most)
    }
}

/// Runs the files until all have ended or `cancel` is cancelled.
pub(super) fn run(
    session: &Session,
    mut files: Vec<TestFile>,
    options: RunOptions,
    cancel: &Arc<Cancel>,
) -> Result<Ended, SessionError> {
    let started = Instant::now();
    let (journal, replayed) = options.journal.map_or((None, Vec::new()), |(journal, old)| {
        (Some(Arc::new(journal)), old)
    });
    let jobs = match &journal {
        Some(journal) if journal.is_one_at_a_time() => 1,
        _ => options.jobs,
    };
    let numbers: HashMap<String, usize> = (0..)
        .zip(&files)
        .map(|(number, file)| (file.shown.clone(), number))
        .collect();
    options.order.files(&mut files);
    let (queue, done): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| !replayed.iter().any(|old| old.result.path == file.shown));
    let files = queue.len() + done.len();
    session.sink.emit(Event::RunStarted { files });
    let _pool = options.observed.then(|| {
        let found = queue.iter().chain(&done).map(found).collect();
        session.sink.emit(Event::FilesFound { files: found });
        watched::pool(&session.pool, &session.sink)
    });
    // Registered before the run's own token, so that it comes before files end.
    let _told = tell_of_stop(session, cancel);
    let run = Run {
        session,
        cancel: cancel.child(),
        timeout: options.repeat.limit(options.timeout),
        failures: Arc::new(Failures {
            most: options.max_failures,
            seen: AtomicUsize::new(0),
        }),
        repeat: options.repeat,
        journal,
        allow_empty: options.allow_empty,
        known: options.known,
        selection: Arc::new(options.selection),
        order: options.order,
        retries: options.retries,
        numbers,
        artifacts: options.artifacts,
        slots: Slots::new(jobs),
        observed: options.observed,
        ended: Mutex::default(),
        error: Mutex::default(),
    };
    for old in replayed
        .into_iter()
        .filter(|old| done.iter().any(|file| file.shown == old.result.path))
    {
        let failed = !old.result.passed;
        run.ended(old.result, false, old.shown)?;
        if failed && run.failures.add() {
            run.cancel.cancel(CancelReason::FailFast);
        }
    }
    let left = run.work_off(queue, jobs);
    for message in run.known.take_unmatched() {
        session.sink.emit(Event::Warning { message });
    }
    let mut ended = run.ended.into_inner();
    let summary = &mut ended.summary;
    summary.unfinished += left;
    summary.stopped = run.cancel.is_cancelled().filter(|_| summary.unfinished > 0);
    summary.stopped = cancel.is_cancelled().or(summary.stopped);
    summary.elapsed = started.elapsed();
    session.sink.emit(Event::RunEnded(*summary));
    match run.error.into_inner() {
        Some(error) => Err(error),
        None => Ok(ended),
    }
}

/// Says that the run is told to stop, when it is.
fn tell_of_stop(session: &Session, cancel: &Arc<Cancel>) -> provium_base::cancel::CancelGuard {
    let (sink, token) = (Arc::clone(&session.sink), Arc::downgrade(cancel));
    cancel.on_cancel(Box::new(move || {
        if let Some(reason) = token.upgrade().and_then(|token| token.is_cancelled()) {
            sink.emit(Event::RunStopping { reason });
        }
    }))
}

impl Run<'_> {
    /// Runs the queue's files on `jobs` threads, this one among them; returns the number of those that never
    /// began.
    fn work_off(&self, queue: Vec<TestFile>, jobs: usize) -> usize {
        let workers = jobs.clamp(1, queue.len().max(1));
        let queue = Mutex::new(VecDeque::from(queue));
        thread::scope(|scope| {
            let work = || {
                while self.cancel.is_cancelled().is_none() {
                    let Some(file) = queue.lock().pop_front() else {
                        return;
                    };
                    // There are as many as workers; one that tests of another file have comes back.
                    let _slot = self.slots.take();
                    if let Err(error) = self.file(file) {
                        self.error.lock().get_or_insert(error);
                        self.cancel.cancel(CancelReason::Interrupted);
                    }
                }
            };
            for index in 1..workers {
                // With fewer threads the run takes longer, and that is all.
                let _ = thread::Builder::new()
                    .name(format!("worker {index}"))
                    .spawn_scoped(scope, work);
            }
            work();
        });
        queue.into_inner().len()
    }

    /// What the file's runner is given.
    pub(super) fn job(&self, file: TestFile) -> FileJob {
        let config = &self.session.config;
        FileJob {
            number: self.numbers.get(&file.shown).copied().unwrap_or_default(),
            path: file.path,
            shown: file.shown,
            config: Arc::clone(config),
            selection: Arc::clone(&self.selection),
            order: self.order.clone(),
            repeat: self.repeat,
            retries: self.retries,
            timeout: self.timeout,
            fixtures: Arc::clone(&self.session.fixtures),
            pool: Arc::clone(&self.session.pool),
            slots: Arc::clone(&self.slots),
            known: Arc::clone(&self.known),
            progress: Arc::default(),
            artifacts: self.artifacts.clone(),
            observed: self.observed,
            cancel: self.cancel.child(),
        }
    }

    /// Completes a file's result by what its thread has told of its tests: those that never began, and that
    /// there are none. Takes note of all of them.
    pub(super) fn complete(&self, result: &mut FileResult, path: &Path, tests: Vec<Found>, stopped: bool) {
        let began = |name: &str| result.tests.iter().any(|test| test.name == name);
        let not_run = tests.iter().filter(|test| test.wanted && !began(&test.name));
        result.not_run = not_run.map(|test| test.name.clone()).collect();
        // A file that a filter leaves out is none of this run's.
        if result.no_tests && !self.allow_empty && !self.selection.is_active() {
            result.passed = false;
        }
        if result.chunk_error.is_none() && !stopped {
            self.known.check(path, &tests);
        }
        let mut ended = self.ended.lock();
        if result.chunk_error.is_none() && !stopped {
            let only = self.selection.only.get(path).into_iter().flatten();
            let missing = only.filter_map(|only| only.missing_from(&result.path, &tests));
            ended.missing.extend(missing);
        }
        ended
            .seen
            .extend(tests.into_iter().map(|test| (result.path.clone(), test)));
    }

    /// Adds a file's end to the counts, tells of it and notes in the journal that it was told.
    pub(super) fn ended(
        &self,
        result: FileResult,
        stopped: bool,
        shown_before: bool,
    ) -> Result<(), SessionError> {
        let selected = !result.tests.is_empty()
            || result.chunk_error.is_some()
            || result.timeout == Timeliness::TimedOut
            || !(self.selection.is_active() || stopped);
        let end = FileEnd {
            result,
            stopped,
            shown_before,
            selected,
        };
        let path = end.result.path.clone();
        {
            let mut ended = self.ended.lock();
            ended.summary.add(&end);
            ended.files.push(end.clone());
        }
        self.session.sink.emit(Event::FileEnded(end));
        match &self.journal {
            Some(journal) if !stopped && !shown_before => Ok(journal.shown(&path)?),
            _ => Ok(()),
        }
    }
}
