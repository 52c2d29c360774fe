//! The device against a driver without a guest and a medium in memory.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vm_memory::{Bytes, GuestAddress};

use super::device::{F_FLUSH, F_RO, SEG_MAX, ServeStep};
use super::*;
use crate::irq::FakeLine;
use crate::virtio::fake::{FakeDriver, ram};
use crate::virtio::mmio::MmioTransport;
use crate::virtio::registers::reg;
use crate::virtio::{F_EVENT_IDX, F_VERSION_1};

const SECTORS: u64 = 64;

/// A medium in memory that counts and does as it is told.
struct Memory {
    bytes: Mutex<Vec<u8>>,
    readonly: bool,
    flushes: Mutex<usize>,
    seen: Mutex<Vec<Access>>,
    effect: Mutex<FaultEffect>,
}

impl Memory {
    fn new(readonly: bool) -> Arc<Memory> {
        Arc::new(Memory {
            bytes: Mutex::new((0..SECTORS * SECTOR).map(|at| (at / SECTOR) as u8).collect()),
            readonly,
            flushes: Mutex::default(),
            seen: Mutex::default(),
            effect: Mutex::default(),
        })
    }
}

impl Backend for Memory {
    fn sectors(&self) -> u64 {
        SECTORS
    }
    fn is_readonly(&self) -> bool {
        self.readonly
    }
    fn id(&self) -> [u8; ID_BYTES] {
        *b"scratch\0\0\0\0\0\0\0\0\0\0\0\0\0"
    }
    fn fault_effect(&self, access: Access) -> FaultEffect {
        self.seen.lock().push(access);
        *self.effect.lock()
    }
    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()> {
        let at = (sector * SECTOR) as usize;
        data.copy_from_slice(&self.bytes.lock()[at..at + data.len()]);
        Ok(())
    }
    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        let at = (sector * SECTOR) as usize;
        self.bytes.lock()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        *self.flushes.lock() += 1;
        Ok(())
    }
}

struct Bench {
    driver: FakeDriver,
    handle: BlockHandle,
    medium: Arc<Memory>,
    line: Arc<FakeLine>,
}

fn bench(readonly: bool) -> Bench {
    let (device, handle) = Block::new();
    let medium = Memory::new(readonly);
    handle.insert(medium.clone());
    handle.resume();
    let line = Arc::new(FakeLine::default());
    let mut driver = FakeDriver::new(MmioTransport::new(Box::new(device), ram(), line.clone()));
    driver.set_up(F_VERSION_1 | F_EVENT_IDX | F_FLUSH);
    Bench {
        driver,
        handle,
        medium,
        line,
    }
}

fn head(kind: u32, sector: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sector.to_le_bytes());
    bytes
}

impl Bench {
    fn serve(&self) {
        while self.handle.0.serving.lock().step() == ServeStep::Served {}
    }

    /// Status of a request with these buffers behind its header; descriptor 9 is the status byte.
    fn request(&mut self, kind: u32, sector: u64, data: &[(u16, Result<&[u8], u32>)]) -> u8 {
        let header = head(kind, sector);
        let mut parts = vec![(0, Ok(&header[..]))];
        parts.extend_from_slice(data);
        parts.push((9, Err(1)));
        self.driver.offer_chain(0, &parts);
        self.driver.kick(0);
        self.serve();
        assert_eq!(self.driver.take_used_head(0).expect("it comes back").0, 0);
        self.driver.content(0, 9, 1)[0]
    }
}

#[test]
fn sectors_are_read_and_written_where_they_are_asked_for() {
    let mut bench = bench(false);
    assert_eq!(
        bench.request(1, 3, &[(1, Ok(&[0xaa; 512])), (2, Ok(&[0xbb; 1024]))]),
        0
    );
    assert_eq!(bench.request(0, 2, &[(1, Err(1024)), (2, Err(1536))]), 0);
    let mut read = bench.driver.content(0, 1, 1024);
    read.extend(bench.driver.content(0, 2, 1536));
    let expected: Vec<u8> = [2, 0xaa, 0xbb, 0xbb, 6]
        .iter()
        .flat_map(|byte| [*byte; 512])
        .collect();
    assert!(read == expected);
    assert!(bench.line.is_high());
    let seen = bench.medium.seen.lock().clone();
    assert_eq!(seen, [Access::Write(3, 3), Access::Read(2, 5)]);
}

