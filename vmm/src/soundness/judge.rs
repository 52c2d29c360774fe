//! What the probe's notes come to.
//!
//! Input: [`Notes`]. Output: the verdict and the numbers. Not here: KVM; everything here is plain data.

use super::image::step;
use super::notes::{Notes, StopCause, Trace};
use super::verdict::{Finding, Measured, Verdict};

/// Factor by which ring 0 may be slower than ring 3. Hardware and TCG: 1; an emulator: hundreds and more.
pub(super) const SLOWER: f64 = 8.0;
/// Millions of instructions a second that no emulator which decodes one at a time reaches.
pub(super) const SLOW_MIPS: f64 = 20.0;

/// Whether ring-0 code is emulated. It has to be slow in itself and slower than ring 3, so that neither a
/// slow machine nor a lucky ring 3 passes for an emulator.
pub(super) fn is_slow(ring0_mips: f64, ring3_mips: f64) -> bool {
    ring0_mips < SLOW_MIPS && ring0_mips < ring3_mips / SLOWER
}

/// The steps through the rings, and the privilege level each must be seen at.
const RINGS: [(u16, u8, &str); 7] = [
    (step::IN_RING3, 3, "IRET to ring 3"),
    (step::SYSCALL, 0, "SYSCALL"),
    (step::PRIVILEGED, 0, "a privileged instruction after SYSCALL"),
    (step::SYSRET, 3, "SYSRET"),
    (step::SYSCALL, 0, "the second SYSCALL"),
    (
        step::PRIVILEGED,
        0,
        "a privileged instruction after the second SYSCALL",
    ),
    (step::IRET, 3, "IRET from a system call"),
];

/// The verdict on what was seen, and what was measured.
pub(super) fn judge(notes: &Notes) -> (Verdict, Measured) {
    let measured = Measured {
        ring0_mips: notes.ring0_mips,
        ring3_mips: notes.ring3_mips,
        create_vm_us: Some(notes.create_vm.as_micros() as u64),
    };
    let mut findings = Vec::new();
    if !notes.lacks.is_empty() {
        findings.push(Finding::Lacks {
            capabilities: notes.lacks.iter().map(|&cap| cap.to_owned()).collect(),
        });
    }
    match (notes.ring0_mips, notes.ring3_mips) {
        (Some(ring0_mips), Some(ring3_mips)) if is_slow(ring0_mips, ring3_mips) => {
            findings.push(Finding::SlowRing0 {
                ring0_mips,
                ring3_mips,
            });
        }
        (Some(_), Some(_)) => {}
        // Stopped earlier, which is said below; the loops had no turn.
        _ if notes.rings.end == StopCause::Stopped => {}
        (ring0, _) => {
            let ring = if ring0.is_none() { 0 } else { 3 };
            let what = format!("a loop of some thousand instructions in ring {ring}");
            findings.push(Finding::TimedOut { what });
        }
    }
    findings.extend(rings(&notes.rings));
    let failed = |trace: &Trace| {
        trace.end != StopCause::Done || trace.said.last().is_none_or(|said| said.0 != step::EXECUTED)
    };
    let names: Vec<_> = notes
        .instructions
        .iter()
        .filter(|(_, trace)| failed(trace))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if !names.is_empty() {
        findings.push(Finding::MissingInstructions { names });
    }
    (
        if findings.is_empty() {
            Verdict::Sound
        } else {
            Verdict::Unsound { findings }
        },
        measured,
    )
}

