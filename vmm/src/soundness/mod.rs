//! Whether this host's `/dev/kvm` can run a guest: a self-test guest of a few instructions, in well under 100 ms.
//!
//! Enters: nothing but the host. Leaves: a [`Soundness`]: the verdict, what was found wrong, what was measured.
//! Absent on purpose: Linux, devices, interrupts, and what to do about a host that fails (see the runner).
//!
//! A KVM may be there, pass every capability query, and still be unable to run a kernel: software KVMs inside
//! virtual machines emulate ring-0 code an instruction at a time, lack instructions, or enter SYSCALL's handler
//! without the privilege that belongs to it. Nothing announces that, so it is tried:
//!
//! ```text
//! image     the guest: page tables, descriptor tables, the code (real assembler source)
//! probe     one vCPU that runs one entry of it and notes what the guest says
//! judge     what the notes come to; knows no KVM
//! ```

mod image;
mod judge;
mod probe;

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use vmm_sys_util::signal::{Killable, SIGRTMIN};

/// When guests are stopped, at the latest.
const LIMIT: Duration = Duration::from_secs(2);
/// How much later the answer is given even if KVM does not obey.
const GRACE: Duration = Duration::from_secs(2);
/// How often the probe is interrupted to look at its clock.
const LOOK: Duration = Duration::from_millis(50);
/// SIGRTMIN plus this is sent to the probe's own thread, which blocks it except in KVM_RUN: nothing handles it.
const KICK: i32 = 7;

/// What is known about this host's KVM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Soundness {
    /// The answer.
    pub verdict: Verdict,
    /// What was measured on the way, as far as it went.
    pub measured: Measured,
    /// Wall time of the check, in microseconds.
    pub elapsed_us: u64,
}

/// Whether `/dev/kvm` can run a guest, and if not, the first thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verdict {
    /// Guests run as they would on the bare machine.
    Sound,
    /// There is no `/dev/kvm`, or nothing behind it.
    Absent {
        /// What opening it said.
        error: String,
    },
    /// This user may not open it.
    NotPermitted,
    /// It opens, but a machine cannot be made of it.
    Unusable {
        /// Which call failed, and how.
        error: String,
    },
    /// Machines can be made, but guests do not run as they should.
    Unsound {
        /// Everything found wrong; never empty.
        findings: Vec<Finding>,
    },
}

/// One thing a guest was seen to suffer from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// Capabilities the monitor needs are missing.
    Lacks {
        /// Their names in `linux/kvm.h`.
        capabilities: Vec<String>,
    },
    /// Ring-0 code is far slower than the same code in ring 3.
    SlowRing0 {
        /// Instructions a second in ring 0, in millions.
        ring0_mips: f64,
        /// The same loop in ring 3.
        ring3_mips: f64,
    },
    /// SYSCALL jumped to its handler, but the privilege stayed that of the caller.
    SyscallKeepsRing3,
    /// The way ring 0 → ring 3 → SYSCALL → SYSRET → SYSCALL → IRET did not go to its end.
    NoRoundTrip {
        /// The last step that was seen, and what came instead of the next.
        what: String,
    },
    /// Instructions that ring 0 cannot execute.
    MissingInstructions {
        /// Their names.
        names: Vec<String>,
    },
    /// A guest of a few microseconds' work had to be stopped.
    TimedOut {
        /// What ran.
        what: String,
    },
}

/// Numbers taken while checking; absent where the check did not get that far.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Instructions a second in ring 0, in millions.
    pub ring0_mips: Option<f64>,
    /// Instructions a second in ring 3, in millions.
    pub ring3_mips: Option<f64>,
    /// KVM_CREATE_VM, in microseconds.
    pub create_vm_us: Option<u64>,
}

impl Soundness {
    /// Whether Provium can run guests here.
    pub fn is_sound(&self) -> bool {
        self.verdict == Verdict::Sound
    }

