//! Help group "Choose": which files, which tests.
//!
//! Input: the process's arguments. Output: [`ChooseArgs`], which every command that is about a project takes,
//! and [`SelectArgs`]. Not here: deciding whether a test is wanted; `session::select` does.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::session::select::{Expression, KeyValue};

/// Which files.
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// Test files, or folders to search for them
    #[arg(value_name = "PATHS", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// The configuration [default: provium.toml here or in a parent folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Choose")]
    pub config: Option<PathBuf>,
}

/// Which tests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Choose")]
pub struct SelectArgs {
    /// Run only tests with this text in their name or their file's path
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Run only tests for which this holds, such as "net and not (slow or ipv6)"
    ///
    /// Words are looked for in the test's name and its file's path, in any case.
    #[arg(short = 'k', value_name = "EXPR", verbatim_doc_comment)]
    pub expression: Option<Expression>,
    /// Run only tests with this tag; given more than once, with one of them
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Leave out tests with this tag
    #[arg(long, value_name = "TAG")]
    pub no_tag: Vec<String>,
    /// Run only tests whose metadata has this value: one of them for each key
    #[arg(long, value_name = "KEY=VALUE")]
    pub tag_meta: Vec<KeyValue>,
    /// Leave out tests whose metadata has this value
    #[arg(long, value_name = "KEY=VALUE")]
    pub no_tag_meta: Vec<KeyValue>,
    /// Run tests that call themselves slow, too
    #[arg(long)]
    pub include_slow: bool,
}
