//! The command line as it is written.
//!
//! Input: the process's arguments. Output: [`Cli`], checked only for form; all that clap knows is here. Not
//! here: defaults that depend on the machine, the terminal or the configuration; `settings` decides those.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use provium_base::units;

use crate::doctor::Accel;
use crate::session::select::{Expression, KeyValue};

/// Tests software that needs a real kernel: Lua tests that boot microVMs.
///
/// Runs every *.test.lua below PATHS: by default below the roots of provium.toml, or else below the current
/// folder.
#[derive(Debug, Parser)]
#[command(
    name = "provium",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Commands"
)]
#[command(
    after_help = "Exit codes: 0 all passed or skipped, 1 a test failed or timed out, 2 the run could not be \
                        carried out, 130 interrupted."
)]
pub struct Cli {
    /// Something other than running tests.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Running tests.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the test files that would run
    List(ListArgs),
    /// Look after the cache of fixtures
    Fixture(FixtureArgs),
    /// Say what this host can do: KVM, the emulated host, cores, memory
    Doctor(DoctorArgs),
    /// Run a command on an emulated host, which has a sound KVM
    Host(HostArgs),
    /// The first process of an emulated host
    #[command(hide = true)]
    EmulatedHostInit(InitArgs),
    /// Teach an editor with LuaLS the API: writes stubs and a .luarc.json
    LspSetup(LspSetupArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What `provium` itself takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which files.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Run only tests with this text in their name or their file's path
    #[arg(long, value_name = "TEXT", help_heading = "Choose")]
    pub filter: Option<String>,
    /// Run only tests for which this holds, such as "net and not (slow or ipv6)"
    ///
    /// Words are looked for in the test's name and its file's path, in any case.
    #[arg(
        short = 'k',
        value_name = "EXPR",
        help_heading = "Choose",
        verbatim_doc_comment
    )]
    pub expression: Option<Expression>,
    /// Run only tests with this tag; given more than once, with one of them
    #[arg(long, value_name = "TAG", help_heading = "Choose")]
    pub tag: Vec<String>,
    /// Leave out tests with this tag
    #[arg(long, value_name = "TAG", help_heading = "Choose")]
    pub no_tag: Vec<String>,
    /// Run only tests whose metadata has this value: one of them for each key
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Choose")]
    pub tag_meta: Vec<KeyValue>,
    /// Leave out tests whose metadata has this value
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Choose")]
    pub no_tag_meta: Vec<KeyValue>,
    /// Run tests that call themselves slow, too
    #[arg(long, help_heading = "Choose")]
    pub include_slow: bool,

    /// Files to run at a time [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = at_least_one, help_heading = "Run")]
    pub jobs: Option<usize>,
    /// Memory that claims of test files share, such as 8G [default: 80 % of this host's]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, help_heading = "Run")]
    pub mem: Option<u64>,
    /// Processors that claims of test files share [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536), help_heading = "Run")]
    pub cpus: Option<u32>,
    /// Virtual processors to give to claims for each of those, from 0.5 to 8
    #[arg(long, value_name = "F", default_value = "2", value_parser = overcommit, help_heading = "Run")]
    pub cpu_overcommit: f64,
    /// Time limit of a file, such as 90s or 5m; 0 for none
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = units::parse_duration,
          help_heading = "Run")]
    pub timeout: Duration,
    /// Machines kept ready for the next fixture; 0 to make each when it is needed
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Run")]
    pub ready: usize,
    /// Let files pass that have no test
    #[arg(long, help_heading = "Run")]
    pub allow_empty: bool,
    /// A list of tests that are expected to fail: path::test a line, two blanks, a reason
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Run")]
    pub known_failures: Option<PathBuf>,
    /// End the run at the first failed test
    #[arg(long, help_heading = "Run")]
    pub fail_fast: bool,
    /// Where guests run
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "Run")]
    pub accel: Accel,
    /// Where all that is left of failed tests is kept; emptied by the next run [default: target/provium where
    /// there is a target of Cargo's, else .provium/last, beside provium.toml]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Show")]
    pub artifacts: Option<PathBuf>,
    /// Keep the results of an interrupted run here
    #[arg(long, value_name = "FILE", hide = true)]
    pub journal: Option<PathBuf>,

    /// Show every test with its duration and log
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Show")]
    pub verbose: bool,
    /// Show only failures and the last line
    #[arg(short, long, help_heading = "Show")]
    pub quiet: bool,
    /// Print one JSON object per file
    #[arg(long, help_heading = "Show")]
    pub json: bool,
    /// Colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Show")]
    pub color: ColorChoice,
    /// What is running: a live view (bar), lines (plain) or nothing; auto means bar on a terminal
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "Show")]
    pub progress: ProgressChoice,
}

