//! A file's own code, before its tests.
//!
//! Input: a file and its Lua state. Output: what the code returned, or a [`ChunkFailure`] with its place and
//! log. Not here: tests; `runner` has those.

use std::rc::Rc;

use mlua::{Function, Lua, Value};

use super::caught::{Caught, protect, protect_values};
use super::file::File;

/// Runs a fixture's source; returns what it returned, or why it failed, with the line of the source.
pub(crate) fn run_source(lua: &Lua, file: &Rc<File>) -> Result<Value, String> {
    let chunk = load(lua, file)?;
    match protect_values(lua, &chunk, ()) {
        Ok(mut values) if !file.has_ending() => Ok(values.pop_front().unwrap_or(Value::Nil)),
        caught => Err(chunk_failure(file, caught.err()).to_string()),
    }
}

fn load(lua: &Lua, file: &Rc<File>) -> Result<Function, String> {
    let chunk = lua
        .load(file.source())
        .set_name(file.chunk_name())
        .into_function();
    chunk.map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        error => error.to_string(),
    })
}

/// Runs the file's own code.
pub(super) fn run_chunk(lua: &Lua, file: &Rc<File>) -> Result<(), ChunkFailure> {
    let chunk = load(lua, file).map_err(|error| ChunkFailure {
        error,
        line: None,
        log: Vec::new(),
    })?;
    let caught = protect(lua, &chunk, ());
    match (file.has_ending(), &caught) {
        (false, None) => Ok(()),
        _ => Err(chunk_failure(file, caught)),
    }
}

/// Failure of a file's own code.
pub(super) struct ChunkFailure {
    /// The error with its place.
    pub(super) error: String,
    /// Line of the test file, where the error has none of its own.
    pub(super) line: Option<u32>,
    /// Lines that the code printed, and the ends of its VMs' consoles.
    pub(super) log: Vec<String>,
}

impl std::fmt::Display for ChunkFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)?;
        self.log.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

fn chunk_failure(file: &File, caught: Option<Caught>) -> ChunkFailure {
    let (error, line) = match (file.take_ending(), caught) {
        (Some(ending), _) => {
            let place = ending
                .line
                .map(|line| format!("{}:{line}: ", file.job().shown))
                .unwrap_or_default();
            (format!("{place}{}", ending.message), ending.line)
        }
        (None, Some(caught)) => (caught.text, caught.line),
        (None, None) => (String::new(), None),
    };
    let mut log = file.printed.take();
    log.extend(consoles(file));
    ChunkFailure { error, line, log }
}

/// The last lines of each running VM's console.
pub(super) fn consoles(file: &File) -> Vec<String> {
    let tails = file.scopes.console_tails().into_iter();
    tails
        .map(|(name, tail)| format!("console of VM `{name}`:\n{}", tail.trim_end()))
        .collect()
}
