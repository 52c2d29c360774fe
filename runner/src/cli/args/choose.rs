//! Help group "Choose": which files, which tests.
//!
//! Input: the process's arguments. Output: [`ChooseArgs`], which every command that is about a project takes,
//! and [`SelectArgs`]. Not here: deciding whether a test is wanted; `session::select` does.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values::Seed;
use crate::config::KernelChoice;
use crate::session::select::{Expression, KeyValue, Partition};

/// Which files.
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// Test files, or folders to search for them; FILE::TEST and FILE:LINE are one test of a file
    #[arg(value_name = "PATHS", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// Which project, and what is in place of parts of its configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Project")]
pub struct ProjectArgs {
    /// The configuration [default: provium.toml here or in a parent folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The preset of the configuration that holds [default: that of PROVIUM_PRESET]
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// The kernel of a profile, in place of the configuration's
    #[arg(long, value_name = "PROFILE=FILE")]
    pub kernel: Vec<KernelChoice>,
    /// What `{tree}` stands for in all profiles, in place of their `tree`
    #[arg(long, value_name = "DIR", requires = "out", hide = true)]
    pub tree: Option<PathBuf>,
    /// Where `{out}` of all profiles is, each below its name
    #[arg(long, value_name = "DIR", requires = "tree", hide = true)]
    pub out: Option<PathBuf>,
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
    /// Run only tests that failed when they last ran
    #[arg(long)]
    pub rerun_failed: bool,
    /// Run only part I of N: hash:I/N (a test stays in its part as others come and go) or slice:I/N (even
    /// parts); I/N is hash:I/N
    #[arg(long, value_name = "[HOW:]I/N")]
    pub partition: Option<Partition>,
    /// Run only files that have changed, or use what has, since a file was written or since a revision of Git
    #[arg(long, value_name = "FILE|REV", value_hint = ValueHint::FilePath)]
    pub since: Option<String>,
}

/// In which order.
#[derive(Debug, Args)]
#[command(next_help_heading = "Choose")]
pub struct OrderArgs {
    /// Run tests that failed when they last ran before the others
    #[arg(long)]
    pub failed_first: bool,
    /// Run files, and the tests of each, in an order that depends on SEED [default seed: another each time]
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub shuffle: Option<Seed>,
}
