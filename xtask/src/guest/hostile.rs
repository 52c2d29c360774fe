//! The guest whose agent lies: `tests/hostile-agent`, alone in an archive.
//!
//! Input: its sources. Output: an archive with nothing but `/init`. It is built as the agent is, static and
//! with a target folder of its own (`runner/guest/build.rs` says why), so that this project's own build is
//! not thrown away by its flags.

use std::process::Command;

use anyhow::{Context, Result};
use provium_debian::archive::Archive;

use crate::{command, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The archive.
///
/// # Errors
/// When the program does not build.
pub(crate) fn archive() -> Result<Vec<u8>> {
    let folder = workspace::root().join("target/hostile-agent");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "provium-hostile-agent",
        ])
        .args(["--profile", "agent", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .current_dir(workspace::root())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    command::run(&mut cargo)?;
    let program = folder.join(TARGET).join("agent/provium-hostile-agent");
    let content = std::fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let mut archive = Archive::default();
    archive.file("/init", 0o755, content);
    archive.into_bytes()
}
