//! The device: the registers' side, the queue, and the thread that serves it.
//!
//! Input: a driver's queue, media, the monitor's pauses. Output: requests done, one after the other. Not
//! here: what is in a request (`request`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::QueueT;

use super::backend::{Backend, FaultEffect, SECTOR};
use super::request::{self, Progress};
use crate::virtio::chain::next_chain;
use crate::virtio::device::{Activation, VirtioDevice, read_config_bytes};
use crate::virtio::saved::{BlockState, DeviceState};
use crate::{QueueState, StateError};

const QUEUE_SIZE: u16 = 256;
/// Longest time that a request is put off, 100 years: what can be added to the clock's time.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Most buffers of a request besides header and status.
pub(super) const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

const F_SEG_MAX: u64 = 1 << VIRTIO_BLK_F_SEG_MAX;
pub(super) const F_RO: u64 = 1 << VIRTIO_BLK_F_RO;
const F_BLK_SIZE: u64 = 1 << VIRTIO_BLK_F_BLK_SIZE;
pub(super) const F_FLUSH: u64 = 1 << VIRTIO_BLK_F_FLUSH;

/// The device as the transport sees it.
pub struct Block(Arc<BlockCore>);

/// The device as the host uses it; a clone is another handle on the same one.
#[derive(Clone)]
pub struct BlockHandle(pub(super) Arc<BlockCore>);

/// What the device's two handles share.
pub(super) struct BlockCore {
    pub(super) serving: Mutex<RequestQueue>,
    /// The medium again, for registers: no vCPU waits for a request.
    shown: Mutex<Option<Arc<dyn Backend>>>,
    signal: Mutex<WorkerSignal>,
    changed: Condvar,
}

/// The queue and the medium, locked while a piece of a request is done.
pub(super) struct RequestQueue {
    medium: Option<Arc<dyn Backend>>,
    active: Option<Activation>,
    paused: bool,
    pub(super) begun: Option<BegunRequest>,
}

/// The request at the head of the queue while its fault delays it, or between two pieces of it.
pub(super) struct BegunRequest {
    position: u16,
    pub(super) due: Instant,
    fails: bool,
    /// Bytes of its data that were moved.
    done: usize,
}

/// What wakes the thread that serves the queue.
#[derive(Default)]
struct WorkerSignal {
    /// Whether there may be something to do.
    kicked: bool,
    ended: bool,
}

/// What came of a look at the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServeStep {
    /// One request was done, or a piece of it.
    Served,
    /// There is no request, or none may be done now.
    Idle,
    /// The next one is delayed by that long yet.
    Later(Duration),
}

impl Block {
    /// An empty slot, paused: the device for the transport, and the host's handle.
    pub fn new() -> (Block, BlockHandle) {
        let shared = Arc::new(BlockCore {
            serving: Mutex::new(RequestQueue {
                medium: None,
                active: None,
                paused: true,
                begun: None,
            }),
            shown: Mutex::default(),
            signal: Mutex::default(),
            changed: Condvar::new(),
        });
        (Block(Arc::clone(&shared)), BlockHandle(shared))
    }
}

impl BlockCore {
    fn kick(&self) {
        self.signal.lock().kicked = true;
        self.changed.notify_all();
    }
}

impl BlockHandle {
    /// Puts a medium into the slot; one that was there is gone.
    pub fn insert(&self, medium: Arc<dyn Backend>) {
        let mut serving = self.0.serving.lock();
        *self.0.shown.lock() = Some(Arc::clone(&medium));
        serving.medium = Some(medium);
        serving.begun = None;
    }

    /// Empties the slot. A driver that still has the queue gets errors.
    pub fn eject(&self) {
        let mut serving = self.0.serving.lock();
        *self.0.shown.lock() = None;
        serving.medium = None;
        serving.begun = None;
    }

    /// Whether a driver has set the device up.
    pub fn is_active(&self) -> bool {
        self.0.serving.lock().active.is_some()
    }

    /// Pauses the queue: no request is under way when this returns, and none is taken until
    /// [`resume`](Self::resume).
    pub fn pause(&self) {
        self.0.serving.lock().paused = true;
    }

    /// Takes requests again.
    pub fn resume(&self) {
        self.0.serving.lock().paused = false;
        self.0.kick();
    }

    /// Makes [`serve`](Self::serve) return.
    pub fn end(&self) {
        self.0.signal.lock().ended = true;
        self.0.changed.notify_all();
    }

    /// Does the next request or the next piece of it, without waiting; whether there was one to be done. For
    /// who drives the device without a thread.
    pub fn serve_next(&self) -> bool {
        self.step() == ServeStep::Served
    }

