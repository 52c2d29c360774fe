//! The scheduler: files go in, each runs on a thread of its own, events and a summary come out.
//!
//! Enters: a [`Plan`] and what runs one file. Leaves: [`Event`]s as things happen, then a [`Summary`]. Time
//! limits, `--fail-fast` and Ctrl-C are all the same here: a file's token is cancelled, and a file that does
//! not obey within [`Plan::grace`] is given up. Absent on purpose: Lua and VMs, and how anything is shown.

pub mod build;
pub mod interrupt;
pub mod job;
pub mod journal;
pub mod pool;
pub mod select;
pub mod summary;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, CancelReason};
use crate::config::Config;
use crate::discover::TestFile;
use crate::guest::Fixtures;
use crate::outcome::{FileResult, Progress, TestResult, TestStatus, Timeliness};
use crate::report::{Event, FileEnd, Reporter};
use job::FileJob;
use journal::{Journal, JournalError, Replayed};
use pool::Pool;
use select::NameFilter;
use summary::Summary;

/// Stack of a file's thread, in bytes: Lua's C functions call each other up to 200 deep.
const STACK: usize = 16 << 20;

/// What is to run, and how.
#[derive(Debug)]
pub struct Plan {
    /// The files, in the order they start.
    pub files: Vec<TestFile>,
    /// How many run at a time.
    pub jobs: usize,
    /// Time limit of a file.
    pub timeout: Option<Duration>,
    /// Whether the first failed test ends the run.
    pub fail_fast: bool,
    /// Which tests are wanted.
    pub filter: NameFilter,
    /// The configuration.
    pub config: Arc<Config>,
    /// The project's fixtures.
    pub fixtures: Arc<Fixtures>,
    /// The memory and processors that files can reserve.
    pub pool: Arc<Pool>,
    /// How long a cancelled file may take to clean up before its thread is given up.
    pub grace: Duration,
    /// Where results are noted, and what an earlier start has noted.
    pub journal: Option<(Journal, Vec<Replayed>)>,
}

