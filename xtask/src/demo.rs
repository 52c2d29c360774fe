//! `cargo xtask demo`: from a fresh Debian machine with Rust to tests that passed in a guest.
//!
//! Input: the machine. Output: packages, guest kernel and `provium` where they were missing, and the results
//! of `examples/hello/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{run, shown};
use crate::phases::Phases;
use crate::{guest, packages, workspace};

/// Runs the demonstration; each phase needs the one before.
///
/// # Errors
/// When a phase failed; its own error has been printed.
pub(crate) fn demo() -> Result<()> {
    let mut phases = Phases::new();
    let done = phases.run("packages", packages::ensure).is_some()
        && phases
            .run("guest kernel and initrd", || {
                guest::build(&[], guest::Extent::Guests)
            })
            .is_some()
        && phases.run("build provium", build_provium).is_some_and(|provium| {
            phases
                .run("run examples/hello", || show_hello(&provium))
                .is_some()
        });
    phases.print();
    if !done {
        bail!("the demo did not get to its end");
    }
    Ok(())
}

/// Builds the command and returns its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build_provium() -> Result<PathBuf> {
    // The development profile is optimized where it matters (see Cargo.toml) and builds sooner.
    run(workspace::cargo().args(["build", "--package", "provium"]))?;
    Ok(workspace::build_folder()?.join("debug/provium"))
}

/// Runs the example on this terminal, so that its live view shows.
fn show_hello(provium: &Path) -> Result<()> {
    let mut command = Command::new(provium);
    command.current_dir(workspace::root()).arg("examples/hello");
    let status = command
        .status()
        .with_context(|| format!("start {}", shown(&command)))?;
    if !status.success() {
        bail!("provium ended with {status}");
    }
    Ok(())
}
