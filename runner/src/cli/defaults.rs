//! Flags whose values `provium.toml` gives, where the command line gives none.
//!
//! Input: the configuration's flags, the command line. Output: the arguments of both. Not here: reading the
//! file; and what any flag means: clap judges a value, wherever it comes from.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, Parser, ValueHint};

use super::args::{Cli, RunArgs, helpful};
use crate::config::{Config, ConfigError, FlagDefault, FlagValue};

/// Flags that cannot stand in the file: they say which file that is, are about one run, or have a key of
/// their own there.
const NOT: [&str; 7] = [
    "config",
    "kernel",
    "known-failures",
    "matrix",
    "preset",
    "since",
    "watch",
];

/// The keys of `[provium]` that are flags.
pub(super) fn keys() -> Vec<String> {
    let command = Cli::command();
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let names = flags
        .filter_map(|arg| arg.get_long())
        .filter(|name| !NOT.contains(name));
    let mut keys: Vec<_> = names.map(|name| name.replace('-', "_")).collect();
    keys.sort();
    keys
}

/// The arguments of this process with the configuration's where they say nothing.
pub(super) fn apply(config: &Config, args: RunArgs) -> anyhow::Result<RunArgs> {
    if config.flags.is_empty() {
        return Ok(args);
    }
    let written: Vec<OsString> = std::env::args_os().collect();
    let merged = merged(config, &written)?;
    let cli = Cli::try_parse_from(merged)
        .map_err(|error| anyhow::anyhow!("{}: {}", config.shown, reason(error)))?;
    Ok(cli.run)
}

/// The command line with the flags of the configuration before it.
fn merged(config: &Config, written: &[OsString]) -> Result<Vec<OsString>, ConfigError> {
    let command = Cli::command();
    let given = command.clone().try_get_matches_from(written).unwrap_or_default();
    let mut merged: Vec<OsString> = written.iter().take(1).cloned().collect();
    for default in &config.flags {
        let name = default.key.replace('_', "-");
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(&name)) else {
            continue;
        };
        let words = words(config, default, arg, &name)?;
        if !is_decided(&command, arg, &given) {
            merged.extend(words.into_iter().map(OsString::from));
        }
    }
    merged.extend(written.iter().skip(1).cloned());
    Ok(merged)
}

/// Whether the command line has the flag, or one that excludes it.
fn is_decided(command: &Command, arg: &Arg, given: &ArgMatches) -> bool {
    let is_given = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let against = |other: &&Arg| {
        let conflicts = command.get_arg_conflicts_with(other);
        conflicts.iter().any(|one| one.get_id() == arg.get_id())
    };
    let excluded = command.get_arg_conflicts_with(arg).into_iter().any(is_given);
    is_given(arg) || excluded || command.get_arguments().filter(against).any(is_given)
}

/// The flag as it would be written on the command line.
fn words(config: &Config, default: &FlagDefault, arg: &Arg, name: &str) -> Result<Vec<String>, ConfigError> {
    let mistake = |what: String| {
        let message = format!("`{}` in {}: {what}", default.key, default.section);
        ConfigError::at(&config.shown, Some(default.line), message)
    };
    let takes_value = arg.get_action().takes_values();
    let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
    let words = match &default.value {
        FlagValue::Switch(true) if !takes_value || optional => vec![format!("--{name}")],
        FlagValue::Switch(false) if !takes_value || optional => vec![],
        FlagValue::Switch(_) => return Err(mistake(format!("--{name} takes a value, not true or false"))),
        _ if !takes_value => return Err(mistake(format!("--{name} is on or off: true or false"))),
        FlagValue::Text(text) => vec![format!("--{name}={}", placed(config, arg, text))],
        FlagValue::List(texts) => {
            let texts = texts
                .iter()
                .map(|text| format!("--{name}={}", placed(config, arg, text)));
            texts.collect()
        }
    };
    let alone = [&["provium".to_owned()], words.as_slice()].concat();
    match Cli::try_parse_from(alone) {
        Ok(_) => Ok(words),
        Err(error) => Err(mistake(reason(error))),
    }
}

/// A value; a path starts at the file's folder.
fn placed(config: &Config, arg: &Arg, text: &str) -> String {
    let is_path = matches!(
        arg.get_value_hint(),
        ValueHint::FilePath | ValueHint::DirPath | ValueHint::AnyPath
    );
    match is_path && text != "-" {
        true => config.project.join(text).to_string_lossy().into_owned(),
        false => text.to_owned(),
    }
}

/// The first line of a usage error.
fn reason(error: clap::Error) -> String {
    let text = helpful(error).to_string();
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}
