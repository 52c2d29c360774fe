//! One file of a run: its thread, its time limit, its end.
//!
//! Input: a file and the run it belongs to. Output: the file's end, reported; a file that does not end when
//! it is told to is given up, and the tests it had ended count. Not here: what is in a file.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::{Event, Sink};
use provium_base::outcome::{FileResult, TestResult, TestStatus, Timeliness};

use super::SessionError;
use super::journal::Journal;
use super::run::{Failures, Run};
use crate::discover::TestFile;

/// Stack of a file's thread, in bytes: Lua's C functions call each other up to 200 deep.
const STACK: usize = 16 << 20;

/// What reaches the worker that waits for a file.
enum FileMessage {
    Ended(thread::Result<FileResult>),
    Cancelled,
}

impl Run<'_> {
    /// Runs one file from start to report.
    pub(super) fn file(&self, file: TestFile) -> Result<(), SessionError> {
        let started = Instant::now();
        let job = self.job(file);
        let (cancel, shown) = (Arc::clone(&job.cancel), job.shown.clone());
        let (progress, path) = (Arc::clone(&job.progress), job.path.clone());
        let watch = Arc::new(FileWatch {
            sink: Arc::clone(&self.session.sink),
            run: Arc::clone(&self.cancel),
            failures: Arc::clone(&self.failures),
            repeats: self.repeat.is_active(),
            journal: self.journal.clone(),
            attached: AtomicBool::new(true),
            tests: Mutex::default(),
        });
        tracing::debug!(file = shown, "starts");
        if let Some(journal) = &self.journal {
            journal.began(&shown)?;
        }
        self.session.sink.emit(Event::FileStarted { path: shown.clone() });
        let (sender, receiver) = mpsc::channel();
        let ended = sender.clone();
        let (runner, sink) = (
            Arc::clone(&self.session.runner),
            Arc::clone(&watch) as Arc<dyn Sink>,
        );
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| runner(&job, &sink)));
            let _ = ended.send(FileMessage::Ended(result));
        };
        let _told = cancel.on_cancel(Box::new(move || drop(sender.send(FileMessage::Cancelled))));
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
                let waited = self.session.grace.as_secs();
                watch.given_up(
                    &shown,
                    format!("{reason}, and the file did not end within {waited} s of being told"),
                    progress.line(),
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
        self.complete(&mut result, &path, progress.tests(), stopped);
        if !stopped && let Some(journal) = &self.journal {
            journal.ended(&result)?;
        }
        let failed = !result.passed && !stopped;
        let of_a_test = result
            .tests
            .iter()
            .any(|test| test.status.counts_against_the_run());
        self.ended(result, stopped, false)?;
        if failed && !of_a_test && self.failures.add() {
            self.cancel.cancel(CancelReason::FailFast);
        }
        Ok(())
    }

    /// Waits for the file to end, cancels it at its time limit, and gives it up when it does not obey.
    fn wait(
        &self,
        receiver: &mpsc::Receiver<FileMessage>,
        cancel: &Cancel,
    ) -> Option<thread::Result<FileResult>> {
        let grace = self.session.grace;
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
                Ok(FileMessage::Ended(result)) => return Some(result),
                Ok(FileMessage::Cancelled) => {
                    cancelled = true;
                    deadline = Instant::now().checked_add(grace);
                }
                Err(RecvTimeoutError::Timeout) if !cancelled => {
                    // Runs the clean-up of blocked calls here; the message comes back through the channel.
                    cancel.cancel(CancelReason::FileTimeout);
                    cancelled = true;
                    deadline = Instant::now().checked_add(grace);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// The sink of one file's tests: passes events on, and remembers results in case the file never returns.
struct FileWatch {
    sink: Arc<dyn Sink>,
    /// The run's token.
    run: Arc<Cancel>,
    failures: Arc<Failures>,
    /// Whether a test may end again and again.
    repeats: bool,
    journal: Option<Arc<Journal>>,
    /// Cleared once the file's result is settled; a thread that was given up is not heard any more.
    attached: AtomicBool,
    tests: Mutex<Heard>,
}

/// What was heard of a file's tests.
#[derive(Default)]
struct Heard {
    /// The tests that run now.
    running: Vec<String>,
    /// Each ended test, and whether it ended after the run was told to stop.
    ended: Vec<(TestResult, bool)>,
}

impl Sink for FileWatch {
    fn event(&self, event: &Event) {
        if !self.attached.load(Ordering::SeqCst) {
            return;
        }
        if let Event::TestStarted { path, test, .. } = event {
            if let Some(journal) = &self.journal {
                journal.test(path, test);
            }
            self.tests.lock().running.push(test.clone());
        }
        let Event::TestEnded { result, .. } = event else {
            self.sink.event(event);
            return;
        };
        let late = self.run.is_cancelled().is_some();
        {
            let mut tests = self.tests.lock();
            tests.running.retain(|running| *running != result.name);
            if self.repeats {
                tests.ended.retain(|(known, _)| known.name != result.name);
            }
            tests.ended.push((result.clone(), late));
        }
        self.sink.event(event);
        if !late && result.status.counts_against_the_run() && self.failures.add() {
            self.run.cancel(CancelReason::FailFast);
        }
    }
}

impl FileWatch {
    /// The result of a file that did not return one.
    fn unfinished(&self, path: &str, error: String) -> FileResult {
        FileResult {
            passed: false,
            chunk_error: Some(error),
            tests: self
                .tests
                .lock()
                .ended
                .iter()
                .map(|(test, _)| test.clone())
                .collect(),
            ..FileResult::new(path)
        }
    }

    /// The result of a file that did not end when it was told to, with the tests that it was in as failed;
    /// `line` is the last that it was seen at.
    fn given_up(&self, path: &str, error: String, line: Option<u32>) -> FileResult {
        let seen = match line {
            Some(line) => format!("last seen at {path}:{line}"),
            None => "nobody saw where it was".to_owned(),
        };
        let running = std::mem::take(&mut self.tests.lock().running);
        if running.is_empty() {
            let error = match line {
                Some(_) => format!("{error}; {seen}"),
                None => error,
            };
            return self.unfinished(path, error);
        }
        let mut places = String::new();
        for test in &running {
            let result = TestResult {
                message: Some(format!("{error}; {seen}")),
                line,
                ..TestResult::new(test.as_str(), TestStatus::Failed)
            };
            places += &format!("; it was in test `{test}`, {seen}");
            // Each test that began has an end, and nobody else will tell of this one.
            self.sink.emit(Event::TestEnded {
                path: path.to_owned(),
                result: result.clone(),
            });
            let late = self.run.is_cancelled().is_some();
            self.tests.lock().ended.push((result, late));
        }
        self.unfinished(path, format!("{error}{places}"))
    }

    /// For a file of a run that was told to stop: a test that failed after that says nothing about the test,
    /// so it counts as skipped. Returns whether the file is without a verdict, which it is unless a test
    /// failed before, or everything had already passed.
    fn cut_short(&self, result: &mut FileResult) -> bool {
        let heard = self.tests.lock();
        for test in &mut result.tests {
            let late = heard
                .ended
                .iter()
                .any(|(known, late)| *late && known.name == test.name);
            if late && test.status.counts_against_the_run() {
                test.status = TestStatus::Skipped;
                test.failure = None;
            }
        }
        let failed = result
            .tests
            .iter()
            .any(|test| test.status.counts_against_the_run());
        !result.passed && !failed
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