/// What `provium list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which files.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// List the fixtures instead: their names and their sources, those below PATHS
    #[arg(long)]
    pub fixtures: bool,
}

/// What `provium lsp-setup` takes.
#[derive(Debug, Args)]
pub struct LspSetupArgs {
    /// Folder to write to, the one that is opened in the editor [default: that of provium.toml]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Replace files that are there and different
    #[arg(long)]
    pub force: bool,
}

/// What `provium fixture` takes.
#[derive(Debug, Args)]
pub struct FixtureArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FixtureCommand,
}

/// What to do with fixtures.
#[derive(Debug, Subcommand)]
pub enum FixtureCommand {
    /// List the fixtures: cached, stale or not built, with their sizes
    List {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Build the fixtures that are not cached
    Build(BuildArgs),
    /// Build fixtures anew, and at their next use those that start from them
    Rebuild(BuildArgs),
    /// Remove fixtures from the cache: one, those of a folder, or all it holds
    Clean(Which),
    /// List the fixtures that will be built at their next use, and why
    Stale(Which),
    /// Say what changed since a fixture was built
    Why(Which),
}

/// Which fixtures.
#[derive(Debug, Args)]
pub struct Which {
    /// A fixture's name or source, or a folder with fixtures [default: all]
    #[arg(value_name = "PATH|NAME", value_hint = ValueHint::AnyPath)]
    pub target: Option<String>,
    /// The configuration [default: provium.toml here or in a parent folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where guests run
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub accel: Accel,
    /// What the emulated host gives to every command; there is nothing to keep in it
    #[arg(long, value_name = "FILE", hide = true)]
    pub journal: Option<PathBuf>,
}

/// What building takes.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Show the output of profiles' `build` commands
    #[arg(short, long)]
    pub verbose: bool,
}

/// Says what this host can do: KVM, and if that is not sound why not, the emulated host, cores, memory.
///
/// Exit code 0 when tests can run here in some way, 2 otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs a command on an emulated host that has a sound KVM.
///
/// The command sees this machine's files at their places and runs as the same user, in the same folder, with
/// the same environment. What it writes is lost, but for the folders given by --rw. When the emulated host
/// freezes, the command is started again from its beginning; PROVIUM_HOST_ATTEMPT tells it which start this
/// is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HostArgs {
    /// A folder that the command may write; can be given several times
    #[arg(long = "rw", value_name = "DIR")]
    pub writable: Vec<PathBuf>,
    /// Memory of the emulated host in MiB [default: 6144, or 60 % of what is available]
    #[arg(long, value_name = "MIB")]
    pub mem: Option<u64>,
    /// Its CPUs; with more than one, QEMU 7.2 freezes now and then
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub cpus: u8,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
}

/// The first process of an emulated host; of no use elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InitArgs {}