#[test]
fn a_large_request_is_done_in_pieces_and_a_pause_comes_in_between() {
    const LEN: u32 = 1 << 20;
    for kind in [0, 1] {
        let (device, handle) = Block::new();
        let medium = Arc::new(Counted::default());
        handle.insert(medium.clone());
        handle.resume();
        let mut driver = FakeDriver::new(MmioTransport::new(
            Box::new(device),
            ram(),
            Arc::new(FakeLine::default()),
        ));
        driver.set_up(F_VERSION_1 | F_FLUSH);
        // Five times the same megabyte of memory.
        let header = head(kind, 8);
        let mut parts = vec![(0, Ok(&header[..]))];
        parts.extend((1..=5).map(|id| (id, Err(LEN))));
        parts.push((9, Err(1)));
        driver.offer_chain(0, &parts);
        if kind == 1 {
            // To be read by the device, for which a fake buffer would be too small.
            for id in 1..=5u64 {
                driver.ram().write_obj(1u16, GuestAddress(id * 16 + 12)).unwrap();
            }
        }
        let step = || handle.0.serving.lock().step();
        assert_eq!(step(), ServeStep::Served);
        assert_eq!(medium.moved(), [(8, request::PIECE as u64)]);
        handle.pause();
        assert_eq!(step(), ServeStep::Idle);
        assert_eq!(driver.take_used_head(0), None, "it is not done");
        let saved = driver.transport().save().queues[0];
        assert_eq!(
            (saved.next_avail, saved.next_used),
            (0, 0),
            "it is on the queue as before"
        );
        handle.resume();
        assert_eq!(
            (step(), step(), step()),
            (ServeStep::Served, ServeStep::Served, ServeStep::Idle)
        );
        assert_eq!(medium.moved(), [(8, 5 * u64::from(LEN))]);
        let written = if kind == 0 { 5 * LEN + 1 } else { 1 };
        assert_eq!(driver.take_used_head(0), Some((0, written)));
        assert_eq!(driver.content(0, 9, 1), [0]);
        assert_eq!(medium.effects.lock().len(), 1, "faults are asked once");
    }
}

/// A large medium that only notes what is asked of it: first sector and bytes, what follows on joined.
#[derive(Default)]
struct Counted {
    moved: Mutex<Vec<(u64, u64)>>,
    effects: Mutex<Vec<Access>>,
}

impl Counted {
    fn moved(&self) -> Vec<(u64, u64)> {
        self.moved.lock().clone()
    }

    fn note(&self, sector: u64, len: usize) -> io::Result<()> {
        let mut moved = self.moved.lock();
        match moved.last_mut() {
            Some((first, bytes)) if *first + *bytes / SECTOR == sector => *bytes += len as u64,
            _ => moved.push((sector, len as u64)),
        }
        Ok(())
    }
}

