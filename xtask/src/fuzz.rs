//! `cargo xtask fuzz`: builds the fuzz targets for libFuzzer, by the compiler at hand, and runs them.
//!
//! Input: which targets, and for how long. Output: a line for each, with how many executions there were; for
//! one that failed, what it said and where the input is. Corpora are kept below `target/fuzz/`, so that the
//! next call goes on from there. Not here: targets (`fuzz/`), and the compiler's flags (`fuzz/rustc.sh`).

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{run, shown};
use crate::workspace;

/// A target, as `fuzz/Cargo.toml` names it.
struct Target {
    name: &'static str,
    /// Most bytes of an input.
    longest: usize,
    /// Whether it needs all of the command, which takes minutes to build.
    command: bool,
}

const fn target(name: &'static str, longest: usize) -> Target {
    Target {
        name,
        longest,
        command: false,
    }
}

const TARGETS: [Target; 13] = [
    target("rng", 512),
    target("block", 512),
    target("vsock", 768),
    target("share", 768),
    target("race", 512),
    target("ports", 256),
    target("frames", 512),
    target("state", 16384),
    target("kernel", 4096),
    target("emulated", 512),
    target("console", 1024),
    Target {
        command: true,
        ..target("config", 4096)
    },
    Target {
        command: true,
        ..target("command", 256)
    },
];

/// Bytes of memory at which a target has failed, in MiB.
const MEMORY_MIB: u32 = 2048;
/// Seconds after which one execution has failed.
const LONGEST_RUN: u32 = 20;
/// Lines of what a target that failed has said.
const SHOWN: usize = 40;

/// What `cargo xtask fuzz` takes.
#[derive(Debug, Args)]
pub(crate) struct FuzzArguments {
    /// The targets; all without
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds for each
    #[arg(long, value_name = "N", default_value_t = 60, conflicts_with = "runs")]
    seconds: u32,
    /// Executions of each, in place of seconds
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
}

/// Fuzzes what was asked for.
///
/// # Errors
/// When there is no such target, when it does not build, and when one finds something.
pub(crate) fn fuzz(arguments: &FuzzArguments) -> Result<()> {
    let known = |name: &String| TARGETS.iter().any(|target| target.name == *name);
    if let Some(name) = arguments.targets.iter().find(|name| !known(name)) {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no target `{name}`; there are {}", names.join(", "));
    }
    let wanted = |target: &&Target| {
        arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name)
    };
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    let limit = match arguments.runs {
        Some(runs) => format!("-runs={runs}"),
        None => format!("-max_total_time={}", arguments.seconds),
    };
    fuzz_all(&targets, &limit)
}

/// Fuzzes each target for a few seconds, but for those that need the whole command.
///
/// # Errors
/// When they do not build, and when one finds something.
pub(crate) fn short_pass() -> Result<()> {
    let targets: Vec<&Target> = TARGETS.iter().filter(|target| !target.command).collect();
    fuzz_all(&targets, "-max_total_time=3")
}

fn fuzz_all(targets: &[&Target], limit: &str) -> Result<()> {
    build(targets)?;
    let folder = workspace::build_folder()?;
    let failed: Vec<&str> = targets
        .iter()
        .filter_map(|target| match fuzz_one(target, &folder, limit) {
            Ok(()) => None,
            Err(error) => {
                eprintln!("   {}: {error:#}", target.name);
                Some(target.name)
            }
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("{} found something", failed.join(", ")),
    }
}

fn build(targets: &[&Target]) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", workspace::root().join("fuzz/rustc.sh"))
        .args(["build", "--quiet", "--package", "provium-fuzz"]);
    for target in targets {
        cargo.args(["--bin", target.name]);
    }
    if targets.iter().any(|target| target.command) {
        cargo.args([
            "--features",
            "command",
            "--config",
            "profile.dev.package.provium.opt-level=0",
        ]);
    }
    run(&mut cargo)
}

/// Runs one target. Its corpus is what it had before, what it plants itself, and what is
/// kept in the tree.
fn fuzz_one(target: &Target, folder: &Path, limit: &str) -> Result<()> {
    let own = folder.join("fuzz").join(target.name);
    let corpus = own.join("corpus");
    fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
    let log_path = own.join("log");
    let log = File::create(&log_path).with_context(|| format!("make {}", log_path.display()))?;
    let mut command = std::process::Command::new(folder.join("debug").join(target.name));
    command
        .args([limit, "-print_final_stats=1", "-detect_leaks=0"])
        .args([
            format!("-max_len={}", target.longest),
            "-len_control=10".to_owned(),
        ])
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={LONGEST_RUN}"))
        .arg(format!("-artifact_prefix={}/", own.display()))
        .arg(&corpus)
        .env("PROVIUM_FUZZ_SEEDS", &corpus)
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("the log")?)
        .stderr(log);
    let kept = workspace::root().join("fuzz/corpus").join(target.name);
    if kept.is_dir() {
        command.arg(kept);
    }
    let status = command
        .status()
        .with_context(|| format!("start {}", shown(&command)))?;
    let text = fs::read(&log_path).with_context(|| format!("read {}", log_path.display()))?;
    let text = String::from_utf8_lossy(&text);
    if status.success() {
        println!("   {:<9} {}", target.name, statistics(&text)?);
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    bail!("{status}; all it said is in {}:\n{last}", log_path.display())
}

/// How many executions there were, from libFuzzer's last lines.
fn statistics(log: &str) -> Result<String> {
    let number = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<u64>().ok())
    };
    let executions = number("stat::number_of_executed_units:").context("libFuzzer counts nothing")?;
    let rate = number("stat::average_exec_per_sec:").unwrap_or(0);
    Ok(format!("{executions:>10} executions, {rate:>6} a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_manifest_is_run() {
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let listed: Vec<(&str, bool)> = manifest["bin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| {
                (
                    bin["name"].as_str().unwrap(),
                    bin.get("required-features").is_some(),
                )
            })
            .collect();
        let known: Vec<_> = TARGETS
            .iter()
            .map(|target| (target.name, target.command))
            .collect();
        assert_eq!(known, listed);
    }

    #[test]
    fn executions_are_read_from_the_last_lines() {
        let log = "#2\tINITED\nstat::number_of_executed_units: 1200\nstat::average_exec_per_sec:     400\n";
        assert_eq!(statistics(log).unwrap(), "      1200 executions,    400 a second");
        assert!(statistics("Done").is_err());
    }
}