impl ValueEnum for Accel {
    fn value_variants<'a>() -> &'a [Accel] {
        &[Accel::Auto, Accel::Kvm, Accel::Tcg]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Accel::Auto => PossibleValue::new("auto").help("KVM where it is sound, else the emulated host"),
            Accel::Kvm => PossibleValue::new("kvm").help("KVM of this host, or not at all"),
            Accel::Tcg => PossibleValue::new("tcg").help("The emulated host, even where KVM is sound"),
        })
    }
}

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

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show what is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A live view on a terminal, nothing elsewhere.
    Auto,
    /// A live view.
    Bar,
    /// Lines.
    Plain,
    /// Nothing.
    None,
}

/// A usage error without the advice to write a flag that is not there behind `--`, as if it were a path.
pub(super) fn helpful(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    error
}

fn overcommit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.5..=8.0).contains(&factor) => Ok(factor),
        Ok(_) => Err("must be from 0.5 to 8".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_host_commands_own_flags_are_its_own() {
        let parsed = |args: &[&str]| Cli::try_parse_from([&["provium", "host"], args].concat());
        let of = |args: &[&str]| match parsed(args).expect("parses").command {
            Some(Command::Host(host)) => host,
            other => panic!("{other:?}"),
        };
        let host = of(&["--rw", "/a", "--rw=/b", "--mem", "2048", "ls", "--rw", "/c", "-l"]);
        assert_eq!(host.writable, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(host.mem, Some(2048));
        assert_eq!(host.command, ["ls", "--rw", "/c", "-l"]);
        assert_eq!(of(&["--", "--odd", "x"]).command, ["--odd", "x"]);
        for wrong in [&[][..], &["--cpus", "0", "ls"], &["--mem", "x", "ls"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_word_is_a_command_and_a_path_is_a_path() {
        let paths = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["provium"], args].concat()).expect("parses");
            (cli.command.is_some(), cli.run.choose.paths)
        };
        assert_eq!(paths(&["list"]), (true, vec![]));
        assert_eq!(paths(&["./list"]), (false, vec!["./list".into()]));
        assert_eq!(paths(&["a", "list"]), (false, vec!["a".into(), "list".into()]));
        assert_eq!(paths(&["-v", "--", "list"]), (false, vec!["list".into()]));
        assert_eq!(paths(&[]), (false, vec![]));
    }

    #[test]
    fn bad_values_are_quoted_with_what_is_wrong() {
        let message = |args: &[&str]| {
            let error = Cli::try_parse_from([&["provium"], args].concat()).expect_err("does not parse");
            let error = helpful(error);
            (error.exit_code(), error.to_string())
        };
        for flag in ["--retries", "--jason", "-z"] {
            let (_, text) = message(&[flag, "3"]);
            assert!(
                text.contains(&format!("unexpected argument '{flag}' found")),
                "{text}"
            );
            assert!(!text.contains("as a value"), "{text}");
        }
        let cases: &[(&[&str], &str)] = &[
            (
                &["-j", "0"],
                "invalid value '0' for '--jobs <N>': must be at least 1",
            ),
            (
                &["-j", "two"],
                "invalid value 'two' for '--jobs <N>': not a whole number",
            ),
            (&["--timeout", "-1s"], "unexpected argument '-1' found"),
            (&["--timeout=-1s"], "`-1s` is not a duration"),
            (&["--timeout", "nan"], "`nan` is not a duration"),
            (
                &["-k", "a and"],
                "at column 6: expected a word, `not` or `(`, found the end",
            ),
            (&["-v", "-q"], "cannot be used with"),
            (&["--cpu-overcommit", "9"], "must be from 0.5 to 8"),
            (&["--cpu-overcommit", "nan"], "must be from 0.5 to 8"),
            (&["--mem", "much"], "`much` is not a size"),
            (&["--jason"], "a similar argument exists: '--json'"),
            (
                &["--color", "sometimes"],
                "[possible values: auto, always, never]",
            ),
        ];
        for (args, expected) in cases {
            let (code, text) = message(args);
            assert!(code == 2 && text.contains(expected), "{args:?}: {code} {text}");
        }
    }
}
