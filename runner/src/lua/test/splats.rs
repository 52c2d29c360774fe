//! What splats of guests' kernels do to the parts of a test file.
//!
//! Input: a part's end, and what it is told of splats. Output: its verdict and log with them. Not here: which
//! part a splat belongs to, and what it means (`state::splats`).

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;
use provium_base::failure::{Failure as Report, GuestSplat};

use super::file::File;
use super::run::{Failure, TestRun};
use super::verdict::Verdict;
use crate::lua::state::splats::{Allowance, FileSplats, Told, line_of};

/// How long an expected splat is waited for once the code that should cause it is through.
pub(super) const EXPECTED_WITHIN: Duration = Duration::from_secs(2);

impl File {
    /// Begins the file's own code, which a splat ends as it does a test.
    pub(super) fn begin_own_code(&self) {
        let token = self.script().begin_part(None);
        self.splats().begin(&token, Allowance::None);
    }

    /// Ends the file's own code, whose splats are the file's up to its end; returns those that fail it.
    pub(super) fn end_own_code(&self) -> Told {
        self.ask_quiet_guests();
        let told = self.splats().take_told();
        self.script().leave_part();
        told
    }

    /// Asks guests whose consoles are quiet whether their kernels have reported anything.
    pub(super) fn ask_quiet_guests(&self) {
        let cancel: Arc<Cancel> = self.cancel();
        if cancel.is_cancelled().is_some() {
            return;
        }
        for seen in self.scopes.unseen_splats(&cancel) {
            self.splats().found(seen);
        }
    }
}

/// Takes note of expectations that were not met by a test that got to its end.
pub(super) fn check_expected(file: &File, run: &TestRun, at_end: bool) {
    let expected = run.expected_splats.take();
    if !at_end || run.skip.borrow().is_some() {
        return;
    }
    let mut limit = EXPECTED_WITHIN;
    for expectation in expected {
        if file.splats().met(expectation.number, limit).is_some() {
            continue;
        }
        limit = Duration::ZERO;
        run.failures.borrow_mut().push(Failure {
            raised: expectation.message.clone(),
            message: expectation.message,
            line: expectation.line,
            helper: None,
        });
    }
}

/// A test's verdict with what it is told of splats: a splat is why it failed, whatever else failed then.
pub(super) fn with_splats(verdict: Verdict, told: &Told) -> Verdict {
    if told.failing.is_empty() {
        return verdict;
    }
    let mut failure = match verdict {
        Verdict::Failed(failure) => failure,
        Verdict::Passed | Verdict::Skipped(_) => Box::default(),
    };
    say_in(&mut failure, told);
    Verdict::Failed(failure)
}

/// Puts splats into a failure, if there are any.
pub(super) fn say_in(failure: &mut Report, told: &Told) {
    let message = std::mem::take(&mut failure.message);
    failure.message = say_in_text(message, told);
    // Those that it has already have more to them by now.
    let known = failure.splats.len();
    failure.splats.extend(told.failing.iter().skip(known).cloned());
}

/// The text of a failure that says its splat first, if there is one.
pub(super) fn say_in_text(text: String, told: &Told) -> String {
    let Some(first) = told.failing.first() else {
        return text;
    };
    let line = line_of(first);
    if text.contains(&line) {
        return text;
    }
    let more = match told.failing.len() as u64 - 1 + told.more {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    match text.as_str() {
        "" => format!("{line}{more}"),
        text => format!("{line}{more}\nand then: {text}"),
    }
}

/// Splats as lines of a log.
pub(super) fn log_of(splats: &[GuestSplat]) -> Vec<String> {
    let lines = splats.iter().map(|splat| match splat.text.trim_end() {
        "" => line_of(splat),
        text => format!("{} of VM `{}`:\n{text}", splat.kind, splat.vm),
    });
    lines.collect()
}

/// What the file's own code is told of splats that came outside of it and of the tests, at the file's end.
pub(super) fn left_over(splats: &FileSplats) -> Option<Box<Report>> {
    let told = splats.end();
    let mut failure = Report::default();
    say_in(&mut failure, &told);
    (!told.failing.is_empty()).then(|| Box::new(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(heads: &[&str]) -> Told {
        let splat = |head: &&str| GuestSplat {
            vm: "a".to_owned(),
            kind: "bug".to_owned(),
            head: (*head).to_owned(),
            text: format!("[    1.0] {head}\n"),
        };
        Told {
            failing: heads.iter().map(splat).collect(),
            ..Told::default()
        }
    }

    #[test]
    fn a_splat_comes_before_what_failed_because_of_it() {
        let failed = |message: &str| {
            Verdict::Failed(Box::new(Report {
                message: message.to_owned(),
                ..Report::default()
            }))
        };
        let said = |verdict: Verdict, heads: &[&str]| {
            let told = told(heads);
            let (_, message, _, failure) = with_splats(with_splats(verdict, &told), &told).parts();
            (message, failure.map(|failure| failure.splats.len()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(said(Verdict::Passed, &[]), (None, None));
        assert_eq!(
            said(Verdict::Passed, &["BUG: x"]),
            (some("kernel of VM `a`: BUG: x"), Some(1))
        );
        assert_eq!(
            said(Verdict::Skipped("later".to_owned()), &["BUG: x", "BUG: y"]),
            (some("kernel of VM `a`: BUG: x\n  and 1 more"), Some(2))
        );
        assert_eq!(
            said(failed("values differ"), &["BUG: x"]),
            (some("kernel of VM `a`: BUG: x\nand then: values differ"), Some(1))
        );
        assert_eq!(
            said(failed("kernel of VM `a`: BUG: x, waiting in vm:run"), &["BUG: x"]),
            (some("kernel of VM `a`: BUG: x, waiting in vm:run"), Some(1))
        );
        assert_eq!(said(failed("no"), &[]), (some("no"), Some(0)));
    }
}
