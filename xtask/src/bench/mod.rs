//! `cargo xtask bench`: one command, one run, one table and `target/bench.json`.
//!
//! The measuring is package `provium-bench`, run once in each place: here with a payload for a guest, which
//! any KVM can run, and with Linux where KVM is sound, on this machine or in an emulated host. Each run
//! leaves a part; here they are put together.
//!
//! Input: options.
//! Output: the table on stdout, the file.
//! Not here: measuring.

mod compare;
mod part;
mod table;
mod vhost;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use provium_bench_results::Part;

use crate::command::run;
use crate::kvm::place::Place;
use crate::phases::Phases;
use crate::{demo, guest, packages, workspace};

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u32,
    /// Only rows with this in their id (the ids are in the JSON file); can be given several times
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Measure QEMU with the same guest, too, where it is on PATH
    #[arg(long)]
    peers: bool,
    /// Where the numbers go [default: target/bench.json]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Say what has changed since the run that left this file
    #[arg(long, value_name = "BASE.json")]
    compare: Option<PathBuf>,
}

/// Measures everything and prints the table.
///
/// # Errors
/// When something could not be built or run. A row that failed says so in the table and is no error.
pub(crate) fn bench(arguments: &BenchArguments) -> Result<()> {
    let mut phases = Phases::new();
    let ready = phases.run("packages", packages::for_tests).and_then(|()| {
        phases.run("guest kernel and initrd", || guest::build(&[]))?;
        let provium = phases.run("build provium", demo::build_provium)?;
        let bench = phases.run("build provium-bench", build)?;
        Some((provium, bench))
    });
    let measured = ready.and_then(|(provium, bench)| {
        let place = phases.run("find a sound KVM", || Place::find(&provium))?;
        phases.run("measure", || measure(arguments, &provium, &bench, place))
    });
    phases.print();
    let parts = measured.context("nothing was measured")?;
    for part in &parts {
        print!("\n{}", table::of(part));
    }
    // Before this run's file is written: it may be the same.
    if let Some(base) = &arguments.compare {
        print!("\nsince {}:\n{}", base.display(), compare::since(base, &parts)?);
    }
    let path = match &arguments.json {
        Some(path) => path.clone(),
        None => workspace::build_folder()?.join("bench.json"),
    };
    std::fs::write(&path, part::merged(&parts, &command_line())?)
        .with_context(|| format!("write {}", path.display()))?;
    println!("\nall samples: {}", path.display());
    Ok(())
}

fn build() -> Result<PathBuf> {
    run(workspace::cargo().args(["build", "--release", "--package", "provium-bench"]))?;
    Ok(workspace::build_folder()?.join("release/provium-bench"))
}

/// One part where KVM here is sound; else one from the emulated host and one, with payload only, from here.
fn measure(arguments: &BenchArguments, provium: &Path, bench: &Path, place: Place) -> Result<Vec<Part>> {
    let folder = workspace::build_folder()?.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let measured = |mut command: Command, name: &str, guests: &str| {
        let json = folder.join(format!("{name}.json"));
        let _ = std::fs::remove_file(&json);
        command.current_dir(workspace::root());
        command.arg("--json").arg(&json).args(["--guests", guests]);
        command.arg("--rounds").arg(arguments.rounds.to_string());
        if arguments.peers && guests == "all" {
            command.arg("--peers");
        }
        for row in &arguments.only {
            command.args(["--only", row]);
        }
        run(&mut command)?;
        part::read(&json)
    };
    ensure!(arguments.rounds > 0, "--rounds 0 measures nothing");
    if let Place::Here { .. } = place {
        return Ok(vec![measured(Command::new(bench), "here", "all")?]);
    }
    let mut inside = Command::new(provium);
    inside.arg("host").arg("--rw").arg(&folder).arg("--").arg(bench);
    if arguments.peers {
        match vhost::modules(provium) {
            Ok(folder) => {
                inside.arg("--modules").arg(folder);
            }
            // The rows will say what they miss.
            Err(error) => println!("   no vhost-vsock for peers: {error:#}"),
        }
    }
    println!("   in an emulated host:");
    let emulated = measured(inside, "emulated", "all")?;
    println!("   on this machine's KVM, which carries a payload but no kernel:");
    Ok(vec![emulated, measured(Command::new(bench), "here", "payload")?])
}

fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask {}", words.join(" "))
}
