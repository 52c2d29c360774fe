//! `provium-bench`: measures Provium beside the least that any monitor has to do, and writes a JSON file.
//!
//! `cargo xtask bench` builds and runs it, natively and in the emulated host, and prints what it wrote. Every
//! round measures the floor and then each row once, so that a noisy stretch of time falls on all alike.
//!
//! ```text
//! catalogue                  every row: name, unit, target
//! floor                      the steps of the floor
//! payload, payload_rows      the machine alone
//! linux_rows                 the machine, Linux and the agent
//! suite_rows                 all of it, and tests
//! peers, vsock               other monitors
//! memory, host               what /proc says
//! counts                     exits, page faults and system calls of what is measured
//! recorder                   samples → rows; results/ has the rows, with xtask, as JSON
//! ```
//!
//! Input: options, a KVM, guests.
//! Output: one part of the results as a JSON file.
//! Not here: tables; a comparison of two runs.

mod catalogue;
mod counts;
mod floor;
mod host;
mod linux_rows;
mod memory;
mod payload;
mod payload_rows;
mod peers;
mod recorder;
mod suite_rows;
mod vsock;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use catalogue::{FLOOR_ROWS, LINUX_ROWS, PAYLOAD_ROWS, PEER_ROWS, SUITE_ROWS};
use floor::Floor;
use linux_rows::LinuxRows;
use payload_rows::PayloadRows;
use peers::Qemu;
use provium_bench_results::Part;
use recorder::Recorder;
use suite_rows::SuiteRows;

/// Memory of every guest here.
const MEMORY: u64 = 128 << 20;
/// Numbers of machines at which private memory is looked at.
const RAMP: [usize; 3] = [1, 10, 50];

/// Measure Provium and write a JSON file; `cargo xtask bench` runs this in the right place
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// Which guests
    #[arg(long, value_name = "GUESTS", default_value = "all")]
    guests: Guests,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: usize,
    /// Only rows with this in their id; can be given several times
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// The folder with the guest's kernel and initrd
    #[arg(long, value_name = "DIR", default_value = "target/guest")]
    artifacts: PathBuf,
    /// Measure other monitors, too
    #[arg(long)]
    peers: bool,
    /// A folder with kernel modules that peers need, named in the order to load them
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guests {
    /// Only the payload: runs on any KVM
    Payload,
    /// The payload and Linux
    All,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let grace_periods = host::StockGracePeriods::set();
    // Before any thread is made: it counts those that are made later.
    let mut recorder = Recorder::new(arguments.only.clone()).count_calls();
    let (sound, unsound) = host::soundness();
    let floor = Floor::prepare(MEMORY as usize)?;
    let payload = wanted(
        &recorder,
        PAYLOAD_ROWS.iter().map(|row| row.id),
        PayloadRows::prepare,
    );
    let linux = (arguments.guests == Guests::All).then(|| {
        let rows = LINUX_ROWS.iter().chain(&SUITE_ROWS);
        wanted(&recorder, rows.map(|row| row.id), || {
            LinuxRows::prepare(&arguments.artifacts)
        })
    });
    let suite = (arguments.guests == Guests::All).then(|| {
        wanted(&recorder, SUITE_ROWS.iter().map(|row| row.id), || {
            SuiteRows::prepare(&arguments.artifacts)
        })
    });
    let qemu = arguments.peers.then(|| {
        let modules = arguments.modules.as_deref();
        wanted(&recorder, PEER_ROWS.iter().map(|row| row.id), || {
            Qemu::prepare(&arguments.artifacts, modules)
        })
    });
    for (failed, rows) in [
        (failure(&payload), &PAYLOAD_ROWS[..]),
        (linux.as_ref().and_then(failure), &LINUX_ROWS[..]),
        (suite.as_ref().and_then(failure), &SUITE_ROWS[..]),
        (qemu.as_ref().and_then(failure), &PEER_ROWS[..]),
    ] {
        if let Some(error) = failed {
            rows.iter().for_each(|row| recorder.fail(row.id, error));
        }
    }
    let notes = [
        Some("one vCPU, 128 MiB".to_owned()),
        unsound.filter(|_| !sound),
        grace_periods.note(),
        Some(host::snapshot_folder()),
        (!recorder.counts_calls()).then(|| "system calls cannot be counted here".to_owned()),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    for round in 1..=arguments.rounds {
        let begin = Instant::now();
        floor.measure(&mut recorder)?;
        if let Some(Ok(payload)) = &payload {
            payload.round(&mut recorder);
        }
        if let Some(Some(Ok(linux))) = &linux {
            linux.round(&mut recorder);
            if let Some(Some(Ok(suite))) = &suite {
                suite.round(linux, &mut recorder);
            }
        }
        if let Some(Some(Ok(qemu))) = &qemu {
            qemu.round(&mut recorder);
        }
        let took = begin.elapsed().as_secs_f64();
        eprintln!("   round {round} of {}: {took:.1} s", arguments.rounds);
        // After each round, so that a run that is cut short leaves what it has.
        write(arguments, round, &notes, &recorder)?;
    }
    Ok(())
}

fn write(arguments: &Arguments, rounds: usize, notes: &[String], recorder: &Recorder) -> Result<()> {
    let guest = match arguments.guests {
        Guests::Payload => "a payload of a few instructions",
        Guests::All => "Linux, and a payload of a few instructions",
    };
    let rows = FLOOR_ROWS.into_iter().chain(LINUX_ROWS).chain(SUITE_ROWS);
    let catalogue: Vec<_> = rows.chain(PEER_ROWS).chain(PAYLOAD_ROWS).collect();
    let part = Part {
        place: host::place().to_owned(),
        host: host::description(),
        guest: guest.to_owned(),
        rounds,
        notes: notes.to_vec(),
        rows: recorder.rows(&catalogue),
    };
    let text = serde_json::to_string_pretty(&part)?;
    std::fs::write(&arguments.json, text).with_context(|| format!("write {}", arguments.json.display()))
}

/// Prepares some rows if any of them is wanted.
fn wanted<T>(
    recorder: &Recorder,
    mut ids: impl Iterator<Item = &'static str>,
    prepare: impl FnOnce() -> Result<T>,
) -> Option<Result<T>> {
    ids.any(|id| recorder.wants(id)).then(prepare)
}

fn failure<T>(prepared: &Option<Result<T>>) -> Option<&anyhow::Error> {
    prepared.as_ref().and_then(|result| result.as_ref().err())
}
