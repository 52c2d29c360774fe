//! A run of which one process is killed at a random moment: who reports, who waits, or who runs files.
//!
//! Input: the project. Output: counts. After every some rounds a run that nothing is done to has to pass, and
//! nothing of the killed ones may lie about after it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::{Signal, kill_process};

use super::field::Field;
use super::processes::chain;
use super::tally::Tally;

/// Rounds between two runs that nothing is done to.
const BETWEEN: u32 = 20;
/// One round in so many has a fixture to build.
const BUILDS: u32 = 10;

const ROLES: [&str; 3] = ["reports", "waits", "runs files"];

pub(super) fn torture(field: &Field, tally: &mut Tally) -> Result<()> {
    field.whole_run(tally, "the start, which builds the fixture")?;
    let whole = field.whole_run(tally, "the first run")?;
    let free = available_kib()?;
    while let Some(round) = tally.next()? {
        if round % BUILDS == BUILDS - 1 {
            field.change_fixture()?;
        }
        let run = field.start(&[])?;
        std::thread::sleep(Duration::from_secs_f64(fastrand::f64() * whole.as_secs_f64()));
        let chain = chain(run.first(), &run.processes());
        // The first as often as the two others.
        let chosen = fastrand::usize(..4).saturating_sub(1).min(chain.len() - 1);
        // It may have ended just now.
        let _ = kill_process(chain[chosen], Signal::KILL);
        let what = format!("the run whose process that {} was killed", ROLES[chosen]);
        let ended = run.end()?;
        match chosen {
            2 => ended.must_report(tally, &what),
            _ => {
                ended.must_be_gone(tally, &what);
                tally.passed += u32::from(ended.passed());
            }
        }
        if round % BETWEEN == BETWEEN - 1 {
            field.whole_run(tally, "those that were killed")?;
        }
    }
    field.whole_run(tally, "the last that was killed")?;
    // Fixtures that were built lie in memory, where the cache's folder does.
    let lost = free.saturating_sub(available_kib()?) >> 10;
    println!("   {lost} MiB less memory is available than at the start, the cache's entries included");
    Ok(())
}

/// Memory that this machine could still give, in KiB.
fn available_kib() -> Result<u64> {
    let info = std::fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(number.unwrap_or("0").trim().parse()?)
}
