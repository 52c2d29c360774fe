//! Programs that have been started and not been waited for.
//!
//! Input: programs, and the sessions that own them.
//! Output: handles, and the programs by handle or owner.
//! Not here: what a program does; see `program`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};

use super::program::Program;
use crate::lock::Mutex;

/// Programs by handle, in the order they were started.
#[derive(Debug, Default)]
pub(crate) struct ProgramTable(Mutex<Programs>);

#[derive(Debug, Default)]
struct Programs {
    last: u64,
    by_handle: BTreeMap<u64, Arc<Program>>,
}

impl ProgramTable {
    /// Adds a program; its handle.
    pub(crate) fn add(&self, program: Arc<Program>) -> u64 {
        let mut programs = self.0.lock();
        programs.last += 1;
        let handle = programs.last;
        programs.by_handle.insert(handle, program);
        handle
    }

    pub(crate) fn get(&self, handle: u64) -> Option<Arc<Program>> {
        self.0.lock().by_handle.get(&handle).cloned()
    }

    pub(crate) fn remove(&self, handle: u64) -> Option<Arc<Program>> {
        self.0.lock().by_handle.remove(&handle)
    }

    /// A session's programs with their handles, in the order they were started.
    pub(crate) fn of(&self, owner: u64) -> Vec<(u64, Arc<Program>)> {
        let programs = self.0.lock();
        let of = programs
            .by_handle
            .iter()
            .filter(|(_, program)| program.owner == owner);
        of.map(|(handle, program)| (*handle, program.clone())).collect()
    }

    /// Ends all programs of a session together and waits until they are gone.
    pub(crate) fn end_all_of(&self, owner: u64) {
        let programs = self.of(owner);
        programs.iter().for_each(|(_, program)| program.end());
        for (handle, program) in &programs {
            // Without a wake-up it ends all the same; nobody waits for it then.
            if let Ok(watch) = program.watch() {
                while !program.status().finished {
                    let mut changed = [PollFd::new(&watch.wakeup, PollFlags::IN)];
                    let _ = poll(&mut changed, None);
                    watch.wakeup.clear();
                }
            }
            self.remove(*handle);
        }
    }
}
