//! What those hear who follow a run while it goes: what its files say beforehand, and how full the pool is.
//!
//! Input: files, the pool. Output: facts for events. Not here: who follows.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::{Amount, Event, FoundFile, Sink};

use super::pool::Pool;
use crate::discover::TestFile;
use crate::scan::scan;

/// How often the pool is told of.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a file says of itself before it runs; nothing if it cannot be read, which its run will say.
pub(super) fn found(file: &TestFile) -> FoundFile {
    let source = std::fs::read(&file.path).unwrap_or_default();
    let written = scan(&String::from_utf8_lossy(&source));
    FoundFile {
        path: file.shown.clone(),
        fixtures: written.fixtures,
        claim: written.claim,
    }
}

/// Tells of the pool until it is dropped.
pub(super) struct PoolWatch(Arc<Cancel>);

/// Tells `sink` of the pool at once and each second.
pub(super) fn pool(pool: &Arc<Pool>, sink: &Arc<dyn Sink>) -> PoolWatch {
    let (pool, sink, ended) = (Arc::clone(pool), Arc::clone(sink), Cancel::new());
    let watch = PoolWatch(Arc::clone(&ended));
    let tell = move || {
        loop {
            let (all, used) = (pool.all(), pool.taken());
            let available = Amount {
                memory: all.memory.saturating_sub(used.memory),
                cpus: all.cpus.saturating_sub(used.cpus),
            };
            sink.emit(Event::PoolState { used, available });
            if ended.sleep(INTERVAL).is_some() {
                return;
            }
        }
    };
    // Without the thread only these events are missing.
    let _ = thread::Builder::new().name("pool state".into()).spawn(tell);
    watch
}

impl Drop for PoolWatch {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::Interrupted);
    }
}
