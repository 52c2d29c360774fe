//! What a test came to, and the message that says so.
//!
//! Input: a run, the error that left its body, and why it was ended from outside. Output: a status, a message
//! with the test's own line of code, that line. Not here: running anything.

use std::path::Path;

use provium_base::failure::{Failure, SourcePlace};
use provium_base::outcome::TestStatus;
use provium_base::subtest::{Subtest, failure_message};

use super::caught::Caught;
use super::file::File;
use super::run::{self, Stage, TestRun};
use crate::lua::api::location::Place;
use crate::lua::api::render;
use crate::lua::api::script::Ending;

/// What a test came to.
pub(super) enum Verdict {
    /// It passed.
    Passed,
    /// It was skipped, for this reason.
    Skipped(String),
    /// It failed, of which nothing is known yet but the message and the places.
    Failed(Box<Failure>),
}

impl Verdict {
    /// The status, the message as results have it, the line of the test file, and the failure.
    pub(super) fn parts(self) -> (TestStatus, Option<String>, Option<u32>, Option<Box<Failure>>) {
        match self {
            Verdict::Passed => (TestStatus::Passed, None, None, None),
            Verdict::Skipped(reason) => (TestStatus::Skipped, Some(reason), None, None),
            Verdict::Failed(failure) => (
                TestStatus::Failed,
                Some(with_source(&failure)),
                failure.place.as_ref().map(|place| place.line),
                Some(failure),
            ),
        }
    }
}

/// What the run came to.
pub(super) fn verdict(file: &File, run: &TestRun, caught: Option<Caught>, ending: Option<Ending>) -> Verdict {
    let skip = run.skip.borrow().clone();
    let verdict = came_to(file, &run.failures.borrow(), skip, caught, ending);
    let mut verdict = run.parts.with(|parts| with_parts(file, verdict, parts));
    if let Verdict::Failed(failure) = &mut verdict
        && run.stage.get() == Stage::Before
        && !file.before_each.borrow().is_empty()
    {
        let note = "\n  (in a function of provium.before_each; the test's body did not run)";
        failure.message.push_str(note);
    }
    verdict
}

/// The verdict with what the parts of the test came to.
fn with_parts(file: &File, verdict: Verdict, parts: &[Subtest]) -> Verdict {
    let Some(message) = failure_message(parts) else {
        return verdict;
    };
    match verdict {
        Verdict::Failed(mut failure) => {
            failure.message.push_str(&format!("\n  (and {message})"));
            Verdict::Failed(failure)
        }
        Verdict::Passed | Verdict::Skipped(_) => {
            let failed = parts.iter().find(|part| part.status.counts_against_the_run());
            let line = failed.and_then(|part| part.line);
            Verdict::Failed(Box::new(failure(file, message, line, None)))
        }
    }
}

/// What code came to that failed in this way, asked for this skip with that error, and ended so.
pub(super) fn came_to(
    file: &File,
    failures: &[run::Failure],
    skip: Option<(String, String)>,
    caught: Option<Caught>,
    ending: Option<Ending>,
) -> Verdict {
    let failed = |message, line, helper: Option<&Place>| {
        Verdict::Failed(Box::new(failure(file, message, line, helper)))
    };
    if let Some(ending) = ending {
        // Where the error came from that the ending raised, unless the body went on behind it.
        let helper = caught.filter(|caught| caught.line == ending.line);
        let helper = helper.and_then(|caught| caught.helper);
        return failed(ending.message, ending.line, helper.as_ref());
    }
    let Some(first) = failures.first() else {
        return match (skip, caught) {
            (Some((reason, raised)), caught) if caught.as_ref().is_none_or(|caught| caught.is(&raised)) => {
                Verdict::Skipped(reason)
            }
            (_, Some(caught)) => Verdict::Failed(Box::new(raised(file, &caught))),
            (_, None) => Verdict::Passed,
        };
    };
    match caught {
        Some(caught) => match failures.iter().find(|failure| caught.is(&failure.raised)) {
            Some(known) => failed(known.message.clone(), known.line, known.helper.as_ref()),
            None => Verdict::Failed(Box::new(raised(file, &caught))),
        },
        None => {
            let note = "\n  (the body caught this failure; it counts all the same)";
            failed(
                format!("{}{note}", first.message),
                first.line,
                first.helper.as_ref(),
            )
        }
    }
}

/// The failure that an error of Lua's stands for.
pub(super) fn raised(file: &File, caught: &Caught) -> Failure {
    let shown = &file.job().shown;
    let line = own_line(&caught.text, shown).or(caught.line);
    let text = without_place(&caught.text, shown);
    let helper = caught.helper.as_ref();
    let text = helper.map_or(text.as_str(), |helper| without_helper(&text, helper));
    let named = named_place(file, text);
    failure(file, text.to_owned(), line, helper.or(named.as_ref()))
}

/// A failure at a line of the file, and at a place in a helper if it was one that failed.
pub(super) fn failure(file: &File, message: String, line: Option<u32>, helper: Option<&Place>) -> Failure {
    Failure {
        message,
        place: line.map(|line| SourcePlace::new(&file.job().shown, line, &file.source().text())),
        helper: helper.map(|helper| {
            let source = helper_source(&file.project().join(&helper.path));
            SourcePlace::new(&helper.path, helper.line, &source)
        }),
        ..Failure::default()
    }
}

/// The place in another Lua file that the first line of a message names, as an error of a fixture's source
/// does.
fn named_place(file: &File, message: &str) -> Option<Place> {
    let words = message.lines().next()?.split(' ');
    words
        .filter_map(|word| {
            let (path, line) = word.strip_suffix(':')?.rsplit_once(':')?;
            let is_other = path.ends_with(".lua") && path != file.job().shown;
            let (path, line) = (path.to_owned(), line.parse().ok().filter(|_| is_other)?);
            Some(Place { path, line })
        })
        .find(|place| file.project().join(&place.path).is_file())
}

/// The source of a helper as it is now; empty if it cannot be read, or is far too long for one.
fn helper_source(path: &Path) -> String {
    const MOST: u64 = 4 << 20;
    let is_source = path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() <= MOST);
    let bytes = is_source.then(|| std::fs::read(path).ok()).flatten();
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
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

/// The text without the helper's `path:line: ` that Lua's own `error` has put before it, where a long path is
/// cut at its beginning.
fn without_helper<'a>(text: &'a str, helper: &Place) -> &'a str {
    let place = format!(":{}: ", helper.line);
    match text.split_once(&place) {
        Some((path, rest)) if path.trim_start_matches("...").ends_with(file_name(&helper.path)) => rest,
        _ => text,
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The message with the line of code of each place under it.
pub(super) fn with_source(failure: &Failure) -> String {
    let mut message = failure.message.clone();
    let places = failure.place.iter().map(|place| (place, String::new()));
    let helper = failure
        .helper
        .iter()
        .map(|place| (place, format!("{}:", place.path)));
    for (place, path) in places.chain(helper) {
        let code = place.excerpt.iter().find(|code| code.line == place.line);
        if let Some(code) = code.map(|code| code.text.trim()).filter(|code| !code.is_empty()) {
            message.push_str(&format!(
                "\n  {path}{} | {}",
                place.line,
                render::shorten(code, 160)
            ));
        }
    }
    message
}
