//! The device against a driver without a guest: the driver plays Linux's side of the protocol, and a few
//! things Linux would never do.

mod quiet;
mod saved;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::connection::HOST_BUFFER;
use super::packet::*;
use super::*;
use crate::irq::FakeLine;
use crate::virtio::fake::{BUFFER_SIZE, FakeDriver, ram};
use crate::virtio::mmio::MmioTransport;
use crate::virtio::registers::reg;
use crate::virtio::{F_EVENT_IDX, F_VERSION_1};

const CID: u32 = 3;
const SOON: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(30);
const RX_BUFFERS: u16 = 32;

struct Guest {
    driver: FakeDriver,
    line: Arc<FakeLine>,
    next_tx: u16,
    inbox: VecDeque<(Header, Vec<u8>)>,
}

impl Guest {
    fn new() -> (Vsock, Self) {
        let (vsock, mut guest) = Self::without_buffers();
        for id in 0..RX_BUFFERS {
            guest.driver.offer(0, id, Err(BUFFER_SIZE));
        }
        guest.driver.kick(0);
        (vsock, guest)
    }

    fn without_buffers() -> (Vsock, Self) {
        let vsock = Vsock::new(CID);
        let line = Arc::new(FakeLine::default());
        let mut driver = FakeDriver::new(MmioTransport::new(Box::new(vsock.clone()), ram(), line.clone()));
        driver.set_up(F_VERSION_1 | F_EVENT_IDX);
        (
            vsock,
            Self {
                driver,
                line,
                next_tx: 0,
                inbox: VecDeque::new(),
            },
        )
    }

    fn header(&self, host: u32, guest: u32, op: u16) -> Header {
        Header {
            src_cid: u64::from(CID),
            dst_cid: HOST_CID,
            src_port: guest,
            dst_port: host,
            socket_type: TYPE_STREAM,
            op,
            buf_alloc: 1 << 20,
            ..Header::default()
        }
    }

    fn send(&mut self, header: Header, payload: &[u8]) {
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        let id = self.next_tx % 256;
        self.next_tx = self.next_tx.wrapping_add(1);
        self.driver.offer(1, id, Ok(&bytes));
        self.driver.kick(1);
        while self.driver.take_used(1).is_some() {}
    }

    fn say(&mut self, host: u32, guest: u32, op: u16) {
        let header = self.header(host, guest, op);
        self.send(header, &[]);
    }

    /// Takes filled buffers, gives them back empty.
    fn poll(&mut self) {
        let mut refilled = false;
        while let Some((id, bytes)) = self.driver.take_used(0) {
            let (head, payload) = bytes.split_at(HEADER_SIZE);
            let header = Header::parse(head.try_into().unwrap());
            assert_eq!(header.len as usize, payload.len());
            self.inbox.push_back((header, payload.to_vec()));
            self.driver.offer(0, id, Err(BUFFER_SIZE));
            refilled = true;
        }
        if refilled {
            let status = self.driver.read(reg::INTERRUPT_STATUS);
            self.driver.write(reg::INTERRUPT_ACK, status);
            self.driver.kick(0);
        }
    }

    fn next(&mut self) -> Option<(Header, Vec<u8>)> {
        self.poll();
        self.inbox.pop_front()
    }

    fn expect(&mut self, op: u16) -> (Header, Vec<u8>) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some((header, payload)) = self.next() {
                assert_eq!(header.op, op, "{header:?}");
                assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, u64::from(CID)));
                return (header, payload);
            }
            assert!(Instant::now() < deadline, "no packet with op {op}");
            std::thread::yield_now();
        }
    }
}

/// A connection the guest has opened to host port 70 from its port 1000, the answer taken.
fn accepted() -> (Vsock, Guest, VsockStream, VsockListener) {
    let (vsock, mut guest) = Guest::new();
    let listener = vsock.listen(70).unwrap();
    guest.say(70, 1000, op::REQUEST);
    let stream = listener.accept(Some(SOON)).unwrap();
    guest.expect(op::RESPONSE);
    (vsock, guest, stream, listener)
}

