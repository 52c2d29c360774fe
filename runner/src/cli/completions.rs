//! `provium completions`: a shell's completion script.
//!
//! Input: the shell. Output: the script on stdout. Not here: installing it.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use provium_base::exit;

use super::args::Cli;

pub(super) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "provium", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(exit::SUCCESS)
}
