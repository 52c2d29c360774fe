//! Which of the things that were made in a guest are there now.
//!
//! ```text
//! boot ─ 1 ─ snapshot A ─ 2 ─ put back to A ─ 3          there now: what was made in 1 and in 3
//! ```
//!
//! Input: each boot, snapshot and return to one. Output: [`Epoch`]s, and whether what was made in one is part
//! of the guest as it is. The agent gives numbers out anew after a return, so a number alone may mean another
//! thing. Not here: what the things are.

use std::collections::HashMap;

use provium_vmm::snapshot::SnapshotId;

/// A part of a guest's life between two boots, snapshots or resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// The epochs that led to a guest as it is.
#[derive(Debug, Default)]
pub struct Timeline {
    /// The epochs that led here; the last one goes on.
    past: Vec<u64>,
    last: u64,
    saved: HashMap<SnapshotId, Vec<u64>>,
}

impl Timeline {
    /// A life begins that has nothing of those before.
    pub(crate) fn begin(&mut self) {
        self.past.clear();
        self.go_on();
    }

    /// A snapshot was taken.
    pub(crate) fn save(&mut self, snapshot: SnapshotId) {
        self.saved.insert(snapshot, self.past.clone());
        self.go_on();
    }

    /// The guest is what it was in a snapshot; one of another guest is a new life.
    pub(crate) fn enter(&mut self, snapshot: SnapshotId) {
        self.past = self.saved.get(&snapshot).cloned().unwrap_or_default();
        self.go_on();
    }

    fn go_on(&mut self) {
        self.last += 1;
        self.past.push(self.last);
    }

    /// The epoch that goes on now.
    pub fn now(&self) -> Epoch {
        Epoch(self.last)
    }

    /// Whether what was made in that epoch is part of the guest as it is now.
    pub fn holds(&self, epoch: Epoch) -> bool {
        self.past.contains(&epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_to_a_snapshot_forgets_what_came_after_it() {
        let (a, b) = (SnapshotId(0, 1), SnapshotId(0, 2));
        let mut line = Timeline::default();
        line.begin();
        let before = line.now();
        line.save(a);
        let after = line.now();
        assert!(line.holds(before) && line.holds(after));
        line.enter(a);
        let again = line.now();
        assert_eq!(
            [before, after, again].map(|epoch| line.holds(epoch)),
            [true, false, true]
        );
        line.save(b);
        line.enter(b);
        assert_eq!(
            [before, after, again].map(|epoch| line.holds(epoch)),
            [true, false, true]
        );
        line.enter(a);
        assert_eq!(
            [before, after, again].map(|epoch| line.holds(epoch)),
            [true, false, false]
        );
        line.enter(SnapshotId(0, 3));
        assert!(!line.holds(before));
        line.begin();
        assert_eq!([before, after, again].map(|epoch| line.holds(epoch)), [false; 3]);
    }
}
