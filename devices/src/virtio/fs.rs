//! virtio-fs, virtio 1.2 section 5.11: a queue of FUSE requests, and one for those that must not wait.
//!
//! Input: requests, as bytes. Output: answers of a [`FileServer`], in the buffers that came with the
//! requests. Not here: FUSE; files.
//!
//! Requests are served on the thread that notifies, as those of the random number device are: what they want
//! is in the host's page cache, mostly, and a thread of its own would cost two wake-ups for each. So a paused
//! machine has no request under way, and there is nothing to wait for.

use std::io::{Read, Write};

use virtio_bindings::virtio_ids::VIRTIO_ID_FS;
use virtio_queue::QueueT;

use super::chain::{Batch, Chain};
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::saved::{DeviceState, FsState};
use crate::{GuestRam, QueueState, StateError};

/// What the guest mounts: `mount -t virtiofs provium FOLDER`.
pub const TAG: &str = "provium";
/// Descriptors of the queue for FORGET, and of that for everything else.
const QUEUE_SIZES: [u16; 2] = [128, 256];
/// Most bytes of a request: a write of 128 KiB, and what is in front of it.
const MAX_REQUEST: usize = (128 << 10) + 4096;
/// Most bytes of an answer: as much that was read, and what is in front of it.
const MAX_REPLY: usize = (128 << 10) + 4096;

/// What answers requests of FUSE.
pub trait FileServer: Send {
    /// Serves a request, which may be anything at all. The answer, at most `room` bytes, is put into `reply`,
    /// which is left empty where there is none.
    fn answer(&mut self, request: &[u8], room: usize, reply: &mut Vec<u8>);
    /// Forgets what the guest knows: its driver has gone.
    fn reset(&mut self);
    /// What it serves and what the guest knows.
    fn save(&self) -> FsState;
    /// Serves what was saved, which is not trusted.
    ///
    /// # Errors
    /// When no server can have been in that state; nothing has changed then.
    fn restore(&mut self, state: &FsState) -> Result<(), StateError>;
}