/// What runs one file.
pub type FileRunner = dyn Fn(&FileJob, &dyn Progress) -> FileResult + Send + Sync;

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Runs the plan's files with `runner` until all have ended or `cancel` is cancelled.
///
/// # Errors
/// [`RunError`] when the harness itself fails; failed tests are in the summary.
pub fn run(
    plan: Plan,
    runner: Arc<FileRunner>,
    reporter: Arc<dyn Reporter>,
    cancel: &Arc<Cancel>,
) -> Result<Summary, RunError> {
    let started = Instant::now();
    let (journal, replayed) = plan
        .journal
        .map_or((None, Vec::new()), |(journal, old)| (Some(journal), old));
    let (queue, done): (Vec<_>, Vec<_>) = plan
        .files
        .into_iter()
        .partition(|file| !replayed.iter().any(|old| old.result.path == file.shown));
    let files = queue.len() + done.len();
    let shared = Shared {
        runner,
        reporter,
        cancel: cancel.child(),
        journal,
        filter: Arc::new(plan.filter),
        config: plan.config,
        fixtures: plan.fixtures,
        pool: plan.pool,
        timeout: plan.timeout,
        fail_fast: plan.fail_fast,
        grace: plan.grace,
        summary: Mutex::default(),
        error: Mutex::default(),
    };
    shared.reporter.event(Event::RunStarted { files });
    for old in replayed
        .into_iter()
        .filter(|old| done.iter().any(|file| file.shown == old.result.path))
    {
        shared.ended(old.result, false, old.shown)?;
    }
    let workers = plan.jobs.clamp(1, queue.len().max(1));
    let begun = AtomicUsize::new(0);
    let queue = Mutex::new(VecDeque::from(queue));
    thread::scope(|scope| {
        let work = || {
            while shared.cancel.is_cancelled().is_none() {
                let Some(file) = lock(&queue).pop_front() else {
                    return;
                };
                begun.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = shared.file(file) {
                    lock(&shared.error).get_or_insert(error);
                    shared.cancel.cancel(CancelReason::Interrupted);
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
    let mut summary = *lock(&shared.summary);
    summary.unfinished += lock(&queue).len();
    summary.stopped = shared.cancel.is_cancelled().filter(|_| summary.unfinished > 0);
    summary.stopped = cancel.is_cancelled().or(summary.stopped);
    summary.elapsed = started.elapsed();
    shared.reporter.event(Event::RunEnded(&summary));
    match shared.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(summary),
    }
}

/// What the workers share.
struct Shared {
    runner: Arc<FileRunner>,
    reporter: Arc<dyn Reporter>,
    cancel: Arc<Cancel>,
    journal: Option<Journal>,
    filter: Arc<NameFilter>,
    config: Arc<Config>,
    fixtures: Arc<Fixtures>,
    pool: Arc<Pool>,
    timeout: Option<Duration>,
    fail_fast: bool,
    grace: Duration,
    summary: Mutex<Summary>,
    error: Mutex<Option<RunError>>,
}

/// What reaches the worker that waits for a file.
enum Message {
    Ended(thread::Result<FileResult>),
    Cancelled,
}

impl Shared {
    /// Runs one file from start to report.
    fn file(&self, file: TestFile) -> Result<(), RunError> {
        let started = Instant::now();
        let cancel = self.cancel.child();
        let job = FileJob {
            path: file.path,
            shown: file.shown,
            project: self.config.project.clone(),
            roots: self.config.roots.clone(),
            config: self.config.clone(),
            filter: self.filter.clone(),
            timeout: self.timeout,
            fixtures: self.fixtures.clone(),
            pool: self.pool.clone(),
            cancel: cancel.clone(),
        };
        let shown = job.shown.clone();
        let watch = Arc::new(Watch {
            reporter: self.reporter.clone(),
            run: self.cancel.clone(),
            fail_fast: self.fail_fast,
            attached: AtomicBool::new(true),
            ended: Mutex::default(),
        });
        tracing::debug!(file = shown, "starts");
        self.reporter.event(Event::FileStarted { path: &shown });
        let (sender, receiver) = mpsc::channel();
        let ended = sender.clone();
        let (runner, progress) = (self.runner.clone(), watch.clone());
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| runner(&job, &*progress)));
            let _ = ended.send(Message::Ended(result));
        };
        let _told = cancel.on_cancel(Box::new(move || drop(sender.send(Message::Cancelled))));
        thread::Builder::new()
            .name("test file".into())
            .stack_size(STACK)
            .spawn(body)?;

        let result = self.wait(&receiver, &cancel);
        watch.attached.store(false, Ordering::SeqCst);
        let mut result = match result {
            Some(Ok(result)) => result,
            Some(Err(panic)) => watch.unfinished(
                &shown,
                format!("the file's thread panicked: {}", panic_text(&*panic)),
            ),
            None => {
                let reason = cancel.is_cancelled().unwrap_or(CancelReason::Interrupted);
                let waited = self.grace.as_secs();
                watch.unfinished(
                    &shown,
                    format!("{reason}, and the file did not end within {waited} s of being told"),
                )
            }
        };
        result.duration_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let reason = cancel.is_cancelled();
        tracing::debug!(file = shown, passed = result.passed, cancelled = ?reason, "has ended");
        if reason == Some(CancelReason::FileTimeout) {
            result.timeout = Timeliness::TimedOut;
            result.passed = false;
        }
        let cut = matches!(reason, Some(CancelReason::Interrupted | CancelReason::FailFast));
        let stopped = cut && watch.cut_short(&mut result);
        if !stopped && let Some(journal) = &self.journal {
            journal.ended(&result)?;
        }
        let failed = !result.passed && !stopped;
        self.ended(result, stopped, false)?;
        if failed && self.fail_fast {
            self.cancel.cancel(CancelReason::FailFast);
        }
        Ok(())
    }

    /// Waits for the file to end, cancels it at its time limit, and gives it up when it does not obey.
    fn wait(
        &self,
        receiver: &mpsc::Receiver<Message>,
        cancel: &Cancel,
    ) -> Option<thread::Result<FileResult>> {
        let mut deadline = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let mut cancelled = false;
        loop {
            let message = match deadline {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Ended(result)) => return Some(result),
                Ok(Message::Cancelled) => {
                    cancelled = true;
                    deadline = Instant::now().checked_add(self.grace);
                }
                Err(RecvTimeoutError::Timeout) if !cancelled => {
                    // Runs the clean-up of blocked calls here; the message comes back through the channel.
                    cancel.cancel(CancelReason::FileTimeout);
                    cancelled = true;
                    deadline = Instant::now().checked_add(self.grace);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Reports a file's end and adds it to the summary.
    fn ended(&self, result: FileResult, stopped: bool, shown_before: bool) -> Result<(), RunError> {
        let selected = !result.tests.is_empty()
            || result.chunk_error.is_some()
            || result.timeout == Timeliness::TimedOut
            || !(self.filter.is_active() || stopped);
        let end = FileEnd {
            result,
            stopped,
            shown_before,
            selected,
        };
        lock(&self.summary).add(&end);
        self.reporter.event(Event::FileEnded(&end));
        match &self.journal {
            Some(journal) if !stopped && !shown_before => Ok(journal.shown(&end.result.path)?),
            _ => Ok(()),
        }
    }
}

/// Hears of a file's progress, passes it on, and remembers it in case the file never returns.
struct Watch {
    reporter: Arc<dyn Reporter>,
    /// The run's token.
    run: Arc<Cancel>,
    fail_fast: bool,
    /// Cleared once the file's result is settled; a thread that was given up is not heard any more.
    attached: AtomicBool,
    /// Each ended test, and whether it ended after the run was told to stop.
    ended: Mutex<Vec<(TestResult, bool)>>,
}

impl Progress for Watch {
    fn test_started(&self, path: &str, test: &str) {
        if self.attached.load(Ordering::SeqCst) {
            self.reporter.event(Event::TestStarted { path, test });
        }
    }

    fn test_ended(&self, path: &str, result: &TestResult) {
        if !self.attached.load(Ordering::SeqCst) {
            return;
        }
        let late = self.run.is_cancelled().is_some();
        lock(&self.ended).push((result.clone(), late));
        self.reporter.event(Event::TestEnded { path, result });
        if self.fail_fast && !late && result.status == TestStatus::Failed {
            self.run.cancel(CancelReason::FailFast);
        }
    }
}

impl Watch {
    /// The result of a file that did not return one.
    fn unfinished(&self, path: &str, error: String) -> FileResult {
        FileResult {
            path: path.to_owned(),
            timeout: Timeliness::InTime,
            passed: false,
            chunk_error: Some(error),
            duration_ns: 0,
            tests: lock(&self.ended).iter().map(|(test, _)| test.clone()).collect(),
        }
    }

    /// For a file of a run that was told to stop: a test that failed after that says nothing about the test,
    /// so it counts as skipped. Returns whether the file is without a verdict, which it is unless a test failed
    /// before, or everything had already passed.
    fn cut_short(&self, result: &mut FileResult) -> bool {
        let ended = lock(&self.ended);
        for test in &mut result.tests {
            let late = ended.iter().any(|(known, late)| *late && known.name == test.name);
            if late && test.status == TestStatus::Failed {
                test.status = TestStatus::Skipped;
            }
        }
        !result.passed && result.tests.iter().all(|test| test.status != TestStatus::Failed)
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// Locks; what these mutexes hold is whole at every point where a panic is possible.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
