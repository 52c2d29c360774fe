//! The check as a whole: runs the probe on a thread of its own and stops it when its time is over.
//!
//! Input: the host. Output: a [`Soundness`]. Not here: what the probe does, and what its notes mean.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use vmm_sys_util::signal::{Killable, SIGRTMIN};

use super::probe::{Allowance, KICK};
use super::verdict::{Finding, Measured, Soundness, Verdict, unusable};
use super::{judge, probe};

/// What a first look may take. The rest of a busy host may take as much again, and more.
const FIRST: Allowance = Allowance {
    wall: Duration::from_secs(2),
    cpu: Duration::from_millis(200),
    rounds: 5,
};
/// What a second look may take, where the first found nothing wrong but time.
const SECOND: Allowance = Allowance {
    wall: Duration::from_secs(20),
    cpu: Duration::from_secs(2),
    rounds: 50,
};
/// Time after that when the answer is given even if KVM does not obey.
const GRACE: Duration = Duration::from_secs(2);
/// Time between interruptions of the probe, at each of which it looks at its clock.
const LOOK: Duration = Duration::from_millis(50);

/// Tries what this host's KVM can do.
///
/// Takes 1 to 50 ms where nothing hangs. A guest that runs on is stopped after 200 ms of its CPU time or 2 s.
/// Where time is all that was found wrong, it is looked at once more, with ten times as much of both: a busy
/// host is not an unsound one. Should KVM not even obey the stop, the answer comes 2 s later all the same,
/// and one thread stays in the kernel.
pub fn check() -> Soundness {
    let start = Instant::now();
    let (verdict, measured) = match supervised(FIRST) {
        Some((verdict, _)) if verdict.is_about_time() => supervised(SECOND),
        answer => answer,
    }
    .unwrap_or_else(no_answer);
    Soundness {
        verdict,
        measured,
        elapsed_us: start.elapsed().as_micros() as u64,
    }
}

/// The same for a host whose KVM is known to be sound if it is there, such as one that was emulated for it:
/// only opens it.
pub fn check_known() -> Soundness {
    let start = Instant::now();
    Soundness {
        verdict: probe::open().map_or_else(|verdict| verdict, |_| Verdict::Sound),
        measured: Measured::default(),
        elapsed_us: start.elapsed().as_micros() as u64,
    }
}

/// What is said of a KVM that did not obey.
fn no_answer() -> (Verdict, Measured) {
    let what = "KVM_RUN, although it was interrupted,".to_owned();
    let verdict = Verdict::Unsound {
        findings: vec![Finding::TimedOut { what }],
    };
    (verdict, Measured::default())
}

/// Runs the probe on a thread of its own, and takes it out of KVM_RUN now and then to look at its clock;
/// nothing when KVM does not obey that.
fn supervised(allowance: Allowance) -> Option<(Verdict, Measured)> {
    let start = Instant::now();
    let (send, answer) = mpsc::channel();
    let (shielded, is_shielded) = mpsc::channel();
    let probing = thread::Builder::new().name("kvm-soundness".into());
    let thread = probing.spawn(move || {
        let notes = probe::shield().and_then(|()| {
            let _ = shielded.send(());
            probe::run(&allowance)
        });
        let _ = send.send(notes.map_or_else(|verdict| (verdict, Measured::default()), |n| judge::judge(&n)));
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return Some((unusable("a thread", &error), Measured::default())),
    };
    // A signal that arrived before it is blocked would end this process.
    let _ = is_shielded.recv();
    while start.elapsed() < allowance.wall + GRACE {
        match answer.recv_timeout(LOOK) {
            Ok(answer) => {
                let _ = thread.join(); // it has nothing left to do
                return Some(answer);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Its only errors are a bad number and a thread that has just ended.
                let _ = thread.kill(SIGRTMIN() + KICK);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_gets_an_answer_that_fits_what_was_measured() {
        let soundness = check();
        let Soundness {
            verdict, measured, ..
        } = &soundness;
        match verdict {
            Verdict::Sound => {
                let (ring0, ring3) = (measured.ring0_mips.unwrap(), measured.ring3_mips.unwrap());
                assert!(
                    ring0 > ring3 / judge::SLOWER || ring0 > judge::SLOW_MIPS,
                    "{soundness:?}"
                );
            }
            Verdict::Unsound { findings } => assert!(!findings.is_empty()),
            Verdict::Absent { .. } | Verdict::NotPermitted | Verdict::Unusable { .. } => {
                assert_eq!(measured.ring0_mips, None, "{soundness:?}");
            }
        }
        assert!(!soundness.reason().is_empty());
    }

    #[test]
    fn the_check_leaves_no_descriptor_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap();
        check();
        // Other tests of this process open files too: a leak would show as one descriptor a round.
        let before = open();
        for _ in 0..20 {
            check();
        }
        assert!(
            open() < before + 20,
            "{before} descriptors before, {} after",
            open()
        );
    }
}
