//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Input: arguments. Output: what the command prints, and an exit code. Each command is a module; what they
//! share is how programs are run ([`command`]), where things are ([`workspace`]), what must be installed
//! ([`packages`]) and how phases are shown ([`phases`]).

mod bench;
mod command;
mod demo;
mod dist;
mod docs_examples;
mod fuzz;
mod guest;
mod host_tests;
mod kvm;
mod lua_tests;
mod packages;
mod phases;
mod suite;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Build, show and test Provium."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the guest kernels and initrds below target/guest/ (cached outside the tree)
    Guest {
        /// Add kernel-config/NAME.config and build our kernel to target/guest-NAME/
        #[arg(long = "fragment", value_name = "NAME")]
        fragments: Vec<String>,
    },
    /// Install what is missing, make a guest of Debian's packages, build provium and run examples/hello/
    Demo,
    /// Make the archive of a release, and try it in an empty Debian userland
    Dist {
        /// Compile with another of cargo's profiles, to try this command itself
        #[arg(long, value_name = "NAME", default_value = "release")]
        profile: String,
    },
    /// Run every check and test, as CI does
    Test {
        /// Only these parts
        #[arg(long = "only", value_name = "PART", value_delimiter = ',')]
        parts: Vec<suite::Part>,
        /// Only KVM tests with this in their name, such as `boot::`
        #[arg(long, value_name = "TEXT", default_value = "")]
        filter: String,
    },
    /// Check the rules of the house that no compiler knows: who may import what, how long a file is, …
    Tidy {
        /// Print what is wrong as entries for xtask/tidy.toml
        #[arg(long)]
        list: bool,
    },
    /// Boot, reset and resume guest after guest, each kind in one process, and see that all work and nothing
    /// leaks
    Soak {
        /// How many boots; 0 for none
        #[arg(long, value_name = "N", default_value_t = 200)]
        boots: u32,
        /// How many resets of a busy guest in its place; 0 for none
        #[arg(long, value_name = "N", default_value_t = 1000)]
        resets: u32,
        /// How many guests resumed from one snapshot; 0 for none
        #[arg(long, value_name = "N", default_value_t = 1000)]
        resumes: u32,
    },
    /// Kill and stop runs, let their disks and memory run out, put guests back ten thousand times: nothing
    /// may be lost, hang or be left behind (needs root; hours)
    Torture(torture::TortureArguments),
    /// Feed what reads bytes of guests, agents, files and emulated hosts with anything at all (fuzz/)
    Fuzz(fuzz::FuzzArguments),
    /// Measure Provium beside the least any monitor has to do; print a table, write target/bench.json
    Bench(bench::BenchArguments),
    /// Run KVM tests as one of several workers (started by `test` and `soak`)
    #[command(hide = true)]
    RunTests(kvm::worker::WorkerArguments),
}

fn soak(boots: u32, resets: u32, resumes: u32) -> anyhow::Result<()> {
    let soak = |what, filter, variable, times| suite::Soak {
        what,
        filter,
        variable,
        times,
    };
    suite::soak(&[
        soak("boots", "leaks::", "PROVIUM_SOAK_BOOTS", boots),
        soak(
            "resets",
            "put_back_again_and_again",
            "PROVIUM_SOAK_RESETS",
            resets,
        ),
        soak(
            "resumes",
            "resumed_again_and_again",
            "PROVIUM_SOAK_RESUMES",
            resumes,
        ),
    ])
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Guest { fragments } => guest::build(&fragments),
        Command::Demo => demo::demo(),
        Command::Dist { profile } => dist::dist(&profile),
        Command::Test { parts, filter } => suite::test(&parts, &filter),
        Command::Tidy { list: true } => tidy::list(),
        Command::Tidy { list: false } => tidy::check(),
        Command::Soak {
            boots,
            resets,
            resumes,
        } => soak(boots, resets, resumes),
        Command::Torture(arguments) => torture::torture(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::RunTests(arguments) => kvm::worker::work(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
