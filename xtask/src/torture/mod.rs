//! `cargo xtask torture`: runs of tests while their processes are killed or stopped, their disks and memory
//! run out, and the clock jumps; and guests that are put back and resumed ten thousand times.
//!
//! Input: which parts, and how often. Output: a table of rounds, and of what was lost, hung or left behind in
//! them. Not here: tests of what a run says then, which are whole-program tests (`runner/tests/death.rs`).
//!
//! Where this machine's KVM is not sound, a part runs in one emulated host, with this program in it as well:
//! what a part does to a run needs no start of QEMU then. The part that breaks a disk needs a loop device,
//! which emulated hosts lack, so its runs have an emulated host each.

mod bad_disk;
mod field;
mod kill;
mod limits;
mod processes;
mod tally;
mod time;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::command::run as run_program;
use crate::kvm::place::Place;
use crate::phases::Phases;
use crate::{demo, guest, kvm, packages, workspace};
use field::Field;
use tally::Tally;

/// Which parts, and how often.
#[derive(Debug, Args)]
pub(crate) struct TortureArguments {
    /// Only these parts
    parts: Vec<Part>,
    /// Rounds of each part, in place of its own number
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// The built `provium`: this process is where guests can run, and does one part there
    #[arg(long, value_name = "FILE", requires = "share", hide = true)]
    inside: Option<PathBuf>,
    /// Folder for what a part came to
    #[arg(long, value_name = "DIR", hide = true)]
    share: Option<PathBuf>,
}

/// What is done to a run, or how often to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One of a run's processes is killed at a random moment
    Kill,
    /// The cache's disk fills up
    FullDisk,
    /// The folder for temporary files fills up
    FullTmp,
    /// The cache's disk fails to read and write, or is slow
    BadDisk,
    /// A control group takes a run's memory away
    Memory,
    /// The clock jumps back and forth by hours
    Clock,
    /// All processes of a run stop for ten seconds
    Stop,
    /// A busy guest is put back, with 1, 2 and 4 vCPUs
    Resets,
    /// A guest is resumed from one snapshot, with 1, 2 and 4 vCPUs
    Resumes,
}

impl Part {
    fn rounds(self) -> u32 {
        match self {
            Part::Kill => 1000,
            Part::FullDisk | Part::FullTmp | Part::Memory => 60,
            Part::Clock => 40,
            Part::BadDisk => 12,
            Part::Stop => 10,
            Part::Resets | Part::Resumes => 10_000,
        }
    }

    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs the parts one after the other.
///
/// # Errors
/// When anything was lost, hung or left behind, or a part could not be carried out; what it was has been
/// printed.
pub(crate) fn torture(arguments: &TortureArguments) -> Result<()> {
    if let (Some(provium), Some(share)) = (&arguments.inside, &arguments.share) {
        let [part] = arguments.parts[..] else {
            bail!("one part at a time")
        };
        return inside(part, arguments.rounds.unwrap_or(part.rounds()), provium, share);
    }
    let parts = match arguments.parts.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    let mut phases = Phases::new();
    let provium = phases.run("packages", packages::for_tests).and_then(|()| {
        phases.run("guest kernel and initrd", || guest::build(&[]))?;
        phases.run("build provium", demo::build_provium)
    });
    let mut table = String::from("\npart        rounds  passed    lost    hung  leaked\n");
    let mut bad = 0;
    for part in provium.iter().flat_map(|_| parts) {
        let (rounds, provium) = (arguments.rounds.unwrap_or(part.rounds()), provium.as_deref());
        let provium = provium.context("it was built")?;
        let name = part.name();
        let tally = phases.run(&format!("{rounds} rounds of {name}"), || match part {
            Part::Resets | Part::Resumes => again_and_again(*part, rounds, provium),
            _ => at_a_place(*part, rounds, provium),
        });
        if let Some(tally) = tally {
            bad += tally.bad();
            table.push_str(&tally.row(&name));
        }
    }
    phases.print();
    print!("{table}");
    ensure!(
        bad == 0 && phases.failed() == 0,
        "{bad} round(s) went wrong, {} phase(s) failed",
        phases.failed()
    );
    Ok(())
}

/// Has a part done where guests can run, and reads what it came to.
fn at_a_place(part: Part, rounds: u32, provium: &Path) -> Result<Tally> {
    let share = workspace::build_folder()?.join("torture").join(part.name());
    if share.exists() {
        std::fs::remove_dir_all(&share).with_context(|| format!("remove {}", share.display()))?;
    }
    std::fs::create_dir_all(&share).with_context(|| format!("create {}", share.display()))?;
    if part == Part::BadDisk {
        inside(part, rounds, provium, &share)?;
        return Tally::read(&share);
    }
    let this = std::env::current_exe().context("find this program")?;
    let mut command = match Place::find(provium)? {
        Place::Here { .. } => Command::new(&this),
        Place::Emulated { .. } => {
            let mut command = Command::new(provium);
            command.arg("host").arg("--rw").arg(&share).arg("--").arg(&this);
            command
        }
    };
    command.args(["torture", &part.name(), "--rounds", &rounds.to_string()]);
    command.arg("--inside").arg(provium).arg("--share").arg(&share);
    run_program(&mut command)?;
    Tally::read(&share)
}

/// Does a part here. What it has come to is written down now and then, since an emulated host that freezes
/// is started again and does the rest.
fn inside(part: Part, rounds: u32, provium: &Path, share: &Path) -> Result<()> {
    let mut tally = Tally::begin(share, rounds)?;
    let field = Field::new(provium, workspace::root())?;
    match part {
        Part::Kill => kill::torture(&field, &mut tally),
        Part::FullDisk => limits::full_folder(&field, &mut tally, &field.cache()),
        Part::FullTmp => limits::full_folder(&field, &mut tally, &field.tmp()),
        Part::Memory => limits::little_memory(&field, &mut tally),
        Part::Clock => time::jumps(&field, &mut tally),
        Part::Stop => time::stops(&field, &mut tally),
        Part::BadDisk => bad_disk::torture(&field, &mut tally),
        Part::Resets | Part::Resumes => bail!("these are tests of their own"),
    }?;
    tally.write()
}

/// The tests that do something as often as they are told.
fn again_and_again(part: Part, rounds: u32, provium: &Path) -> Result<Tally> {
    let (filter, variable) = match part {
        Part::Resets => ("put_back_again_and_again", "PROVIUM_SOAK_RESETS"),
        _ => ("resumed_again_and_again", "PROVIUM_SOAK_RESUMES"),
    };
    let selection = kvm::Selection {
        filter: filter.to_owned(),
        limit: 120 + 10 * u64::from(rounds),
        times: Some((variable, rounds)),
    };
    let summary = kvm::run(provium, &selection)?;
    let mut tally = Tally::default();
    let tests = summary.passed + summary.failed.len();
    tally.rounds = rounds * u32::try_from(tests).unwrap_or(u32::MAX);
    tally.passed = rounds * u32::try_from(summary.passed - summary.flaky.len()).unwrap_or(u32::MAX);
    for test in summary.failed.iter().chain(&summary.flaky) {
        tally.lost(format!("{test} did not pass at once"));
    }
    Ok(tally)
}