    /// The verdict as one sentence, without a full stop.
    pub fn reason(&self) -> String {
        self.verdict.to_string()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Sound => f.write_str("guests run as they should"),
            Verdict::Absent { error } => write!(f, "there is no usable /dev/kvm ({error})"),
            Verdict::NotPermitted => f.write_str("/dev/kvm is there, but this user may not open it"),
            Verdict::Unusable { error } => write!(f, "/dev/kvm opens, but makes no machine: {error}"),
            Verdict::Unsound { findings } => {
                for (i, finding) in findings.iter().enumerate() {
                    write!(f, "{}{finding}", if i == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Lacks { capabilities } => write!(f, "this kernel's KVM lacks {}", capabilities.join(", ")),
            Finding::SlowRing0 { ring0_mips, ring3_mips } => write!(
                f,
                "ring-0 code runs at {} million instructions a second ({} in ring 3): it is emulated",
                mips(*ring0_mips),
                mips(*ring3_mips)
            ),
            Finding::SyscallKeepsRing3 => f.write_str(
                "SYSCALL jumps to the kernel's entry but stays in ring 3, so no kernel survives its first user process",
            ),
            Finding::NoRoundTrip { what } => write!(f, "changing privilege fails: {what}"),
            Finding::MissingInstructions { names } => {
                write!(f, "ring-0 code cannot execute {}", names.join(", "))
            }
            Finding::TimedOut { what } => write!(f, "{what} did not end and had to be stopped"),
        }
    }
}

/// Two significant digits below ten, whole numbers above.
fn mips(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Tries what this host's KVM can do.
///
/// Takes 1 to 50 ms where nothing hangs. A guest that runs on is stopped after 200 ms of its CPU time or 2 s;
/// should KVM not even obey that, the answer comes after 4 s all the same, and one thread stays in the kernel.
pub fn check() -> Soundness {
    let start = Instant::now();
    let (verdict, measured) = supervised(start);
    Soundness {
        verdict,
        measured,
        elapsed_us: start.elapsed().as_micros() as u64,
    }
}

/// Runs the probe on a thread of its own, and takes it out of KVM_RUN now and then to look at its clock.
fn supervised(start: Instant) -> (Verdict, Measured) {
    let (send, answer) = mpsc::channel();
    let (shielded, is_shielded) = mpsc::channel();
    let probing = thread::Builder::new().name("kvm-soundness".into());
    let thread = probing.spawn(move || {
        let notes = probe::shield().and_then(|()| {
            let _ = shielded.send(());
            probe::run(start + LIMIT)
        });
        let _ = send.send(notes.map_or_else(|verdict| (verdict, Measured::default()), |n| judge::judge(&n)));
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return (unusable("a thread", &error), Measured::default()),
    };
    // A signal that arrived before it is blocked would end this process.
    let _ = is_shielded.recv();
    while start.elapsed() < LIMIT + GRACE {
        match answer.recv_timeout(LOOK) {
            Ok(answer) => {
                let _ = thread.join(); // it has nothing left to do
                return answer;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Its only errors are a bad number and a thread that has just ended.
                let _ = thread.kill(SIGRTMIN() + KICK);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let what = "KVM_RUN, although it was interrupted,".to_owned();
    let verdict = Verdict::Unsound {
        findings: vec![Finding::TimedOut { what }],
    };
    (verdict, Measured::default())
}

fn unusable(call: &str, error: &io::Error) -> Verdict {
    Verdict::Unusable {
        error: format!("{call}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_gets_an_answer_in_time_and_one_that_fits_what_was_measured() {
        let start = Instant::now();
        let soundness = check();
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "took {:?}",
            start.elapsed()
        );
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

    #[test]
    fn findings_read_as_one_sentence() {
        let verdict = Verdict::Unsound {
            findings: vec![
                Finding::SlowRing0 {
                    ring0_mips: 0.93,
                    ring3_mips: 3100.4,
                },
                Finding::MissingInstructions {
                    names: vec!["popcnt".into(), "xrstor".into()],
                },
            ],
        };
        assert_eq!(
            verdict.to_string(),
            "ring-0 code runs at 0.9 million instructions a second (3100 in ring 3): it is emulated; \
             ring-0 code cannot execute popcnt, xrstor"
        );
    }
}
