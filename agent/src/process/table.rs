//! All programs of this process that have been started and not been waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::program::Program;

/// Programs by handle, in the order they were started.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    programs: BTreeMap<u64, Arc<Program>>,
}

impl Table {
    pub(crate) fn add(&self, program: Arc<Program>) -> u64 {
        let mut entries = self.entries();
        entries.last += 1;
        let handle = entries.last;
        entries.programs.insert(handle, program);
        handle
    }

    pub(crate) fn get(&self, handle: u64) -> Option<Arc<Program>> {
        self.entries().programs.get(&handle).cloned()
    }

    pub(crate) fn remove(&self, handle: u64) -> Option<Arc<Program>> {
        self.entries().programs.remove(&handle)
    }

    /// Those that a session has started, in that order.
    pub(crate) fn of(&self, owner: u64) -> Vec<(u64, Arc<Program>)> {
        let entries = self.entries();
        let of = entries
            .programs
            .iter()
            .filter(|(_, program)| program.owner == owner);
        of.map(|(handle, program)| (*handle, program.clone())).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
