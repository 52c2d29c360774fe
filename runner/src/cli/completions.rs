//! `provium completions`, and what a shell asks this command for while somebody types.
//!
//! Input: the shell; a command line that is not whole yet. Output: a script on stdout; values that fit:
//! flags and what clap knows of them, names and tags of the project's tests. Those are what the files' texts
//! have written out: nothing runs. Not here: installing the script.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;

use clap::{Arg, Command, CommandFactory, Parser};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate, Shell};
use provium_base::exit;

use super::args::Cli;
use super::print::print;
use super::project::Project;
use crate::scan::{Written, scan};

/// By which variable a shell asks.
const ASKED: &str = "PROVIUM_COMPLETE";
/// Set by bash's script, in which a value is inserted as it is.
const IN_BASH: &str = "_CLAP_COMPLETE_COMP_TYPE";
/// Most files that are looked through while somebody waits.
const FILES: usize = 2000;

/// Prints the script by which the shell asks.
pub(super) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let completer = shells.completer(&name);
    let completer = completer.ok_or_else(|| anyhow::anyhow!("nothing is known of {name}"))?;
    let mut script = Vec::new();
    completer.write_registration(ASKED, "provium", "provium", "provium", &mut script)?;
    print(&String::from_utf8(script)?)?;
    Ok(exit::SUCCESS)
}

/// Answers a shell that asks; says whether one did.
pub(super) fn answer() -> bool {
    let here = env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(ASKED);
    let answered = asked.try_complete(env::args_os(), here.as_deref());
    answered.unwrap_or_else(|error| error.exit())
}

/// The command line with where values come from that clap does not know.
fn command() -> Command {
    let from = |values: fn(&OsStr) -> Vec<CompletionCandidate>| {
        move |arg: Arg| arg.add(ArgValueCompleter::new(values))
    };
    Cli::command()
        .mut_arg("filter", from(test_names))
        .mut_arg("expression", from(words))
        .mut_arg("tag", from(tags))
        .mut_arg("no_tag", from(tags))
}

/// Names of tests that begin so.
fn test_names(current: &OsStr) -> Vec<CompletionCandidate> {
    fitting("", &current.to_string_lossy(), |written| written.tests)
}

/// Tags of tests that begin so.
fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    fitting("", &current.to_string_lossy(), |written| written.tags)
}

/// Words of tests' names, in place of the last one of an expression.
fn words(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let begin = current.rfind([' ', '(']).map_or(0, |at| at + 1);
    let (before, word) = current.split_at(begin);
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    fitting(before, word, |written| {
        let words = written.tests.iter().flat_map(|name| name.split(|c| !is_word(c)));
        words
            .filter(|word| word.len() > 2)
            .map(str::to_lowercase)
            .collect()
    })
}

/// What of the project's tests begins with `begin`, behind what is there already.
fn fitting(before: &str, begin: &str, what: impl Fn(Written) -> Vec<String>) -> Vec<CompletionCandidate> {
    let Ok(cli) = Cli::try_parse_from(["provium"]) else {
        return Vec::new();
    };
    let project = Project::load(&cli.run.choose.project, &[]);
    let files = project.and_then(|project| project.files(&[]));
    let mut found = BTreeSet::new();
    for file in files.unwrap_or_default().iter().take(FILES) {
        let source = std::fs::read(&file.path).unwrap_or_default();
        found.extend(what(scan(&String::from_utf8_lossy(&source))));
    }
    let fitting = found
        .into_iter()
        .filter(|text| text.starts_with(begin) && !text.contains(char::is_control));
    let in_bash = env::var_os(IN_BASH).is_some();
    let candidates = fitting.map(|text| format!("{before}{text}"));
    candidates
        .map(|text| CompletionCandidate::new(if in_bash { quoted(&text) } else { text }))
        .collect()
}

/// The text as bash reads it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+=./:,@%".contains(c);
    let quoted = text
        .chars()
        .map(|c| if plain(c) { c.to_string() } else { format!("\\{c}") });
    quoted.collect()
}