/// The device.
pub struct Fs {
    server: Box<dyn FileServer>,
    active: Option<Activation>,
    /// The request and the answer in hand; their memory is used again.
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Fs {
    /// A device in front of `server`.
    pub fn new(server: Box<dyn FileServer>) -> Fs {
        Fs {
            server,
            active: None,
            request: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Serves one chain; the number of bytes of the answer.
    fn serve(&mut self, ram: &GuestRam, chain: Chain<'_>) -> u32 {
        let (Ok(reader), Ok(mut writer)) = (chain.clone().reader(ram), chain.writer(ram)) else {
            return 0;
        };
        // One that is longer than any may be is cut, and means nothing then.
        self.request.clear();
        let read = reader.take(MAX_REQUEST as u64).read_to_end(&mut self.request);
        if read.is_err() {
            return 0;
        }
        let room = writer.available_bytes().min(MAX_REPLY);
        self.server.answer(&self.request, room, &mut self.reply);
        if self.reply.is_empty() || self.reply.len() > room {
            return 0;
        }
        match writer.write_all(&self.reply) {
            Ok(()) => self.reply.len() as u32,
            Err(_) => 0,
        }
    }
}

impl VirtioDevice for Fs {
    fn device_id(&self) -> u32 {
        // Also where there is nothing to serve: what that is may come with a saved state.
        VIRTIO_ID_FS
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // tag, num_request_queues
        let mut config = [0; 40];
        config[..TAG.len()].copy_from_slice(TAG.as_bytes());
        config[36..].copy_from_slice(&1u32.to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) {
        self.active = Some(activation);
    }

    fn notify(&mut self, index: u16) -> bool {
        let Some(mut active) = self.active.take() else {
            return false;
        };
        let queue = &mut active.queues[usize::from(index)];
        let mut batch = Batch::of(queue);
        let mut served = false;
        while let Some(chain) = batch.next(queue, &active.ram) {
            let head = chain.head_index();
            let len = self.serve(&active.ram, chain);
            served |= queue.add_used(&active.ram, head, len).is_ok();
        }
        if served && queue.needs_notification(&active.ram).unwrap_or(true) {
            active.interrupt.used_buffer();
        }
        self.active = Some(active);
        batch.is_over()
    }

    fn reset(&mut self) {
        self.active = None;
        self.server.reset();
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        let active = self.active.as_ref()?;
        Some(active.queues.iter().map(QueueState::of).collect())
    }

    fn save(&self) -> DeviceState {
        DeviceState::Fs(self.server.save())
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        let DeviceState::Fs(state) = state else {
            return Err(StateError::new("shared folders", "it is another device's"));
        };
        self.server.restore(state)?;
        self.active = activation;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::irq::FakeLine;
    use crate::virtio::F_VERSION_1;
    use crate::virtio::fake::{FakeDriver, ram};
    use crate::virtio::mmio::MmioTransport;
    use crate::virtio::saved::FsNodeState;

    /// Answers with the request, but for one that begins with a zero; what it knows is how many there were.
    #[derive(Default)]
    struct Echo {
        served: u64,
    }

    impl FileServer for Echo {
        fn answer(&mut self, request: &[u8], room: usize, reply: &mut Vec<u8>) {
            self.served += 1;
            reply.clear();
            if request.first() != Some(&0) {
                reply.extend_from_slice(&request[..request.len().min(room)]);
            }
        }

        fn reset(&mut self) {
            self.served = 0;
        }

        fn save(&self) -> FsState {
            FsState {
                next_node: self.served,
                ..FsState::default()
            }
        }

        fn restore(&mut self, state: &FsState) -> Result<(), StateError> {
            if state.nodes != Vec::<FsNodeState>::new() {
                return Err(StateError::new("echo", "it has no nodes"));
            }
            self.served = state.next_node;
            Ok(())
        }
    }

    fn driver() -> (FakeDriver, Arc<FakeLine>) {
        let line = Arc::new(FakeLine::default());
        let device = Fs::new(Box::new(Echo::default()));
        let mut driver = FakeDriver::new(MmioTransport::new(Box::new(device), ram(), line.clone()));
        driver.set_up(F_VERSION_1);
        (driver, line)
    }

    #[test]
    fn requests_of_both_queues_are_answered_where_they_ask_for_it() {
        let (mut driver, line) = driver();
        for queue in [0, 1] {
            driver.offer_chain(queue, &[(0, Ok(b"hello")), (1, Err(16))]);
            driver.kick(queue);
            assert_eq!(driver.take_used_head(queue), Some((0, 5)));
            assert_eq!(driver.content(queue, 1, 5), b"hello");
            assert!(line.is_high());
        }
        driver.offer(1, 0, Ok(&[0, 1]));
        driver.kick(1);
        assert_eq!(driver.take_used(1), Some((0, Vec::new())));
    }

    #[test]
    fn a_guest_is_told_the_tag_and_of_one_queue_of_requests() {
        let (driver, _) = driver();
        let config: Vec<u8> = (0..10)
            .flat_map(|word| {
                driver
                    .read(crate::virtio::registers::reg::CONFIG + word * 4)
                    .to_le_bytes()
            })
            .collect();
        assert_eq!(&config[..8], b"provium\0");
        assert_eq!(config[36..], [1, 0, 0, 0]);
    }

    #[test]
    fn answers_have_the_room_they_were_given_and_bad_chains_come_back_empty() {
        let (mut driver, _) = driver();
        driver.offer_chain(1, &[(0, Ok(b"a long request")), (1, Err(4))]);
        driver.kick(1);
        assert_eq!(driver.take_used_head(1), Some((0, 4)));
        driver.offer_raw(1, 0, u64::MAX - 10, 64, true);
        driver.offer_loop(1, 1);
        driver.offer(1, 2, Err(64));
        driver.kick(1);
        for id in 0..3 {
            assert_eq!(driver.take_used_head(1), Some((id, 0)));
        }
    }

    #[test]
    fn a_saved_device_goes_on_and_a_foreign_state_changes_nothing() {
        let (mut driver, line) = driver();
        driver.offer(1, 0, Ok(b"one"));
        driver.kick(1);
        driver.take_used_head(1);
        let state = driver.transport().save();
        let other = Fs::new(Box::new(Echo::default()));
        let mut other = driver.onto(MmioTransport::new(Box::new(other), ram(), line));
        other.transport().restore(&state).unwrap();
        assert_eq!(other.transport().save(), state);
        other.offer_chain(1, &[(0, Ok(b"two")), (1, Err(16))]);
        other.kick(1);
        assert_eq!(other.take_used_head(1), Some((0, 3)));
    }
}
