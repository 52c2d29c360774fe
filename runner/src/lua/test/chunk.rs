//! A file's own code, before its tests.
//!
//! Input: a file and its Lua state. Output: what the code returned, or a [`ChunkFailure`] with its place and
//! log. Not here: tests; `runner` has those.

use std::rc::Rc;

use mlua::{Lua, Value};
use provium_base::cancel::CancelReason;
use provium_base::failure::Failure;
use provium_base::trace;

use super::caught::{Caught, protect, protect_values};
use super::file::File;
use super::kept;
use super::splats::{log_of, say_in, say_in_text};
use super::verdict::{failure, raised};
use crate::lua::state::splats::Told;

/// Lines of each console that the error of a fixture's source ends with.
const CONSOLE_LINES: usize = 12;

/// Runs a fixture's source; returns what it returned, or why it failed, with the line of the source.
pub(crate) fn run_source(lua: &Lua, file: &Rc<File>) -> Result<Value, String> {
    let chunk = file.source().function(lua, file.chunk_name())?;
    file.begin_own_code();
    let result = protect_values(lua, &chunk, ());
    let told = file.end_own_code();
    match result {
        Ok(mut values) if !file.has_ending() && told.failing.is_empty() => {
            Ok(values.pop_front().unwrap_or(Value::Nil))
        }
        caught => {
            let failure = chunk_failure(file, caught.err(), &told).to_string();
            // All that is left of a fixture's failure is its text.
            Err([vec![failure], log_of(&told.failing)].concat().join("\n"))
        }
    }
}

/// Runs the file's own code.
pub(super) fn run_chunk(lua: &Lua, file: &Rc<File>) -> Result<(), ChunkFailure> {
    let chunk = file.source().function(lua, file.chunk_name());
    let chunk = chunk.map_err(|error| ChunkFailure {
        failure: Box::new(raised(file, &Caught::without_place(error.clone()))),
        error,
        log: Vec::new(),
    })?;
    file.begin_own_code();
    let caught = protect(lua, &chunk, ());
    let told = file.end_own_code();
    match (file.has_ending(), &caught) {
        (false, None) if told.failing.is_empty() => Ok(()),
        _ => Err(chunk_failure(file, caught, &told)),
    }
}

/// Failure of a file's own code.
pub(super) struct ChunkFailure {
    /// The error with its place.
    pub(super) error: String,
    /// All that is known of it.
    pub(super) failure: Box<Failure>,
    /// Lines that the code printed.
    pub(super) log: Vec<String>,
}

impl ChunkFailure {
    /// The error, then what the code printed.
    pub(super) fn without_consoles(&self) -> String {
        let mut text = self.error.clone();
        self.log
            .iter()
            .for_each(|line| text.push_str(&format!("\n{line}")));
        text
    }
}

impl std::fmt::Display for ChunkFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.without_consoles())?;
        if self.error.contains("\nlast console lines:\n") {
            return Ok(());
        }
        self.failure.consoles.iter().try_for_each(|console| {
            let lines: Vec<&str> = trace::readable(console.text.trim_end()).collect();
            let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
            write!(
                f,
                "\nlast console lines of VM `{}`:\n{}",
                console.vm,
                last.join("\n")
            )
        })
    }
}

fn chunk_failure(file: &File, caught: Option<Caught>, told: &Told) -> ChunkFailure {
    let at_limit = file
        .job()
        .cancel
        .is_cancelled()
        .is_some_and(CancelReason::is_limit);
    let (mut error, mut failure) = match (file.take_ending(), caught) {
        (Some(ending), _) => {
            let place = ending
                .line
                .map(|line| format!("{}:{line}: ", file.job().shown))
                .unwrap_or_default();
            (
                format!("{place}{}", ending.message),
                failure(file, ending.message, ending.line, None),
            )
        }
        (None, Some(caught)) => {
            let failure = raised(file, &caught);
            (caught.text, failure)
        }
        (None, None) => (String::new(), Failure::default()),
    };
    if at_limit {
        let said = failure.message.len();
        file.evidence.add_places(&mut failure, &file.scopes);
        error += &failure.message[said..];
    }
    let error = say_in_text(error, told);
    say_in(&mut failure, told);
    file.evidence.add_to(&mut failure, &file.scopes, "");
    let mut log = file.printed.take();
    log.extend(log_of(&told.warned));
    kept::keep(file, "", None, &mut log, &mut failure);
    ChunkFailure {
        error,
        failure: Box::new(failure),
        log,
    }
}
