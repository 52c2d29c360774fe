//! The device is saved and restored before a guest that does not notice, and before states nobody saved.

use super::*;
use crate::StateError;
use crate::bus::BusDevice;
use crate::virtio::saved::TransportState;
use crate::virtio::saved::{ConnectionState, DeviceState, OpenDirections, PhaseState, RngState, VsockState};

impl Guest {
    fn save(&self) -> TransportState {
        self.driver.transport().save()
    }

    fn restore(&self, state: &TransportState) -> Result<(), StateError> {
        self.driver.transport().restore(state)
    }

    /// The same guest, its memory and its driver, before a device that knows of nothing yet.
    fn elsewhere(&self) -> (Vsock, Guest) {
        self.before_device_of(CID)
    }

    /// The same guest before a device that was made for a guest with context id `cid`.
    fn before_device_of(&self, cid: u32) -> (Vsock, Guest) {
        let vsock = Vsock::new(cid);
        let line = Arc::new(FakeLine::default());
        let transport = MmioTransport::new(Box::new(vsock.clone()), ram(), line.clone());
        let guest = Guest {
            driver: self.driver.onto(transport),
            line,
            next_tx: self.next_tx,
            inbox: self.inbox.clone(),
        };
        (vsock, guest)
    }

    /// The same guest before a device that was given what this one's has saved.
    fn resumed(&self) -> (Vsock, Guest) {
        let (vsock, guest) = self.elsewhere();
        guest.restore(&self.save()).unwrap();
        guest.driver.transport().kick();
        (vsock, guest)
    }

    fn send_bytes(&mut self, bytes: &[u8], taken: usize) {
        let header = Header {
            len: bytes.len() as u32,
            fwd_cnt: taken as u32,
            ..self.header(70, 1000, op::RW)
        };
        self.send(header, bytes);
    }
}

fn vsock_state(state: &mut TransportState) -> &mut VsockState {
    match &mut state.device {
        DeviceState::Vsock(state) => state,
        other => panic!("{other:?}"),
    }
}

fn pattern(range: std::ops::Range<usize>) -> Vec<u8> {
    range
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8)
        .collect()
}

const PORTS: (u32, u32) = (70, 1000);

#[test]
fn a_connection_in_mid_flight_goes_on_elsewhere_and_no_byte_is_lost_or_doubled() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    assert_eq!(stream.ports(), Some(PORTS));
    guest.send_bytes(&pattern(0..3000), 0);
    let mut start = vec![0; 1000];
    stream.read_exact(&mut start).unwrap();
    // Every receive buffer is filled, so that what the device has to say next has to wait.
    let mut written = 0;
    stream.set_write_timeout(Some(MOMENT));
    while let Ok(bytes) = stream.write(&pattern(written..written + 10_000)) {
        written += bytes;
    }
    guest.say(70, 1000, op::CREDIT_REQUEST);
    let mut state = guest.save();
    assert_eq!(vsock_state(&mut state).control.len(), 1);
    assert_eq!(vsock_state(&mut state).connections[0].received.len(), 2000);

    let (vsock, mut guest) = guest.resumed();
    assert_eq!(
        guest.save(),
        state,
        "nothing can move before the guest takes something"
    );
    assert_eq!(vsock.held_connections(), 0);
    let mut stream = vsock.adopt(PORTS).unwrap();
    assert_eq!((stream.ports(), vsock.held_connections()), (Some(PORTS), 1));
    vsock.close_unclaimed();

    let mut received = Vec::new();
    while received.len() < written {
        let (header, payload) = guest.expect(op::RW);
        assert_eq!(header.fwd_cnt, 1000);
        received.extend(payload);
    }
    assert_eq!(guest.expect(op::CREDIT_UPDATE).0.fwd_cnt, 1000);
    assert!(received == pattern(0..written), "the bytes under way");
    let mut rest = vec![0; 2000];
    stream.read_exact(&mut rest).unwrap();
    assert!([start, rest].concat() == pattern(0..3000), "the bytes unread");
    // Both ways once more, and both counts are right.
    stream.write_all(b"host").unwrap();
    let (header, payload) = guest.expect(op::RW);
    assert_eq!((header.fwd_cnt, payload.as_slice()), (3000, &b"host"[..]));
    guest.send_bytes(b"guest", written + 4);
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"guest");
    assert!(guest.next().is_none());
}

