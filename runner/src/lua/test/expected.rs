//! Tests that are expected to fail: what a failure of theirs, or their passing, counts as.
//!
//! Input: a test's result, its metadata, the run's known failures. Output: the result as it counts. Not here:
//! how either is shown.

use provium_base::outcome::{TestResult, TestStatus};

use super::file::{File, Registered};
use crate::session::known::Expectation;

/// What is expected of a registered test, if it is to fail: its own metadata goes before the list.
pub(super) fn of_test(file: &File, test: &Registered) -> Option<Expectation> {
    let own = test.settings.xfail.as_ref().map(|reason| {
        let place = test.line.map(|line| format!(":{line}")).unwrap_or_default();
        Expectation {
            reason: reason.clone(),
            mark: format!("`xfail` at {}{place}", file.job().shown),
        }
    });
    own.or_else(|| file.job().expectation(&test.name))
}

/// Makes of a result what it counts as. A test that was ended with its file or with the run has not failed in
/// the way that is expected.
pub(super) fn settle(file: &File, expected: &Expectation, result: &mut TestResult) {
    let reason = match &expected.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    match result.status {
        TestStatus::Failed if file.job().cancel.is_cancelled().is_none() => {
            let message = result.message.take().unwrap_or_default();
            result.status = TestStatus::Xfailed;
            result.message = Some(format!("expected to fail{reason}: {message}"));
        }
        TestStatus::Passed => {
            let mark = &expected.mark;
            result.status = TestStatus::Xpassed;
            result.message = Some(format!(
                "passed, and {mark} expects it to fail{reason}: take that mark away"
            ));
        }
        _ => {}
    }
}
