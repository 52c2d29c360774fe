//! `provium bisect`: which commit broke a test.
//!
//! Input: good and bad revisions, tests. Output: the commit, or the verdict on the one that is checked
//! out. Not here: running tests, which `provium` does in a process of its own for each commit, so that
//! whatever becomes of that the bisect goes on.
//!
//! ```text
//! driver   a whole bisect, in a worktree of its own
//! images   the same over ready kernels, without Git
//! answer   what it comes to, with the reports that show it
//! trial    one commit, built and tested
//! verdict  what that says
//! records  what is kept on the disk meanwhile
//! known    verdicts among that
//! rate     how often a test that fails at times has to pass
//! git      Git
//! ```

mod answer;
mod driver;
mod git;
mod images;
mod known;
mod rate;
mod records;
mod trial;
mod verdict;

use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::{cause, exit};

use super::args::{BisectArgs, BisectCommand, DriverArgs, StepArgs};
use super::host;
use super::interrupt::SignalWatch;
use super::print::complain;
use crate::report::Output;
use crate::session::build::BuildLog;
use trial::{Halt, Repeat, Trial};
use verdict::{BROKEN, Judged};

/// The command's exit code.
pub(super) fn bisect(args: BisectArgs) -> u8 {
    match args.command {
        Some(BisectCommand::Step(args)) => ended(
            step(&args).map(|judged| {
                complain(&format!(
                    "provium bisect: {}: {}",
                    judged.verdict.word(),
                    judged.why
                ));
                judged.verdict.code()
            }),
            BROKEN,
        ),
        None => ended(drive(&args.driver), exit::HARNESS),
    }
}

/// The exit code, `broken` for a harness that could not do its work, which is said.
fn ended(ended: Result<u8, Halt>, broken: u8) -> u8 {
    match ended {
        Ok(code) => code,
        Err(Halt::Interrupted) => exit::INTERRUPTED,
        Err(Halt::Broken(error)) => {
            complain(&format!("provium: error: {}", cause::once(error.as_ref())));
            broken
        }
    }
}

/// Finds the first commit, or the first image, that is bad.
fn drive(args: &DriverArgs) -> Result<u8, Halt> {
    let cancel = Cancel::new();
    let _watch = SignalWatch::new(&cancel)?;
    match &args.images {
        Some(folder) => images::drive(args, folder, &cancel),
        None => driver::drive(args, &cancel),
    }
}

/// Says how it goes.
fn say(line: &str) {
    complain(&format!("provium bisect: {line}"));
}

/// Judges what is checked out.
fn step(args: &StepArgs) -> Result<Judged, Halt> {
    let cancel = Cancel::new();
    let _watch = SignalWatch::new(&cancel)?;
    let trial = Trial {
        step: args,
        sources: None,
        further: Vec::new(),
        cancel: &cancel,
    };
    let (run, project) = trial.project()?;
    let log = match run.show.verbose {
        true => BuildLog::Shown,
        false => BuildLog::Kept,
    };
    let reporter = host::reporter()?;
    if let Some(judged) = trial.build(&project, log, &*reporter)? {
        return Ok(judged);
    }
    drop(reporter);
    let stdout = Output::new(Box::new(std::io::stdout()), None);
    Ok(trial.run(Repeat::AsGiven, Arc::new(stdout), None)?.judged)
}