#[test]
fn a_restored_device_has_the_context_id_that_its_guest_knows() {
    let (_vsock, guest, _stream, _listener) = accepted();
    let state = guest.save();
    let (vsock, mut guest) = guest.before_device_of(77);
    assert_eq!(vsock.cid(), 77);
    guest.restore(&state).unwrap();
    assert_eq!(vsock.cid(), CID);
    let mut config = [0; 8];
    guest.driver.transport().read(reg::CONFIG, &mut config);
    assert_eq!(u64::from_le_bytes(config), u64::from(CID));
    let mut stream = vsock.adopt(PORTS).unwrap();
    stream.write_all(b"host").unwrap();
    let (header, payload) = guest.expect(op::RW);
    assert_eq!(
        (header.dst_cid, payload.as_slice()),
        (u64::from(CID), &b"host"[..])
    );
    guest.send_bytes(b"guest", 4);
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"guest");
}

#[test]
fn the_guests_credit_is_part_of_the_state() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    let update = Header {
        buf_alloc: 10,
        ..guest.header(70, 1000, op::CREDIT_UPDATE)
    };
    guest.send(update, &[]);
    assert_eq!(stream.write(&[1; 7]).unwrap(), 7);
    let (vsock, mut guest) = guest.resumed();
    let mut stream = vsock.adopt(PORTS).unwrap();
    assert_eq!(stream.write(&[1; 100]).unwrap(), 3);
    stream.set_write_timeout(Some(MOMENT));
    assert_eq!(stream.write(&[1]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(guest.expect(op::RW).1.len(), 7);
    assert_eq!(guest.expect(op::RW).1.len(), 3);
}

#[test]
fn half_closed_and_closing_connections_stay_what_they_are() {
    let (_vsock, mut guest, stream, listener) = accepted();
    stream.shutdown(Shutdown::Write).unwrap();
    guest.expect(op::SHUTDOWN);
    guest.say(70, 1001, op::REQUEST);
    drop(listener.accept(Some(SOON)).unwrap());
    guest.expect(op::RESPONSE);
    guest.expect(op::SHUTDOWN);
    let (vsock, mut guest) = guest.resumed();
    assert!(vsock.adopt((70, 1001)).is_none(), "the host had let go of it");
    let mut stream = vsock.adopt(PORTS).unwrap();
    vsock.close_unclaimed();
    assert!(guest.next().is_none(), "a closing connection is not closed twice");
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    guest.send_bytes(b"last", 0);
    let bye = Header {
        flags: SHUTDOWN_SEND,
        ..guest.header(70, 1000, op::SHUTDOWN)
    };
    guest.send(bye, &[]);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last");
    guest.say(70, 1001, op::RST);
    assert!(guest.next().is_none());
}

#[test]
fn a_restore_in_place_fails_every_stream_held_before_and_wakes_who_waits() {
    let (vsock, mut guest, mut old, listener) = accepted();
    let state = guest.save();
    guest.send_bytes(b"after", 0);
    guest.say(70, 1001, op::REQUEST);
    let mut late = listener.accept(Some(SOON)).unwrap();
    guest.say(70, 1002, op::REQUEST);
    let reader = std::thread::spawn(move || {
        let kind = late.read(&mut [0]).unwrap_err().kind();
        (kind, late)
    });
    let caller = std::thread::spawn({
        let vsock = vsock.clone();
        move || vsock.connect(22, SOON).map(drop).unwrap_err().kind()
    });
    let deadline = Instant::now() + SOON;
    while vsock.held_connections() < 3 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    std::thread::sleep(MOMENT);
    guest.restore(&state).unwrap();
    let (kind, late) = reader.join().unwrap();
    assert_eq!(kind, ErrorKind::ConnectionReset);
    assert_eq!(caller.join().unwrap(), ErrorKind::ConnectionRefused);
    assert_eq!(old.ports(), None);
    assert_eq!(vsock.held_connections(), 0);
    let mut new = vsock.adopt(PORTS).unwrap();
    // What came after the save is still there for who held the old stream, and for nobody else.
    let mut buf = [0; 16];
    assert_eq!(old.read(&mut buf).unwrap(), 5);
    assert_eq!(old.read(&mut buf).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(old.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    new.set_read_timeout(Some(MOMENT));
    assert_eq!(new.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    old.shutdown(Shutdown::Both).unwrap();
    drop((old, late));
    assert_eq!(
        vsock.held_connections(),
        1,
        "the old stream's end is not the new one's"
    );
    assert_eq!(
        listener.accept(Some(Duration::ZERO)).unwrap_err().kind(),
        ErrorKind::TimedOut,
        "who had called after the save has not called"
    );
    new.write_all(b"new").unwrap();
}

#[test]
fn a_device_without_its_queues_touches_no_memory_whoever_writes() {
    let (vsock, mut guest, mut stream, _listener) = accepted();
    let state = guest.save();
    let memory = |guest: &Guest| {
        let mut bytes = vec![0; 4 << 20];
        vm_memory::Bytes::read_slice(guest.driver.ram(), &mut bytes, vm_memory::GuestAddress(0)).unwrap();
        bytes
    };
    let before = memory(&guest);
    guest.driver.transport().detach_queues();
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(vsock.connect(22, MOMENT).unwrap_err().kind(), ErrorKind::TimedOut);
    drop(stream);
    assert!(memory(&guest) == before, "the guest's memory has changed");
    guest.restore(&state).unwrap();
    assert_eq!(guest.save(), state);
    vsock.adopt(PORTS).unwrap().write_all(b"back").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"back");
}

#[test]
fn what_nobody_claims_is_reset_and_what_is_claimed_is_claimed_once() {
    let (_vsock, mut guest, _stream, listener) = accepted();
    guest.say(70, 1001, op::REQUEST);
    guest.expect(op::RESPONSE);
    let _second = listener.accept(Some(SOON)).unwrap();
    let (vsock, mut guest) = guest.resumed();
    assert!(vsock.adopt((70, 999)).is_none());
    let stream = vsock.adopt(PORTS).unwrap();
    assert!(vsock.adopt(PORTS).is_none());
    vsock.close_unclaimed();
    let (reset, _) = guest.expect(op::RST);
    assert_eq!((reset.src_port, reset.dst_port), (70, 1001));
    vsock.close_unclaimed();
    assert!(guest.next().is_none());
    assert!(vsock.adopt((70, 1001)).is_none());
    (&stream).write_all(b"kept").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"kept");
}

#[test]
fn a_call_that_the_guest_has_not_heard_of_is_taken_back() {
    let (vsock, guest) = Guest::without_buffers();
    let caller = std::thread::spawn({
        let vsock = vsock.clone();
        move || vsock.connect(22, SOON).map(drop)
    });
    let deadline = Instant::now() + SOON;
    while vsock_state(&mut guest.save()).connections.is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let (restored, mut guest) = guest.resumed();
    restored.close_unclaimed();
    for id in 0..RX_BUFFERS {
        guest.driver.offer(0, id, Err(BUFFER_SIZE));
    }
    guest.driver.kick(0);
    assert!(
        guest.next().is_none(),
        "the guest hears of neither the call nor its end"
    );
    vsock.end();
    assert!(caller.join().unwrap().is_err());
}

#[test]
fn however_many_calls_time_out_the_state_can_be_restored() {
    let (vsock, guest) = Guest::without_buffers();
    for _ in 0..3000 {
        let error = vsock.connect(22, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let (_, other) = guest.elsewhere();
    other.restore(&guest.save()).unwrap();
}

#[test]
fn states_this_device_cannot_have_saved_are_refused_and_change_nothing() {
    let (_vsock, mut guest, mut stream, _listener) = accepted();
    guest.send_bytes(b"kept", 0);
    let good = guest.save();
    type Spoil = fn(&mut VsockState);
    let spoils: [(&str, Spoil); 8] = [
        ("context id 2", |state| state.guest_cid = 2),
        ("context id 4294967295", |state| {
            state.guest_cid = u64::from(u32::MAX)
        }),
        ("next port 5", |state| state.next_port = 5),
        ("two connections", |state| {
            state.connections.push(state.connections[0].clone());
        }),
        ("1025 connections", |state| {
            let first = state.connections[0].clone();
            state.connections = (0..1025)
                .map(|guest_port| ConnectionState {
                    guest_port,
                    ..first.clone()
                })
                .collect();
        }),
        ("bytes received", |state| {
            state.connections[0].received = vec![0; HOST_BUFFER as usize + 1];
        }),
        ("has not 44 bytes", |state| state.control.push(vec![0; 43].into())),
        ("packets that wait", |state| {
            state.control = vec![vec![0; 44].into(); 10_000];
        }),
    ];
    for (expected, spoil) in spoils {
        let mut state = good.clone();
        spoil(vsock_state(&mut state));
        let error = guest.restore(&state).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(guest.save(), good, "{expected}");
    }
    let other_device = TransportState {
        device: DeviceState::Rng(RngState { stream: None }),
        ..good.clone()
    };
    assert!(guest.restore(&other_device).is_err());
    let mut buf = [0; 4];
    stream.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"kept", "the stream lives on");
}

fn any_connection() -> impl Strategy<Value = ConnectionState> {
    let phase = prop_oneof![
        Just(PhaseState::Connecting),
        Just(PhaseState::Open),
        Just(PhaseState::Closing)
    ];
    let received = prop::collection::vec(any::<u8>(), 0..100);
    let flags = any::<[bool; 5]>();
    let counts = any::<[u32; 5]>();
    (68u32..72, 998u32..1002, phase, received, flags, counts).prop_map(
        |(host_port, guest_port, phase, received, flags, counts)| ConnectionState {
            host_port,
            guest_port,
            phase,
            received,
            guest: OpenDirections {
                sends: flags[0],
                receives: flags[1],
            },
            host: OpenDirections {
                sends: flags[2],
                receives: flags[3],
            },
            credit_requested: flags[4],
            taken: counts[0],
            advertised: counts[1],
            sent: counts[2],
            guest_buffer: counts[3],
            guest_taken: counts[4],
        },
    )
}

fn any_state() -> impl Strategy<Value = VsockState> {
    let header = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 44),
        1 => prop::collection::vec(any::<u8>(), 0..60)
    ];
    let control = prop::collection::vec(header.prop_map(Into::into), 0..6);
    let connections = prop::collection::vec(any_connection(), 0..5);
    (
        prop_oneof![9 => Just(u64::from(CID)), 1 => 0..u64::from(CID), 1 => any::<u64>().prop_map(|id| id | 1 << 32)],
        any::<u32>(),
        control,
        connections,
    )
        .prop_map(|(guest_cid, next_port, control, connections)| VsockState {
            guest_cid,
            next_port: next_port | 0x4000_0000,
            control,
            connections,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any state is either refused and changes nothing, or taken over as it is; a new connection works after
    /// it.
    #[test]
    fn no_state_breaks_the_device(device in any_state()) {
        let (vsock, mut guest, _stream, listener) = accepted();
        let good = guest.save();
        let mut state = TransportState {
            device: DeviceState::Vsock(device),
            ..good.clone()
        };
        match guest.restore(&state) {
            Err(_) => prop_assert_eq!(guest.save(), good),
            Ok(()) => {
                vsock_state(&mut state).connections.sort_by_key(|c| (c.host_port, c.guest_port));
                prop_assert_eq!(guest.save(), state.clone());
                for connection in &vsock_state(&mut state).connections {
                    let ports = (connection.host_port, connection.guest_port);
                    if let Some(mut stream) = vsock.adopt(ports) {
                        stream.set_read_timeout(Some(Duration::ZERO));
                        stream.set_write_timeout(Some(Duration::ZERO));
                        let _ = stream.read(&mut [0; 1000]);
                        let _ = stream.write(&[0; 1000]);
                    }
                }
                vsock.close_unclaimed();
            }
        }
        guest.driver.transport().kick();
        while guest.driver.take_used(0).is_some() {}
        for id in 0..RX_BUFFERS {
            guest.driver.offer(0, id, Err(BUFFER_SIZE));
        }
        guest.driver.kick(0);
        while guest.next().is_some() {}
        guest.say(70, 4000, op::REQUEST);
        guest.expect(op::RESPONSE);
        let stream = listener.accept(Some(SOON)).unwrap();
        (&stream).write_all(b"alive").unwrap();
        prop_assert_eq!(guest.expect(op::RW).1, b"alive");
    }
}
