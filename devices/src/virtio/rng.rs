//! virtio-rng, virtio 1.2 section 5.4: one queue of buffers that the device fills with random bytes.
//!
//! Input: empty buffers. Output: the same, filled from the host's generator or, with a seed, from a stream
//! that is the same on every run, so that a test can have its luck twice. Not here: secrets; the seeded
//! stream is none.

use std::io::Write;

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_queue::QueueT;

use super::chain::{Batch, Chain};
use super::device::{Activation, VirtioDevice};
use super::saved::{DeviceState, RngState};
use crate::{GuestRam, QueueState, StateError};

/// Most bytes that one request is given; the driver asks again for more.
const MAX_REQUEST: usize = 64 * 1024;

/// The random number device.
pub struct Rng {
    source: EntropySource,
    active: Option<Activation>,
}

/// Where the random bytes come from.
enum EntropySource {
    Host,
    Seeded(SplitMix64),
}

impl Rng {
    /// A device that gives random bytes of the host, or with `seed` the stream that belongs to it.
    pub fn new(seed: Option<u64>) -> Self {
        let source = seed.map_or(EntropySource::Host, |seed| {
            EntropySource::Seeded(SplitMix64(seed))
        });
        Self { source, active: None }
    }
}

impl VirtioDevice for Rng {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64]
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn activate(&mut self, activation: Activation) {
        self.active = Some(activation);
    }

    fn notify(&mut self, _index: u16) -> bool {
        let Some(active) = &mut self.active else {
            return false;
        };
        let queue = &mut active.queues[0];
        let mut batch = Batch::of(queue);
        let mut served = false;
        while let Some(chain) = batch.next(queue, &active.ram) {
            let head = chain.head_index();
            let len = fill(&mut self.source, &active.ram, chain);
            served |= queue.add_used(&active.ram, head, len).is_ok();
        }
        if served && queue.needs_notification(&active.ram).unwrap_or(true) {
            active.interrupt.used_buffer();
        }
        batch.is_over()
    }

    fn reset(&mut self) {
        self.active = None;
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        let active = self.active.as_ref()?;
        Some(active.queues.iter().map(QueueState::of).collect())
    }

    fn save(&self) -> DeviceState {
        let stream = match &self.source {
            EntropySource::Host => None,
            EntropySource::Seeded(stream) => Some(stream.0),
        };
        DeviceState::Rng(RngState { stream })
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        let DeviceState::Rng(state) = state else {
            return Err(StateError::new("random number device", "it is another device's"));
        };
        self.source = state
            .stream
            .map_or(EntropySource::Host, |at| EntropySource::Seeded(SplitMix64(at)));
        self.active = activation;
        Ok(())
    }
}

fn fill(source: &mut EntropySource, ram: &GuestRam, chain: Chain<'_>) -> u32 {
    let Ok(mut writer) = chain.writer(ram) else {
        return 0;
    };
    let mut bytes = vec![0; writer.available_bytes().min(MAX_REQUEST)];
    match source {
        EntropySource::Host => {
            if rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
                != Ok(bytes.len())
            {
                return 0;
            }
        }
        EntropySource::Seeded(stream) => stream.fill(&mut bytes),
    }
    match writer.write_all(&bytes) {
        Ok(()) => bytes.len() as u32,
        Err(_) => 0,
    }
}

/// Sebastiano Vigna's SplitMix64: small, fast, and any seed will do. Not for secrets, nor are the tests.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::irq::FakeLine;
    use crate::virtio::fake::{FakeDriver, ram};
    use crate::virtio::mmio::MmioTransport;
    use crate::virtio::{F_EVENT_IDX, F_VERSION_1};

    fn driver(seed: Option<u64>, features: u64) -> (FakeDriver, Arc<FakeLine>) {
        let line = Arc::new(FakeLine::default());
        let mut driver = FakeDriver::new(MmioTransport::new(Box::new(Rng::new(seed)), ram(), line.clone()));
        driver.set_up(F_VERSION_1 | features);
        (driver, line)
    }

    fn take(driver: &mut FakeDriver, len: u32) -> Vec<u8> {
        driver.offer(0, 0, Err(len));
        driver.kick(0);
        driver.take_used(0).expect("the buffer comes back").1
    }

    #[test]
    fn buffers_come_back_full_and_interrupt() {
        for features in [0, F_EVENT_IDX] {
            let (mut driver, line) = driver(None, features);
            let bytes = take(&mut driver, 256);
            assert_eq!(bytes.len(), 256);
            assert!(bytes.iter().any(|&b| b != 0));
            assert!(line.is_high());
        }
    }

    #[test]
    fn a_seed_repeats_itself_and_no_seed_does_not() {
        let take = |seed| take(&mut driver(seed, 0).0, 64);
        assert_eq!(take(Some(7)), take(Some(7)));
        assert_ne!(take(Some(7)), take(Some(8)));
        assert_ne!(take(None), take(None));
    }

    #[test]
    fn a_saved_stream_goes_on_where_it_was() {
        let (mut driver, line) = driver(Some(7), F_EVENT_IDX);
        take(&mut driver, 64);
        let state = driver.transport().save();
        let mut other = driver.onto(MmioTransport::new(Box::new(Rng::new(None)), ram(), line));
        let expected = take(&mut driver, 64);
        other.transport().restore(&state).unwrap();
        assert_eq!(other.transport().save(), state);
        assert_eq!(take(&mut other, 64), expected);
    }

    #[test]
    fn many_requests_wrap_around_the_ring() {
        let (mut driver, _) = driver(Some(1), F_EVENT_IDX);
        for round in 0..1000u32 {
            assert_eq!(take(&mut driver, 1 + round % 64).len(), 1 + (round % 64) as usize);
        }
    }

    #[test]
    fn a_queue_that_never_gets_empty_is_served_a_ring_at_a_time() {
        let (mut driver, _) = driver(Some(1), 0);
        for id in 0..64 {
            driver.offer(0, id, Err(16));
        }
        driver.keep_full(0, |driver| {
            while driver.used_index(0) < 1000 {
                let before = driver.used_index(0);
                driver.kick(0);
                assert!(driver.used_index(0) - before <= 64);
                let before = driver.used_index(0);
                driver.go_on();
                assert!(driver.used_index(0) - before <= 64);
            }
        });
        // It may have added some since the device looked.
        driver.kick(0);
        while driver.go_on() {}
        assert_eq!(driver.used_index(0), driver.available_index(0), "nothing is left");
    }

    #[test]
    fn buffers_that_lie_outside_memory_or_cannot_be_written_come_back_empty() {
        let (mut driver, _) = driver(None, 0);
        driver.offer_raw(0, 0, u64::MAX - 10, 64, true);
        driver.offer(0, 1, Ok(b"readable"));
        driver.offer_loop(0, 2);
        driver.kick(0);
        for id in 0..3 {
            let (got, bytes) = driver.take_used(0).expect("every chain is given back");
            assert_eq!((got, bytes.len()), (id, 0));
        }
        assert_eq!(take(&mut driver, 16).len(), 16, "the device goes on");
    }
}
