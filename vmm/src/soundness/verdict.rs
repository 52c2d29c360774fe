//! What is said about a host's KVM, as data and in words.
//!
//! Input: findings. Output: structures that can be printed or serialised. Not here: how they are found.

use std::fmt;
use std::io;

use serde::Serialize;

/// What is known about this host's KVM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Soundness {
    /// The verdict.
    pub verdict: Verdict,
    /// The numbers taken on the way, as far as the check went.
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
        /// What ran when its time was over.
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

impl Verdict {
    /// Whether nothing but time was found wrong, which on a busy host may be the host's fault.
    pub(super) fn is_about_time(&self) -> bool {
        let of_time =
            |finding: &Finding| matches!(finding, Finding::SlowRing0 { .. } | Finding::TimedOut { .. });
        matches!(self, Verdict::Unsound { findings } if findings.iter().all(of_time))
    }
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

/// The verdict when `call`, which has to work, has failed.
pub(super) fn unusable(call: &str, error: &io::Error) -> Verdict {
    Verdict::Unusable {
        error: format!("{call}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_of_nothing_but_time_is_about_time() {
        let slow = Finding::SlowRing0 {
            ring0_mips: 0.9,
            ring3_mips: 3000.0,
        };
        let late = Finding::TimedOut { what: "x".into() };
        let of = |findings: &[&Finding]| Verdict::Unsound {
            findings: findings.iter().copied().cloned().collect(),
        };
        assert!(of(&[&slow]).is_about_time() && of(&[&late, &slow]).is_about_time());
        assert!(!of(&[&slow, &Finding::SyscallKeepsRing3]).is_about_time());
        assert!(!Verdict::Sound.is_about_time() && !Verdict::NotPermitted.is_about_time());
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
