//! Runs whose clock jumps, and runs that stand still for a while.
//!
//! Input: the project. Output: counts. All of these runs have to pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use rustix::time::{ClockId, Timespec, clock_settime};

use super::field::Field;
use super::processes::signal;
use super::tally::Tally;

/// Seconds that the clock is off at most, either way.
const OFF: f64 = 86_400.0;

/// Runs while the clock jumps by up to a day, several times a second. Only in an emulated host, whose clock
/// nobody else needs.
pub(super) fn jumps(field: &Field, tally: &mut Tally) -> Result<()> {
    ensure!(
        std::env::var_os("PROVIUM_EMULATED_HOST").is_some(),
        "the clock of this machine is needed by others; this part runs in emulated hosts alone"
    );
    field.whole_run(tally, "the start, which builds the fixture")?;
    let (begin, then) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
    let set = |off: f64| {
        let seconds = (then + begin.elapsed()).as_secs_f64() + off;
        let time = Timespec {
            tv_sec: seconds as i64,
            tv_nsec: (seconds.fract() * 1e9) as i64,
        };
        clock_settime(ClockId::Realtime, time).context("set the clock")
    };
    while tally.next()?.is_some() {
        let ended = AtomicBool::new(false);
        let run = field.start(&[])?;
        let run = std::thread::scope(|scope| {
            let jumping = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    set((fastrand::f64() - 0.5) * 2.0 * OFF)?;
                    std::thread::sleep(Duration::from_millis(fastrand::u64(10..300)));
                }
                set(0.0)
            });
            let run = run.end();
            ended.store(true, Ordering::Relaxed);
            jumping.join().unwrap_or(Ok(()))?;
            run
        })?;
        let what = "the run whose clock jumped";
        run.must_pass(tally, what);
        tally.passed += u32::from(run.passed());
        field.must_be_tidy(tally, what)?;
    }
    Ok(())
}

/// Runs of which all processes stop for ten seconds.
pub(super) fn stops(field: &Field, tally: &mut Tally) -> Result<()> {
    const STANDS: Duration = Duration::from_secs(10);
    field.whole_run(tally, "the start, which builds the fixture")?;
    let whole = field.whole_run(tally, "the first run")?;
    while tally.next()?.is_some() {
        let run = field.start(&[])?;
        std::thread::sleep(Duration::from_secs_f64(fastrand::f64() * whole.as_secs_f64()));
        let processes = run.processes();
        signal(&processes, Signal::STOP);
        std::thread::sleep(STANDS);
        signal(&processes, Signal::CONT);
        let ended = run.end()?;
        let what = "the run that stood still";
        ended.must_pass(tally, what);
        tally.passed += u32::from(ended.passed());
        field.must_be_tidy(tally, what)?;
    }
    Ok(())
}