#[test]
fn a_guest_connects_both_talk_and_the_guest_closes() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    let header = Header {
        len: 5,
        ..guest.header(70, 1000, op::RW)
    };
    guest.send(header, b"hello");
    let mut buf = [0; 16];
    assert_eq!(stream.read(&mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"hello");
    stream.write_all(b"hi there").unwrap();
    assert!(guest.line.is_high());
    let (header, payload) = guest.expect(op::RW);
    assert_eq!((payload.as_slice(), header.fwd_cnt), (&b"hi there"[..], 5));
    let bye = Header {
        flags: 3,
        ..guest.header(70, 1000, op::SHUTDOWN)
    };
    guest.send(bye, &[]);
    guest.expect(op::RST);
    assert_eq!(stream.read(&mut buf).unwrap(), 0);
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn the_host_connects_and_its_drop_closes() {
    let (vsock, mut guest) = Guest::new();
    let caller = std::thread::spawn({
        let vsock = vsock.clone();
        move || vsock.connect(22, SOON).unwrap()
    });
    let (request, _) = guest.expect(op::REQUEST);
    assert_eq!(request.dst_port, 22);
    guest.say(request.src_port, 22, op::RESPONSE);
    let stream = caller.join().unwrap();
    let second = stream.try_clone().unwrap();
    drop(stream);
    (&second).write_all(b"still here").unwrap();
    guest.expect(op::RW);
    drop(second);
    let (header, _) = guest.expect(op::SHUTDOWN);
    assert_eq!(header.flags, 3);
    guest.say(request.src_port, 22, op::RST);
    assert!(guest.next().is_none(), "a confirmed close is not answered");
}

#[test]
fn connecting_where_nobody_listens_or_answers_says_so() {
    let (vsock, mut guest) = Guest::new();
    let caller = std::thread::spawn({
        let vsock = vsock.clone();
        move || vsock.connect(22, SOON).unwrap_err()
    });
    let (request, _) = guest.expect(op::REQUEST);
    guest.say(request.src_port, 22, op::RST);
    assert_eq!(caller.join().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(vsock.connect(22, MOMENT).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(guest.expect(op::REQUEST).0.dst_port, 22);
    guest.expect(op::RST);
    vsock.end();
    assert_eq!(
        vsock.connect(22, SOON).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_request_before_the_driver_is_there_waits_for_it() {
    let vsock = Vsock::new(CID);
    let caller = std::thread::spawn({
        let vsock = vsock.clone();
        move || vsock.connect(22, SOON).map(|_| ())
    });
    std::thread::sleep(MOMENT);
    let line = Arc::new(FakeLine::default());
    let driver = FakeDriver::new(MmioTransport::new(Box::new(vsock), ram(), line.clone()));
    let mut guest = Guest {
        driver,
        line,
        next_tx: 0,
        inbox: VecDeque::new(),
    };
    guest.driver.set_up(F_VERSION_1);
    guest.driver.offer(0, 0, Err(BUFFER_SIZE));
    guest.driver.kick(0);
    let (request, _) = guest.expect(op::REQUEST);
    guest.say(request.src_port, 22, op::RESPONSE);
    caller.join().unwrap().unwrap();
}

#[test]
fn strangers_are_refused_and_foreign_addresses_ignored() {
    let (vsock, mut guest) = Guest::new();
    let _listener = vsock.listen(70).unwrap();
    assert_eq!(vsock.listen(70).unwrap_err().kind(), ErrorKind::AddrInUse);
    guest.say(71, 5, op::REQUEST);
    guest.expect(op::RST);
    guest.say(70, 5, op::RW);
    guest.expect(op::RST);
    guest.say(70, 5, op::RST);
    assert!(guest.next().is_none(), "a reset is never answered by a reset");
    let datagram = Header {
        socket_type: 3,
        ..guest.header(70, 5, op::REQUEST)
    };
    guest.send(datagram, &[]);
    assert_eq!(guest.expect(op::RST).0.socket_type, 3);
    for (src_cid, dst_cid) in [(4, 2), (3, 9)] {
        let foreign = Header {
            src_cid,
            dst_cid,
            ..guest.header(70, 5, op::REQUEST)
        };
        guest.send(foreign, &[]);
        assert!(guest.next().is_none());
    }
}

#[test]
fn a_full_backlog_refuses_and_a_dropped_listener_resets_who_waits() {
    let (vsock, mut guest) = Guest::new();
    let listener = vsock.listen(70).unwrap();
    let mut refused = 0;
    for port in 0..130 {
        guest.say(70, port, op::REQUEST);
        while let Some((header, _)) = guest.next() {
            refused += u32::from(header.op == op::RST);
        }
    }
    assert_eq!(refused, 2);
    drop(listener);
    let mut resets = 0;
    while let Some((header, _)) = guest.next() {
        assert_eq!(header.op, op::RST);
        resets += 1;
    }
    assert_eq!(resets, 128);
}

#[test]
fn a_guest_that_overruns_its_credit_is_cut_off() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    let chunk = [7; 4000];
    let header = Header {
        len: 4000,
        ..guest.header(70, 1000, op::RW)
    };
    for _ in 0..HOST_BUFFER / 4000 {
        guest.send(header, &chunk);
    }
    assert!(guest.next().is_none());
    guest.send(header, &chunk);
    guest.expect(op::RST);
    let mut all = Vec::new();
    let error = stream.read_to_end(&mut all).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        all.len() as u32,
        HOST_BUFFER / 4000 * 4000,
        "what came within the credit is not lost"
    );
}

#[test]
fn a_guest_that_keeps_its_queue_full_holds_up_nobody() {
    let (vsock, mut guest, stream, _listener) = accepted();
    let update = guest.header(70, 1000, op::CREDIT_UPDATE).to_bytes();
    for _ in 0..256 {
        let id = guest.next_tx % 256;
        guest.next_tx = guest.next_tx.wrapping_add(1);
        guest.driver.offer(1, id, Ok(&update));
    }
    stream.set_read_timeout(Some(MOMENT));
    guest.driver.keep_full(1, |driver| {
        std::thread::scope(|scope| {
            let host = scope.spawn(|| (&stream).read(&mut [0]).unwrap_err().kind());
            // The processor that has kicked, until the host's call has come back.
            let mut all = 0;
            while all < 10_000 || !host.is_finished() {
                let before = driver.used_index(1);
                driver.kick(1);
                let taken = driver.used_index(1).wrapping_sub(before);
                assert!(taken <= 256, "{taken} packets at once");
                all += usize::from(taken);
            }
            assert_eq!(host.join().unwrap(), ErrorKind::TimedOut);
        });
    });
    // It may have added some since the device looked.
    guest.driver.kick(1);
    while guest.driver.go_on() {}
    assert_eq!(
        guest.driver.used_index(1),
        guest.driver.available_index(1),
        "nothing is left"
    );
    assert_eq!(vsock.held_connections(), 1);
}

#[test]
fn a_driver_that_comes_after_the_end_gives_no_memory_to_keep() {
    let (vsock, mut guest) = Guest::without_buffers();
    vsock.end();
    assert!(crate::virtio::VirtioDevice::queues(&vsock).is_none());
    guest.driver.set_up(F_VERSION_1);
    guest.driver.kick(1);
    assert!(crate::virtio::VirtioDevice::queues(&vsock).is_none());
}

#[test]
fn buffers_that_hold_no_byte_keep_no_writer() {
    let (_vsock, mut guest) = Guest::without_buffers();
    for id in 0..256 {
        guest.driver.offer(0, id, Err(HEADER_SIZE as u32));
    }
    let listener = _vsock.listen(70).unwrap();
    guest.say(70, 1000, op::REQUEST);
    let stream = listener.accept(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(MOMENT));
    guest.driver.keep_full(0, |driver| {
        let before = driver.used_index(0);
        // Each buffer takes a header, and nothing of what is to be sent.
        let error = (&stream).write(&[1; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_ne!(driver.used_index(0), before);
    });
}

#[test]
fn a_lying_length_resets_the_connection() {
    for len in [10u32, 70_000, u32::MAX] {
        let (_vsock, mut guest, mut stream, _listener) = accepted();
        let header = Header {
            len,
            ..guest.header(70, 1000, op::RW)
        };
        guest.send(header, b"short");
        guest.expect(op::RST);
        assert_eq!(
            stream.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    }
}

#[test]
fn a_writer_keeps_within_the_guests_credit_and_asks_when_nothing_moves() {
    let (_vsock, mut guest, stream, _listener) = accepted();
    let update = Header {
        buf_alloc: 10,
        fwd_cnt: 0,
        ..guest.header(70, 1000, op::CREDIT_UPDATE)
    };
    guest.send(update, &[]);
    assert_eq!((&stream).write(&[1; 100]).unwrap(), 10);
    assert_eq!(guest.expect(op::RW).1.len(), 10);
    stream.set_write_timeout(Some(MOMENT));
    assert_eq!(
        (&stream).write(&[1; 100]).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    guest.expect(op::CREDIT_REQUEST);
    assert_eq!(
        (&stream).write(&[1; 100]).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    assert!(guest.next().is_none(), "it asks once, not at every try");
    stream.set_write_timeout(Some(SOON));
    let writer = std::thread::spawn(move || (&stream).write(&[2; 100]).map(|n| (n, stream)));
    std::thread::sleep(MOMENT);
    let update = Header {
        buf_alloc: 10,
        fwd_cnt: 4,
        ..guest.header(70, 1000, op::CREDIT_UPDATE)
    };
    guest.send(update, &[]);
    assert_eq!(writer.join().unwrap().unwrap().0, 4);
}

#[test]
fn half_closed_connections_carry_the_other_half() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, SHUTDOWN_SEND);
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let header = Header {
        len: 4,
        ..guest.header(70, 1000, op::RW)
    };
    guest.send(header, b"last");
    let bye = Header {
        flags: SHUTDOWN_SEND,
        ..guest.header(70, 1000, op::SHUTDOWN)
    };
    guest.send(bye, &[]);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last");
}

#[test]
fn readers_time_out_and_wake_when_the_machine_ends() {
    let (vsock, _guest, mut stream, listener) = accepted();
    stream.set_read_timeout(Some(MOMENT));
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(
        listener.accept(Some(MOMENT)).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    stream.set_read_timeout(None);
    let reader = std::thread::spawn(move || stream.read(&mut [0]).unwrap_err().kind());
    let acceptor = std::thread::spawn(move || listener.accept(None).unwrap_err().kind());
    std::thread::sleep(MOMENT);
    vsock.end();
    assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
    assert_eq!(acceptor.join().unwrap(), ErrorKind::ConnectionReset);
}

#[test]
fn a_driver_reset_ends_connections_but_not_listeners() {
    let (_vsock, mut guest, mut stream, listener) = accepted();
    guest.driver.set_up(F_VERSION_1);
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    guest.driver.offer(0, 0, Err(BUFFER_SIZE));
    guest.driver.kick(0);
    guest.say(70, 1000, op::REQUEST);
    guest.expect(op::RESPONSE);
    listener.accept(Some(SOON)).unwrap();
}

#[test]
fn a_flood_without_receive_buffers_is_held_up_not_stored() {
    let (_vsock, mut guest) = Guest::without_buffers();
    for id in 0..256u16 {
        let header = guest.header(9, u32::from(id), op::REQUEST);
        guest.driver.offer(1, id, Ok(&header.to_bytes()));
    }
    guest.driver.kick(1);
    let mut done = 0;
    while guest.driver.take_used(1).is_some() {
        done += 1;
    }
    for id in 0..256u16 {
        let header = guest.header(9, u32::from(id), op::REQUEST);
        guest.driver.offer(1, id, Ok(&header.to_bytes()));
    }
    guest.driver.kick(1);
    while guest.driver.take_used(1).is_some() {
        done += 1;
    }
    assert_eq!(done, 256, "the rest waits in the guest's own memory");
    for id in 0..RX_BUFFERS {
        guest.driver.offer(0, id, Err(BUFFER_SIZE));
    }
    guest.driver.kick(0);
    let mut answers = 0;
    let deadline = Instant::now() + SOON;
    while answers < 512 {
        answers += usize::from(guest.next().is_some());
        assert!(Instant::now() < deadline, "{answers} of 512 answers");
    }
}

#[test]
fn too_small_receive_buffers_do_not_wedge_the_device() {
    let (vsock, mut guest) = Guest::without_buffers();
    let _listener = vsock.listen(70).unwrap();
    guest.say(70, 1, op::REQUEST);
    guest.driver.offer(0, 0, Err(20));
    guest.driver.offer_raw(0, 1, u64::MAX - 64, 4096, true);
    guest.driver.kick(0);
    assert_eq!(guest.driver.take_used(0), Some((0, vec![])));
}

/// Moves `len` bytes each way over one connection at once while `stalled` others have unread data.
#[test]
fn megabytes_both_ways_arrive_whole_while_other_readers_stall() {
    const LEN: usize = 8 << 20;
    let (vsock, mut guest, stream, listener) = accepted();
    // Three more connections whose host readers never read.
    let mut stalled = Vec::new();
    for port in 2000..2003 {
        guest.say(70, port, op::REQUEST);
        guest.expect(op::RESPONSE);
        stalled.push(listener.accept(Some(SOON)).unwrap());
        let header = Header {
            len: 4000,
            ..guest.header(70, port, op::RW)
        };
        for _ in 0..HOST_BUFFER / 4000 {
            guest.send(header, &[9; 4000]);
        }
    }
    let pattern = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; LEN];
        reading.read_exact(&mut all).unwrap();
        all
    });
    let mut writing = stream;
    let writer = std::thread::spawn(move || {
        let data: Vec<u8> = (0..LEN).map(pattern).collect();
        writing.write_all(&data).unwrap();
        writing
    });
    // The guest's side: obeys the host's credit, grants a small buffer of its own.
    let (mut sent, mut received, mut host_fwd, mut host_alloc) = (0usize, Vec::new(), 0u32, HOST_BUFFER);
    let deadline = Instant::now() + Duration::from_secs(60);
    while sent < LEN || received.len() < LEN {
        assert!(
            Instant::now() < deadline,
            "stuck at {sent} sent, {} received",
            received.len()
        );
        while let Some((header, payload)) = guest.next() {
            (host_fwd, host_alloc) = (header.fwd_cnt, header.buf_alloc);
            received.extend_from_slice(&payload);
        }
        let mut header = guest.header(70, 1000, op::CREDIT_UPDATE);
        header.buf_alloc = 20_000;
        header.fwd_cnt = received.len() as u32;
        let room = (host_alloc - (sent as u32).wrapping_sub(host_fwd)) as usize;
        let len = room.min(LEN - sent).min(4000);
        if len > 0 {
            header.op = op::RW;
            header.len = len as u32;
            let chunk: Vec<u8> = (sent..sent + len).map(pattern).collect();
            guest.send(header, &chunk);
            sent += len;
        } else {
            guest.send(header, &[]);
            std::thread::yield_now();
        }
    }
    let expected: Vec<u8> = (0..LEN).map(pattern).collect();
    assert!(received == expected, "guest's bytes differ");
    assert!(reader.join().unwrap() == expected, "host's bytes differ");
    drop(writer.join().unwrap());
    drop((vsock, stalled));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever packets a guest makes up, the device answers and a good connection still works after.
    #[test]
    fn no_packet_breaks_the_device(
        packets in prop::collection::vec(
            (any::<[u8; 44]>(), prop::collection::vec(any::<u8>(), 0..200), any::<bool>(), 0u16..9, 0u32..3, 0u32..3),
            0..40,
        )
    ) {
        let (_vsock, mut guest, _stream, listener) = accepted();
        for (bytes, payload, plausible, kind, host, port) in packets {
            let mut header = Header::parse(&bytes);
            if plausible {
                header = Header {
                    op: kind,
                    len: payload.len() as u32,
                    flags: header.flags % 4,
                    buf_alloc: header.buf_alloc,
                    fwd_cnt: header.fwd_cnt,
                    ..guest.header(70 + host, 1000 + port, kind)
                };
            }
            guest.send(header, &payload);
            while guest.next().is_some() {}
        }
        while listener.accept(Some(Duration::ZERO)).is_ok() {}
        while guest.next().is_some() {}
        guest.say(70, 4000, op::REQUEST);
        guest.expect(op::RESPONSE);
        let stream = listener.accept(Some(SOON)).unwrap();
        (&stream).write_all(b"alive").unwrap();
        prop_assert_eq!(guest.expect(op::RW).1, b"alive");
    }
}