    fn step(&self) -> ServeStep {
        let mut serving = self.0.serving.lock();
        let step = serving.step();
        // Whoever waits, to pause it for one, comes before the next piece.
        MutexGuard::unlock_fair(serving);
        step
    }

    /// Serves requests until [`end`](Self::end).
    pub fn serve(&self) {
        loop {
            if self.0.signal.lock().ended {
                return;
            }
            let limit = match self.step() {
                ServeStep::Served => continue,
                ServeStep::Idle => None,
                ServeStep::Later(limit) => Some(limit),
            };
            let mut signal = self.0.signal.lock();
            if !signal.kicked && !signal.ended {
                match limit {
                    None => self.0.changed.wait(&mut signal),
                    Some(limit) => {
                        self.0.changed.wait_for(&mut signal, limit);
                    }
                }
            }
            signal.kicked = false;
        }
    }
}

impl RequestQueue {
    /// Does the next request or the next piece of it, if there is one and its delay is over.
    pub(super) fn step(&mut self) -> ServeStep {
        let (Some(active), false) = (&mut self.active, self.paused) else {
            return ServeStep::Idle;
        };
        let queue = &mut active.queues[0];
        let position = queue.next_avail();
        let Some(chain) = next_chain(queue, &active.ram) else {
            return ServeStep::Idle;
        };
        let begun = self.begun.take().filter(|begun| begun.position == position);
        let begun = begun.unwrap_or_else(|| {
            let effect = match &self.medium {
                Some(medium) => medium.fault_effect(request::access(&active.ram, chain.clone())),
                None => FaultEffect::default(),
            };
            BegunRequest {
                position,
                due: Instant::now() + effect.delay.min(LONGEST_DELAY),
                fails: effect.fails,
                done: 0,
            }
        });
        let left = begun.due.saturating_duration_since(Instant::now());
        if left > Duration::ZERO {
            // It stays on the queue until its time has come.
            queue.set_next_avail(position);
            self.begun = Some(begun);
            return ServeStep::Later(left);
        }
        let head = chain.head_index();
        let medium = self.medium.as_deref().filter(|_| !begun.fails);
        let len = match request::execute(medium, &active.ram, chain, begun.done) {
            Progress::Done(len) => len,
            Progress::Partly(done) => {
                // It stays on the queue until all of it is done.
                queue.set_next_avail(position);
                self.begun = Some(BegunRequest { done, ..begun });
                return ServeStep::Served;
            }
        };
        let used = queue.add_used(&active.ram, head, len).is_ok();
        if used && queue.needs_notification(&active.ram).unwrap_or(true) {
            active.interrupt.used_buffer();
        }
        ServeStep::Served
    }
}

impl VirtioDevice for Block {
    fn device_id(&self) -> u32 {
        // An id of 0 is a slot without a device, section 4.2.3.1.1.
        self.0.shown.lock().as_ref().map_or(0, |_| VIRTIO_ID_BLOCK)
    }

    fn features(&self) -> u64 {
        let readonly = self.0.shown.lock().as_ref().is_some_and(|m| m.is_readonly());
        F_SEG_MAX | F_BLK_SIZE | F_FLUSH | if readonly { F_RO } else { 0 }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let sectors = self.0.shown.lock().as_ref().map_or(0, |m| m.sectors());
        // capacity, size_max, seg_max, geometry, blk_size
        let mut config = [0; 24];
        config[..8].copy_from_slice(&sectors.to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) {
        let mut serving = self.0.serving.lock();
        serving.active = Some(activation);
        serving.begun = None;
    }

    fn notify(&mut self, _index: u16) -> bool {
        self.0.kick();
        false
    }

    fn reset(&mut self) {
        let mut serving = self.0.serving.lock();
        serving.active = None;
        serving.begun = None;
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        let serving = self.0.serving.lock();
        let active = serving.active.as_ref()?;
        Some(active.queues.iter().map(QueueState::of).collect())
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block(self.0.serving.lock().state())
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        const WHO: &str = "disk";
        let DeviceState::Block(state) = state else {
            return Err(StateError::new(WHO, "it is another device's"));
        };
        let mut serving = self.0.serving.lock();
        let own = serving.state();
        if *state != own {
            let what = format!("it is of a medium with {state:?}, and this one has {own:?}");
            return Err(StateError::new(WHO, what));
        }
        serving.active = activation;
        serving.begun = None;
        Ok(())
    }
}

impl RequestQueue {
    fn state(&self) -> BlockState {
        BlockState {
            sectors: self.medium.as_ref().map(|medium| medium.sectors()),
            readonly: self.medium.as_ref().is_some_and(|medium| medium.is_readonly()),
        }
    }
}
