//! Builds the guest agent, so that one `cargo build` makes a `provium` that carries it.
//!
//! Input: the agent's sources. Output: `PROVIUM_AGENT`, the path of a static binary to embed. A nested cargo
//! with a target folder of its own does it, because the agent needs other flags than the command: no
//! dynamic loader exists in a guest. Not here: anything from the network that the outer build did not have.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = manifest
        .ancestors()
        .nth(2)
        .expect("runner/guest is in the workspace")
        .to_owned();
    for path in ["agent", "Cargo.toml", "Cargo.lock", "runner/guest/build.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let target_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("agent-target");
    match build_agent(&workspace, &target_dir) {
        Ok(agent) => println!("cargo::rustc-env=PROVIUM_AGENT={}", agent.display()),
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
        }
    }
}

fn build_agent(workspace: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args([
        "build",
        "--locked",
        "--package",
        "provium-agent",
        "--profile",
        "agent",
        "--target",
        TARGET,
    ]);
    command
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir);
    // The outer build's wishes are not the agent's: flags, wrappers (clippy's is one) and cross targets.
    for name in [
        "RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
    ] {
        command.env_remove(name);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    let output = command
        .output()
        .map_err(|error| format!("cannot start {} to build the agent: {error}", cargo.display()))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the guest agent (agent/) did not build; `cargo build -p provium-agent --target {TARGET}` shows it alone\n{log}"
        ));
    }
    let agent = target_dir.join(TARGET).join("agent/provium-agent");
    if !agent.is_file() {
        return Err(format!(
            "the guest agent was built but is not at {}",
            agent.display()
        ));
    }
    Ok(agent)
}
