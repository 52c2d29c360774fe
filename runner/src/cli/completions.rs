//! `provium completions`: a shell's completion script.
//!
//! Input: the shell. Output: the script on stdout. Not here: installing it.

use clap::CommandFactory;
use clap_complete::Shell;
use provium_base::exit;

use super::args::Cli;
use super::print::print;

pub(super) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "provium", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(exit::SUCCESS)
}