/// What is wrong with the way through the rings, if anything.
fn rings(trace: &Trace) -> Option<Finding> {
    let mut came_by = "the start in ring 0";
    for (i, (step, level, name)) in RINGS.into_iter().enumerate() {
        let what = match trace.said.get(i) {
            Some(&(said, cs, seen)) if said == step => {
                // CS is what the guest reads, `seen` what KVM tells: only both together are right.
                let of_cs = match step {
                    step::PRIVILEGED => level, // its value is not CS
                    _ => (cs & 3) as u8,
                };
                if (seen, of_cs) == (level, level) {
                    came_by = name;
                    continue;
                }
                if step == step::SYSCALL {
                    return Some(Finding::SyscallKeepsRing3);
                }
                format!("{name} arrived in ring {seen} with a code selector of ring {of_cs}")
            }
            Some(&(step::EXCEPTION, vector, _)) => format!("exception {vector} after {came_by}"),
            Some(&(said, ..)) => format!("the guest spoke out of turn ({said:#x}) after {came_by}"),
            None => match &trace.end {
                StopCause::Stopped => {
                    return Some(Finding::TimedOut {
                        what: format!("the test guest, after {came_by},"),
                    });
                }
                StopCause::Halted => format!("the guest halted after {came_by}"),
                StopCause::Exit(exit) => format!("{exit} after {came_by}"),
                StopCause::Done => format!("the guest went silent after {came_by}"),
            },
        };
        return Some(Finding::NoRoundTrip { what });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Trace {
        let said = RINGS
            .into_iter()
            .map(|(step, level, _)| (step, u32::from(level), level))
            .collect();
        Trace {
            said,
            end: StopCause::Done,
        }
    }

    fn good() -> Notes {
        let executed = Trace {
            said: vec![(step::EXECUTED, 0, 0)],
            end: StopCause::Done,
        };
        Notes {
            ring0_mips: Some(250.0),
            ring3_mips: Some(260.0),
            rings: way(),
            instructions: vec![("int3", executed.clone()), ("popcnt", executed)],
            ..Notes::default()
        }
    }

    fn findings(notes: &Notes) -> Vec<Finding> {
        match judge(notes).0 {
            Verdict::Unsound { findings } => findings,
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_guest_that_did_everything_is_sound() {
        let (verdict, measured) = judge(&good());
        assert_eq!(verdict, Verdict::Sound);
        assert_eq!(measured.ring0_mips, Some(250.0));
    }

    #[test]
    fn slow_means_slower_than_ring_3_and_slow_in_itself() {
        assert!(is_slow(0.9, 3000.0));
        assert!(!is_slow(0.9, 1.0), "everything here is slow");
        assert!(!is_slow(50.0, 3000.0), "the exits weighed more than the loop");
        assert_eq!(
            findings(&Notes {
                ring0_mips: Some(0.9),
                ring3_mips: Some(3000.0),
                ..good()
            }),
            [Finding::SlowRing0 {
                ring0_mips: 0.9,
                ring3_mips: 3000.0
            }]
        );
    }

    #[test]
    fn a_syscall_that_stays_in_ring_3_is_named() {
        for (cs, seen) in [(0x2b, 3), (0x08, 3), (0x2b, 0)] {
            let mut notes = good();
            notes.rings.said[1] = (step::SYSCALL, cs, seen);
            assert_eq!(
                findings(&notes),
                [Finding::SyscallKeepsRing3],
                "cs {cs:#x}, level {seen}"
            );
        }
    }

    #[test]
    fn each_step_of_the_way_can_fail_and_says_where() {
        for i in 0..RINGS.len() {
            let mut notes = good();
            notes.rings.said.truncate(i);
            notes.rings.end = StopCause::Exit("a triple fault".into());
            let [Finding::NoRoundTrip { what }] = &findings(&notes)[..] else {
                panic!("step {i}")
            };
            let after = i
                .checked_sub(1)
                .map_or("the start in ring 0", |before| RINGS[before].2);
            assert_eq!(*what, format!("a triple fault after {after}"));
        }
        let mut notes = good();
        notes.rings.said[3] = (step::SYSRET, 0x2b, 0);
        assert!(
            matches!(&findings(&notes)[..], [Finding::NoRoundTrip { what }] if what.contains("arrived in ring 0"))
        );
        notes.rings.said[3] = (step::EXCEPTION, 13, 0);
        assert!(
            matches!(&findings(&notes)[..], [Finding::NoRoundTrip { what }] if what.starts_with("exception 13"))
        );
    }

    #[test]
    fn a_guest_out_of_time_is_told_from_one_that_fails() {
        let stopped = Trace {
            said: vec![(step::IN_RING3, 3, 3)],
            end: StopCause::Stopped,
        };
        let early = Notes {
            ring0_mips: None,
            ring3_mips: None,
            rings: stopped,
            ..good()
        };
        let [Finding::TimedOut { what }] = &findings(&early)[..] else {
            panic!()
        };
        assert!(what.contains("after IRET to ring 3"), "{what}");
        let late = Notes {
            ring0_mips: None,
            ..good()
        };
        let [Finding::TimedOut { what }] = &findings(&late)[..] else {
            panic!()
        };
        assert!(what.ends_with("in ring 0"), "{what}");
    }

    #[test]
    fn instructions_that_fail_in_any_way_are_listed() {
        let mut notes = good();
        notes.instructions[0].1 = Trace {
            said: vec![(step::EXCEPTION, 6, 0)],
            end: StopCause::Done,
        };
        notes.instructions[1].1 = Trace {
            said: vec![],
            end: StopCause::Exit("a KVM internal error".into()),
        };
        let names = vec!["int3".to_owned(), "popcnt".to_owned()];
        assert_eq!(findings(&notes), [Finding::MissingInstructions { names }]);
    }

    #[test]
    fn missing_capabilities_are_a_finding() {
        let notes = Notes {
            lacks: vec!["KVM_CAP_IRQCHIP"],
            ..good()
        };
        assert_eq!(
            findings(&notes),
            [Finding::Lacks {
                capabilities: vec!["KVM_CAP_IRQCHIP".into()]
            }]
        );
    }
}
