//! virtio-blk, virtio 1.2 section 5.2: one queue of requests to a medium.
//!
//! Enters: requests of a driver that is not trusted. Leaves: calls of a [`Backend`], which has the bytes. Requests are
//! served one after the other by whoever calls [`BlockHandle::serve`], which is a thread of the monitor: a medium that
//! takes its time stalls that thread and no vCPU. Without a medium the device is an empty slot, which drivers pass
//! over. Absent on purpose: more queues, discard and write zeroes; where the bytes are.
//!
//! A request is looked at first, the backend says what becomes of it (it may take its time, it may fail), and only when
//! the time is over it is taken off the queue and done, in one go under one lock. So whenever that lock is free no
//! request is half done, and a pause needs no more than it.

mod request;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use virtio_queue::QueueT;

use super::chain::next_chain;
use super::{Activation, DeviceState, VirtioDevice, read_config_bytes};
use crate::{QueueState, StateError};

/// Bytes of a sector, whatever the medium's own blocks are.
pub const SECTOR: u64 = 512;
/// Bytes of a medium's name.
pub const ID_BYTES: usize = 20;

const QUEUE_SIZE: u16 = 256;
/// Most buffers of a request besides header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;

/// What a request wants of the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read sectors: the first, how many.
    Read(u64, u64),
    /// Write sectors: the first, how many.
    Write(u64, u64),
    /// Make everything written so far last.
    Flush,
    /// Anything else.
    Other,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// How long it takes before anything is done.
    pub delay: Duration,
    /// Whether it fails.
    pub fails: bool,
}

/// A medium.
pub trait Backend: Send + Sync {
    /// Its sectors.
    fn sectors(&self) -> u64;
    /// Whether it cannot be written.
    fn is_readonly(&self) -> bool;
    /// Its name, as the driver may ask for it; zeros follow a shorter one.
    fn id(&self) -> [u8; ID_BYTES];
    /// A request has come; asked once for each.
    fn arrive(&self, access: Access) -> Verdict;
    /// Reads whole sectors that exist, from `sector` on.
    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes whole sectors that exist, from `sector` on.
    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()>;
    /// Makes what was written last.
    fn flush(&self) -> io::Result<()>;
}

/// The device as the transport sees it.
pub struct Block(Arc<Shared>);

/// The device as the host uses it; a clone is another handle on the same one.
#[derive(Clone)]
pub struct BlockHandle(Arc<Shared>);

/// What must be equal for a saved state to be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// Sectors of the medium; none for an empty slot.
    pub sectors: Option<u64>,
    /// Whether the driver was told that it cannot write.
    pub readonly: bool,
}

struct Shared {
    serving: Mutex<Serving>,
    signal: Mutex<Signal>,
    changed: Condvar,
}

/// What is held while a request is done.
struct Serving {
    medium: Option<Arc<dyn Backend>>,
    active: Option<Activation>,
    paused: bool,
    waiting: Option<Waiting>,
}

/// The request at the head of the queue, while it takes its time.
struct Waiting {
    position: u16,
    due: Instant,
    fails: bool,
}

#[derive(Default)]
struct Signal {
    /// There may be something to do.
    kicked: bool,
    ended: bool,
}

/// What came of a look at the queue.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A request was done.
    Served,
    /// There is none, or none may be done.
    Idle,
    /// There is one which takes that long yet.
    Later(Duration),
}

impl Block {
    /// An empty slot, paused.
    pub fn new() -> (Block, BlockHandle) {
        let shared = Arc::new(Shared {
            serving: Mutex::new(Serving {
                medium: None,
                active: None,
                paused: true,
                waiting: None,
            }),
            signal: Mutex::default(),
            changed: Condvar::new(),
        });
        (Block(Arc::clone(&shared)), BlockHandle(shared))
    }
}

impl Shared {
    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kick(&self) {
        self.signal().kicked = true;
        self.changed.notify_all();
    }
}

impl BlockHandle {
    /// Puts a medium into the slot; one that was there is gone.
    pub fn insert(&self, medium: Arc<dyn Backend>) {
        let mut serving = self.0.serving();
        serving.medium = Some(medium);
        serving.waiting = None;
    }

    /// Empties the slot. A driver that still has the queue gets errors.
    pub fn eject(&self) {
        let mut serving = self.0.serving();
        serving.medium = None;
        serving.waiting = None;
    }

    /// Whether a driver has the device set up.
    pub fn is_active(&self) -> bool {
        self.0.serving().active.is_some()
    }

