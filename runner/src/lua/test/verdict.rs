//! What a test came to, and the message that says so.
//!
//! Input: a run, the error that left its body, and why it was ended from outside. Output: a status, a message
//! with the test's own line of code, that line. Not here: running anything.

use super::caught::Caught;
use super::file::File;
use super::run::TestRun;
use crate::lua::api::render;
use crate::lua::api::script::Ending;
use provium_base::outcome::TestStatus;

/// Status of a test, its message and its line.
pub(super) fn verdict(
    file: &File,
    run: &TestRun,
    caught: Option<Caught>,
    ending: Option<Ending>,
) -> (TestStatus, Option<String>, Option<u32>) {
    if let Some(ending) = ending {
        return (
            TestStatus::Failed,
            Some(with_source(file, ending.message, ending.line)),
            ending.line,
        );
    }
    let failures = run.failures.borrow();
    let error = |caught: Caught| {
        let line = own_line(&caught.text, &file.job().shown).or(caught.line);
        let text = without_place(&caught.text, &file.job().shown);
        (TestStatus::Failed, Some(with_source(file, text, line)), line)
    };
    let Some(first) = failures.first() else {
        return match (run.skip.borrow().as_ref(), caught) {
            (Some((reason, raised)), caught) if caught.as_ref().is_none_or(|caught| caught.is(raised)) => {
                (TestStatus::Skipped, Some(reason.clone()), None)
            }
            (_, Some(caught)) => error(caught),
            (_, None) => (TestStatus::Passed, None, None),
        };
    };
    match caught {
        Some(caught) => match failures.iter().find(|failure| caught.is(&failure.raised)) {
            Some(failure) => {
                let message = with_source(file, failure.message.clone(), failure.line);
                (TestStatus::Failed, Some(message), failure.line)
            }
            None => error(caught),
        },
        None => {
            let message = with_source(file, first.message.clone(), first.line);
            let note = "\n  (the body caught this failure; it counts all the same)";
            (TestStatus::Failed, Some(message + note), first.line)
        }
    }
}

/// The line in an error's own `path:line: `, if the path is the test file's.
pub(super) fn own_line(text: &str, shown: &str) -> Option<u32> {
    text.strip_prefix(shown)?
        .strip_prefix(':')?
        .split_once(": ")?
        .0
        .parse()
        .ok()
}

/// The text without its own `path:line: `, if the path is the test file's; the result has the line by itself.
pub(super) fn without_place(text: &str, shown: &str) -> String {
    let place = own_line(text, shown).map(|line| format!("{shown}:{line}: "));
    place
        .and_then(|place| text.strip_prefix(&place))
        .unwrap_or(text)
        .to_owned()
}

/// The message with the test's own line of code under it.
pub(super) fn with_source(file: &File, message: String, line: Option<u32>) -> String {
    let code = line.and_then(|line| {
        Some((
            line,
            file.source().lines().nth(line.checked_sub(1)? as usize)?.trim(),
        ))
    });
    match code {
        Some((line, code)) if !code.is_empty() => {
            format!("{message}\n  {line} | {}", render::shorten(code, 160))
        }
        _ => message,
    }
}
