//! Faults of a disk: which of the guest's requests fail or take their time.
//!
//! Input: [`Fault`]s, and each request as it comes. Output: what the faults do to it. Not here: the host's
//! own reads and writes, which no fault concerns; power.

use std::time::Duration;

use provium_devices::virtio::block::{Access, FaultEffect};

/// What a fault does to the requests it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// Reads fail.
    EioRead,
    /// Writes fail.
    EioWrite,
    /// Requests take longer, by this time each; flushes too.
    Slow(Duration),
}

/// A fault, as it was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it does to a request.
    pub mode: FaultMode,
    /// First and last sector of the range that a request must touch to be concerned; `None` for the whole
    /// disk.
    pub sectors: Option<(u64, u64)>,
    /// Number of matching requests to skip first.
    pub after: u64,
    /// Number of requests it concerns before it is over; `None` for all.
    pub count: Option<u64>,
}

/// The faults of one disk.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Fault {
    fn concerns(&self, access: Access) -> bool {
        let (of_kind, place) = match (self.mode, access) {
            (FaultMode::EioRead | FaultMode::Slow(_), Access::Read(first, count)) => {
                (true, Some((first, count)))
            }
            (FaultMode::EioWrite | FaultMode::Slow(_), Access::Write(first, count)) => {
                (true, Some((first, count)))
            }
            (FaultMode::Slow(_), Access::Flush) => (true, None),
            _ => (false, None),
        };
        let touches = match (self.sectors, place) {
            (None, _) => true,
            (Some((from, to)), Some((first, count))) => first <= to && first.saturating_add(count) > from,
            (Some(_), None) => false,
        };
        of_kind && touches
    }
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The faults that are not over, with what is left of their counts.
    pub(super) fn active(&self) -> Vec<Fault> {
        self.0.clone()
    }

    /// What the faults together do to a request, which is counted; delays add up.
    pub(super) fn fault_effect(&mut self, access: Access) -> FaultEffect {
        let mut effect = FaultEffect::default();
        for fault in &mut self.0 {
            if !fault.concerns(access) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if let Some(left) = &mut fault.count {
                *left = left.saturating_sub(1);
            }
            match fault.mode {
                FaultMode::EioRead | FaultMode::EioWrite => effect.fails = true,
                FaultMode::Slow(delay) => effect.delay = effect.delay.saturating_add(delay),
            }
        }
        self.0.retain(|fault| fault.count != Some(0));
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(mode: FaultMode) -> Fault {
        Fault {
            mode,
            sectors: None,
            after: 0,
            count: None,
        }
    }

    fn faults(all: impl IntoIterator<Item = Fault>) -> Faults {
        Faults(all.into_iter().collect())
    }

    #[test]
    fn a_fault_meets_its_kind_and_its_sectors_alone() {
        let mut faults = faults([Fault {
            sectors: Some((10, 19)),
            ..fault(FaultMode::EioRead)
        }]);
        for (access, fails) in [
            (Access::Read(0, 10), false),
            (Access::Read(0, 11), true),
            (Access::Read(19, 1), true),
            (Access::Read(20, 100), false),
            (Access::Read(u64::MAX, 2), false),
            (Access::Write(10, 1), false),
            (Access::Flush, false),
        ] {
            assert_eq!(faults.fault_effect(access).fails, fails, "{access:?}");
        }
    }

    #[test]
    fn a_fault_begins_late_and_ends_when_it_is_told_to() {
        let mut faults = faults([Fault {
            after: 2,
            count: Some(3),
            ..fault(FaultMode::EioWrite)
        }]);
        let met: Vec<bool> = (0..8)
            .map(|_| faults.fault_effect(Access::Write(0, 1)).fails)
            .collect();
        assert_eq!(met, [false, false, true, true, true, false, false, false]);
        assert!(faults.active().is_empty());
    }

    #[test]
    fn delays_add_up_and_flushes_are_slow_too() {
        let ms = Duration::from_millis;
        let mut faults = faults([fault(FaultMode::Slow(ms(2))), fault(FaultMode::Slow(ms(3)))]);
        for access in [Access::Read(0, 1), Access::Write(7, 1), Access::Flush] {
            assert_eq!(faults.fault_effect(access).delay, ms(5));
        }
        faults.clear();
        assert_eq!(faults.fault_effect(Access::Flush), FaultEffect::default());
    }
}
