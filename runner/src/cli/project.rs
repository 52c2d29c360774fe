//! The project that a command is about: configuration, test files, profiles' builds.
//!
//! Input: paths and `--config`, as every command takes them. Output: a [`Project`]. Not here: reading the
//! configuration (`config`), searching for files (`discover`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::CommandFactory;
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::Sink;
use provium_base::nearest::nearest;

use super::args::{Cli, ProjectArgs};
use super::defaults;
use crate::config::{Config, ConfigError, Environment, KernelChoice, Overrides, PresetChoice, Sources};
use crate::discover::{self, DiscoverError, TestFile};
use crate::session::build::{self, BuildError, BuildLog};

/// The configuration and where the command was called.
#[derive(Clone)]
pub(super) struct Project {
    pub(super) cwd: PathBuf,
    pub(super) config: Arc<Config>,
}

impl Project {
    pub(super) fn load(args: &ProjectArgs, paths: &[PathBuf]) -> anyhow::Result<Project> {
        let cwd = std::env::current_dir()
            .map_err(|error| anyhow::anyhow!("the current folder cannot be used: {error}"))?;
        let config = configuration(
            args.config.as_deref(),
            &cwd,
            paths,
            preset(args),
            args.kernel.clone(),
            sources(args),
        );
        let config = config.map_err(|error: ConfigError| anyhow::anyhow!(error))?;
        tracing::debug!(file = ?config.file, profiles = config.profiles.len(), "configuration");
        Ok(Project {
            cwd,
            config: Arc::new(config),
        })
    }

    /// The test files that the paths, or else the roots, hold.
    pub(super) fn files(&self, paths: &[PathBuf]) -> anyhow::Result<Vec<TestFile>> {
        let paths = if paths.is_empty() {
            self.config.check_roots()?;
            &self.config.roots
        } else {
            paths
        };
        discover::discover(paths, &self.cwd).map_err(|error| match error {
            // `provium doctr` is no path but a mistyped command.
            DiscoverError::Missing(word) if is_a_word(&word) => match nearest_command(&word) {
                Some(command) => anyhow::anyhow!(
                    "`{word}` is neither a command nor a path; did you mean `provium {command}`?"
                ),
                None => anyhow::anyhow!(
                    "`{word}` is neither a command nor a path; `provium --help` lists the commands"
                ),
            },
            other => anyhow::anyhow!(other),
        })
    }

    /// Runs profiles' builds; says whether they were done, and not interrupted.
    pub(super) fn build_profiles(
        &self,
        verbose: bool,
        cancel: &Arc<Cancel>,
        sink: &dyn Sink,
    ) -> anyhow::Result<bool> {
        let log = match verbose {
            true => BuildLog::Shown,
            false => BuildLog::Kept,
        };
        match build::build_profiles(&self.config, log, cancel, sink) {
            Err(BuildError::Cancelled(_, CancelReason::Interrupted)) => Ok(false),
            built => Ok(built.map(|()| true)?),
        }
    }
}

/// The configuration, whose `[provium]` may have the command's flags.
pub(super) fn configuration(
    file: Option<&Path>,
    cwd: &Path,
    paths: &[PathBuf],
    preset: Option<PresetChoice>,
    kernels: Vec<KernelChoice>,
    sources: Option<Sources>,
) -> Result<Config, ConfigError> {
    let overrides = Overrides {
        preset,
        kernels,
        sources,
        flags: defaults::keys(),
    };
    Config::load_with(file, cwd, paths, &Environment::of_process(), &overrides)
}

/// The folders of builds that the command line names.
fn sources(args: &ProjectArgs) -> Option<Sources> {
    Some(Sources {
        tree: args.tree.clone()?,
        out: args.out.clone()?,
    })
}

/// The preset that the command line or else the environment names.
fn preset(args: &ProjectArgs) -> Option<PresetChoice> {
    let given = args.preset.clone().map(|name| ("--preset", name));
    let variable = || {
        let name = std::env::var("PROVIUM_PRESET")
            .ok()
            .filter(|name| !name.is_empty())?;
        Some(("PROVIUM_PRESET", name))
    };
    let (from, name) = given.or_else(variable)?;
    Some(PresetChoice { name, from })
}

/// Whether this could be the name of a command.
fn is_a_word(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn nearest_command(word: &str) -> Option<String> {
    let cli = Cli::command();
    let names = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name);
    nearest(word, names).map(str::to_owned)
}