    /// No request is under way when this returns, and none is taken until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.0.serving().paused = true;
    }

    /// Requests are taken again.
    pub fn resume(&self) {
        self.0.serving().paused = false;
        self.0.kick();
    }

    /// Makes [`serve`](Self::serve) return.
    pub fn end(&self) {
        self.0.signal().ended = true;
        self.0.changed.notify_all();
    }

    /// Serves requests until [`end`](Self::end).
    pub fn serve(&self) {
        loop {
            if self.0.signal().ended {
                return;
            }
            let limit = match self.0.serving().step() {
                Step::Served => continue,
                Step::Idle => None,
                Step::Later(limit) => Some(limit),
            };
            let mut signal = self.0.signal();
            if !signal.kicked && !signal.ended {
                signal = match limit {
                    None => self
                        .0
                        .changed
                        .wait(signal)
                        .unwrap_or_else(PoisonError::into_inner),
                    Some(limit) => {
                        let waited = self.0.changed.wait_timeout(signal, limit);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            signal.kicked = false;
        }
    }
}

impl Serving {
    /// Does the next request, if there is one and its time has come.
    fn step(&mut self) -> Step {
        let (Some(active), false) = (&mut self.active, self.paused) else {
            return Step::Idle;
        };
        let queue = &mut active.queues[0];
        let position = queue.next_avail();
        let Some(chain) = next_chain(queue, &active.ram) else {
            return Step::Idle;
        };
        let waiting = self.waiting.take().filter(|waiting| waiting.position == position);
        let waiting = waiting.unwrap_or_else(|| {
            let verdict = match &self.medium {
                Some(medium) => medium.arrive(request::access(&active.ram, chain.clone())),
                None => Verdict::default(),
            };
            Waiting {
                position,
                due: Instant::now() + verdict.delay,
                fails: verdict.fails,
            }
        });
        let left = waiting.due.saturating_duration_since(Instant::now());
        if left > Duration::ZERO {
            // It stays on the queue until its time has come.
            queue.set_next_avail(position);
            self.waiting = Some(waiting);
            return Step::Later(left);
        }
        let head = chain.head_index();
        let medium = self.medium.as_deref().filter(|_| !waiting.fails);
        let len = request::execute(medium, &active.ram, chain);
        let used = queue.add_used(&active.ram, head, len).is_ok();
        if used && queue.needs_notification(&active.ram).unwrap_or(true) {
            active.interrupt.used_buffer();
        }
        Step::Served
    }
}

impl VirtioDevice for Block {
    fn device_id(&self) -> u32 {
        // An id of 0 is a slot without a device, section 4.2.3.1.1.
        self.0.serving().medium.as_ref().map_or(0, |_| 2)
    }

    fn features(&self) -> u64 {
        let readonly = self.0.serving().medium.as_ref().is_some_and(|m| m.is_readonly());
        F_SEG_MAX | F_BLK_SIZE | F_FLUSH | if readonly { F_RO } else { 0 }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let sectors = self.0.serving().medium.as_ref().map_or(0, |m| m.sectors());
        // capacity, size_max, seg_max, geometry, blk_size
        let mut config = [0; 24];
        config[..8].copy_from_slice(&sectors.to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) {
        let mut serving = self.0.serving();
        serving.active = Some(activation);
        serving.waiting = None;
    }

    fn notify(&mut self, _index: u16) {
        self.0.kick();
    }

    fn reset(&mut self) {
        let mut serving = self.0.serving();
        serving.active = None;
        serving.waiting = None;
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        let serving = self.0.serving();
        let active = serving.active.as_ref()?;
        Some(active.queues.iter().map(QueueState::of).collect())
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block(self.0.serving().state())
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        const WHO: &str = "disk";
        let DeviceState::Block(state) = state else {
            return Err(StateError::new(WHO, "it is another device's"));
        };
        let mut serving = self.0.serving();
        let own = serving.state();
        if *state != own {
            let what = format!("it is of a medium with {state:?}, and this one has {own:?}");
            return Err(StateError::new(WHO, what));
        }
        serving.active = activation;
        serving.waiting = None;
        Ok(())
    }
}

impl Serving {
    fn state(&self) -> BlockState {
        BlockState {
            sectors: self.medium.as_ref().map(|medium| medium.sectors()),
            readonly: self.medium.as_ref().is_some_and(|medium| medium.is_readonly()),
        }
    }
}

#[cfg(test)]
mod tests;