impl Backend for Counted {
    fn sectors(&self) -> u64 {
        1 << 20
    }
    fn is_readonly(&self) -> bool {
        false
    }
    fn id(&self) -> [u8; ID_BYTES] {
        [0; ID_BYTES]
    }
    fn fault_effect(&self, access: Access) -> FaultEffect {
        self.effects.lock().push(access);
        FaultEffect::default()
    }
    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()> {
        self.note(sector, data.len())
    }
    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        self.note(sector, data.len())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn registers_are_read_while_a_request_takes_its_time() {
    let bench = bench(false);
    let _busy = bench.handle.0.serving.lock();
    assert_eq!(bench.driver.read(reg::DEVICE_ID), 2);
    assert_eq!(bench.driver.read(reg::CONFIG), SECTORS as u32);
    assert_eq!(bench.driver.read(reg::DEVICE_FEATURES) & F_RO as u32, 0);
}

#[test]
fn the_driver_learns_capacity_name_and_that_it_may_flush() {
    let mut bench = bench(false);
    assert_eq!(bench.driver.read(reg::DEVICE_ID), 2);
    assert_eq!(bench.driver.read(reg::CONFIG), SECTORS as u32);
    assert_eq!(bench.driver.read(reg::CONFIG + 12), SEG_MAX);
    assert_eq!(bench.driver.read(reg::CONFIG + 20), 512);
    assert_eq!(bench.request(4, 0, &[]), 0);
    assert_eq!(*bench.medium.flushes.lock(), 1);
    assert_eq!(bench.request(8, 0, &[(1, Err(20))]), 0);
    assert_eq!(&bench.driver.content(0, 1, 8), b"scratch\0");
    assert_eq!(bench.request(77, 0, &[]), S_UNSUPPORTED);
}

const S_UNSUPPORTED: u8 = 2;
const S_ERROR: u8 = 1;

#[test]
fn what_no_good_driver_asks_for_is_an_error_and_nothing_more() {
    let mut bench = bench(false);
    let before = bench.medium.bytes.lock().clone();
    let block = [7; 512];
    for (kind, sector, data) in [
        (0, SECTORS, Err(512)),
        (0, u64::MAX, Err(512)),
        (0, SECTORS - 1, Err(1024)),
        (0, 0, Err(511)),
        (1, SECTORS, Ok(&block[..])),
        (1, u64::MAX - 1, Ok(&block[..])),
        (1, 0, Ok(&block[..100])),
    ] {
        assert_eq!(
            bench.request(kind, sector, &[(1, data)]),
            S_ERROR,
            "{kind} at {sector}"
        );
    }
    // No status byte, half a header, a buffer outside of memory, a chain without end.
    let header = head(1, 0);
    bench.driver.offer_chain(0, &[(0, Ok(&header)), (1, Ok(&block))]);
    bench.driver.offer(0, 2, Ok(&header[..8]));
    bench.driver.offer_raw(0, 3, u64::MAX - 8, 512, true);
    bench.driver.offer_loop(0, 4);
    bench.driver.kick(0);
    bench.serve();
    for id in [0, 2, 3, 4] {
        assert_eq!(bench.driver.take_used_head(0), Some((id, 0)));
    }
    assert!(*bench.medium.bytes.lock() == before);
    assert_eq!(bench.request(0, 0, &[(1, Err(512))]), 0, "the device goes on");
}

#[test]
fn a_medium_that_cannot_be_written_says_so_and_means_it() {
    let mut bench = bench(true);
    assert_eq!(u64::from(bench.driver.read(reg::DEVICE_FEATURES)) & F_RO, F_RO);
    assert_eq!(bench.request(1, 0, &[(1, Ok(&[1; 512]))]), S_ERROR);
    assert_eq!(bench.request(0, 0, &[(1, Err(512))]), 0);
}

#[test]
fn a_request_that_fails_or_takes_its_time_does_so_once() {
    let mut bench = bench(false);
    *bench.medium.effect.lock() = FaultEffect {
        fails: true,
        ..FaultEffect::default()
    };
    assert_eq!(bench.request(0, 1, &[(1, Err(512))]), S_ERROR);
    *bench.medium.effect.lock() = FaultEffect {
        delay: Duration::from_secs(3600),
        fails: false,
    };
    let header = head(0, 1);
    bench
        .driver
        .offer_chain(0, &[(0, Ok(&header)), (1, Err(512)), (9, Err(1))]);
    bench.driver.kick(0);
    for _ in 0..3 {
        assert!(matches!(
            bench.handle.0.serving.lock().step(),
            ServeStep::Later(_)
        ));
    }
    assert_eq!(bench.driver.take_used_head(0), None);
    assert_eq!(bench.medium.seen.lock().len(), 2, "asked once for each");
    // It has not been taken off the queue, so a saved device has it still to do.
    let state = bench.driver.transport().save();
    assert_eq!(state.queues[0].next_avail, 1);
    bench.handle.0.serving.lock().begun.as_mut().unwrap().due = Instant::now();
    bench.serve();
    assert_eq!(bench.driver.take_used_head(0), Some((0, 513)));
}

#[test]
fn nothing_is_served_while_paused_and_what_came_is_done_by_whoever_gets_the_state() {
    let mut bench = bench(false);
    bench.handle.pause();
    let header = head(1, 5);
    bench
        .driver
        .offer_chain(0, &[(0, Ok(&header)), (1, Ok(&[9; 512])), (9, Err(1))]);
    bench.driver.kick(0);
    bench.serve();
    assert_eq!(bench.driver.take_used_head(0), None);
    let state = bench.driver.transport().save();

    let (device, handle) = Block::new();
    let line = Arc::new(FakeLine::default());
    let mut other = bench
        .driver
        .onto(MmioTransport::new(Box::new(device), ram(), line));
    let error = other.transport().restore(&state).unwrap_err().to_string();
    assert!(error.contains("device 2, and this is 0"), "{error}");
    let medium = Memory::new(true);
    handle.insert(medium);
    assert!(other.transport().restore(&state).is_err(), "it is read-only");
    let medium = Memory::new(false);
    handle.insert(medium.clone());
    other.transport().restore(&state).unwrap();
    assert_eq!(other.transport().save(), state);
    handle.resume();
    while handle.0.serving.lock().step() == ServeStep::Served {}
    assert_eq!(other.take_used_head(0), Some((0, 1)));
    assert_eq!(medium.bytes.lock()[5 * 512], 9);
}

#[test]
fn an_empty_slot_is_no_device_and_a_driver_that_stays_gets_errors() {
    let mut bench = bench(false);
    bench.handle.eject();
    assert_eq!(bench.driver.read(reg::DEVICE_ID), 0);
    assert_eq!(bench.request(0, 0, &[(1, Err(512))]), S_ERROR);
    bench.driver.write(reg::STATUS, 0);
    assert!(!bench.handle.is_active());
}

#[test]
fn a_thread_serves_until_it_is_told_to_end() {
    let mut bench = bench(false);
    let handle = bench.handle.clone();
    let thread = std::thread::spawn(move || handle.serve());
    let header = head(0, 1);
    for _ in 0..300 {
        bench
            .driver
            .offer_chain(0, &[(0, Ok(&header)), (1, Err(512)), (9, Err(1))]);
        bench.driver.kick(0);
        while bench.driver.take_used_head(0).is_none() {
            std::thread::yield_now();
        }
    }
    bench.handle.end();
    thread.join().unwrap();
}
