//! Where guests run: on this host's KVM, or in the emulated host.
//!
//! Input: `--accel` and what the host can do. Output: a [`Way`], or [`NoWay`] with what to do about it. Not
//! here: going that way.

use provium_emulated::{self as emulated, Availability, Missing};
use provium_vmm::soundness::{self, Soundness};
use serde::Serialize;

/// What `--accel` may say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accel {
    /// KVM where it is sound, else the emulated host.
    #[default]
    Auto,
    /// KVM of this host, or not at all.
    Kvm,
    /// The emulated host, even where KVM is sound.
    Tcg,
}

/// Where guests run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub enum Way {
    /// On `/dev/kvm`, in this process.
    Kvm,
    /// In the emulated host.
    EmulatedHost {
        /// Why not on KVM, as a sentence without full stop; absent when it was asked for.
        because: Option<String>,
    },
}

/// Why guests cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// `--accel kvm`, but KVM is not sound.
    #[error("--accel kvm: {reason}; without --accel, tests run in the emulated host where that is possible")]
    Kvm {
        /// Why not.
        reason: String,
    },
    /// `--accel tcg`, but there is no emulated host to be had.
    #[error("--accel tcg: the emulated host cannot start: {missing}")]
    EmulatedHost {
        /// What is missing.
        missing: Missing,
    },
    /// `--accel tcg` in an emulated host.
    #[error(
        "--accel tcg: this is the emulated host already, and emulated hosts do not nest; use --accel kvm here"
    )]
    Inside,
    /// In an emulated host, where KVM is what it was made for.
    #[error("the emulated host's own KVM does not work: {reason}")]
    UnsoundInside {
        /// Why not.
        reason: String,
    },
    /// Neither.
    #[error("guests cannot run on this host: {reason}; nor in an emulated host: {missing}")]
    Neither {
        /// What is wrong with KVM.
        reason: String,
        /// What the emulated host lacks.
        missing: Missing,
    },
}

/// Decides where guests run. Takes a few milliseconds with sound KVM and under 100 ms without.
///
/// # Errors
/// [`NoWay`]: they cannot, and what to do about it.
pub fn choose(accel: Accel) -> Result<Way, NoWay> {
    let inside = emulated::is_inside();
    decide(accel, inside, || check(inside), emulated::available)
}

/// What is known of KVM here: an emulated host is made to have a sound one, elsewhere it is tried.
pub(super) fn check(inside: bool) -> Soundness {
    match inside {
        true => soundness::check_known(),
        false => soundness::check(),
    }
}

/// The decision itself; asks only for what it needs to know.
pub(super) fn decide(
    accel: Accel,
    inside: bool,
    kvm: impl FnOnce() -> Soundness,
    emulated: impl FnOnce() -> Result<Availability, Missing>,
) -> Result<Way, NoWay> {
    if accel == Accel::Tcg {
        return match (inside, emulated) {
            (true, _) => Err(NoWay::Inside),
            (false, emulated) => match emulated() {
                Ok(_) => Ok(Way::EmulatedHost { because: None }),
                Err(missing) => Err(NoWay::EmulatedHost { missing }),
            },
        };
    }
    let kvm = kvm();
    if kvm.is_sound() {
        return Ok(Way::Kvm);
    }
    let reason = kvm.reason();
    match accel {
        _ if inside => Err(NoWay::UnsoundInside { reason }),
        Accel::Kvm => Err(NoWay::Kvm { reason }),
        Accel::Auto | Accel::Tcg => match emulated() {
            Ok(_) => Ok(Way::EmulatedHost {
                because: Some(reason),
            }),
            Err(missing) => Err(NoWay::Neither { reason, missing }),
        },
    }
}

#[cfg(test)]
mod tests {
    use provium_emulated::KernelSource;
    use provium_vmm::soundness::{Measured, Verdict};

    use super::*;

    fn kvm(sound: bool) -> Soundness {
        let verdict = match sound {
            true => Verdict::Sound,
            false => Verdict::NotPermitted,
        };
        Soundness {
            verdict,
            measured: Measured::default(),
            elapsed_us: 1,
        }
    }

    fn emulated(there: bool) -> Result<Availability, Missing> {
        match there {
            true => Ok(Availability {
                qemu: "/q".into(),
                busybox: "/b".into(),
                kernel: KernelSource::Download,
                cache: "/c".into(),
            }),
            false => Err(Missing {
                packages: vec!["qemu-system-x86"],
                problems: vec![],
            }),
        }
    }

    /// One letter a way: K, E; errors k (KVM asked for), e (emulated asked for), i (inside), u (unsound
    /// inside), n.
    fn letter(accel: Accel, inside: bool, sound: bool, there: bool) -> char {
        match decide(accel, inside, || kvm(sound), || emulated(there)) {
            Ok(Way::Kvm) => 'K',
            Ok(Way::EmulatedHost { .. }) => 'E',
            Err(NoWay::Kvm { .. }) => 'k',
            Err(NoWay::EmulatedHost { .. }) => 'e',
            Err(NoWay::Inside) => 'i',
            Err(NoWay::UnsoundInside { .. }) => 'u',
            Err(NoWay::Neither { .. }) => 'n',
        }
    }

    #[test]
    fn every_case_is_decided() {
        // Columns: sound and emulated host there, sound only, emulated host only, neither.
        for (accel, inside, expected) in [
            (Accel::Auto, false, "KKEn"),
            (Accel::Kvm, false, "KKkk"),
            (Accel::Tcg, false, "EeEe"),
            (Accel::Auto, true, "KKuu"),
            (Accel::Kvm, true, "KKuu"),
            (Accel::Tcg, true, "iiii"),
        ] {
            let cases = [(true, true), (true, false), (false, true), (false, false)];
            let decided: String = cases
                .iter()
                .map(|&(sound, there)| letter(accel, inside, sound, there))
                .collect();
            assert_eq!(decided, expected, "{accel:?}, inside: {inside}");
        }
    }

    #[test]
    fn kvm_is_not_tried_when_it_is_not_wanted_nor_programs_looked_for_when_they_are_not_needed() {
        let way = decide(Accel::Tcg, false, || panic!("not asked for"), || emulated(true));
        assert_eq!(way, Ok(Way::EmulatedHost { because: None }));
        assert_eq!(
            decide(Accel::Auto, false, || kvm(true), || panic!("not needed")),
            Ok(Way::Kvm)
        );
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_to_install() {
        let error = decide(Accel::Auto, false, || kvm(false), || emulated(false))
            .unwrap_err()
            .to_string();
        assert!(error.contains("may not open it"), "{error}");
        assert!(error.contains("apt-get install qemu-system-x86"), "{error}");
    }
}
