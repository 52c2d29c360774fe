//! Every frame survives the wire; whatever else is on it is an error, never a panic.

mod common;

use std::io::{self, Write};

use common::{encoded, examples};
use proptest::collection::vec;
use proptest::prelude::*;
use provium_protocol::*;
use serde_bytes::ByteBuf;

fn bytes() -> impl Strategy<Value = ByteBuf> {
    vec(any::<u8>(), 0..40).prop_map(ByteBuf::from)
}

fn request() -> impl Strategy<Value = Request> {
    let exec = (
        vec(bytes(), 0..5),
        vec((bytes(), bytes()), 0..4),
        any::<(bool, bool)>(),
        proptest::option::of(bytes()),
        any::<Option<u64>>(),
    )
        .prop_map(|(argv, env, (env_clear, has_stdin), cwd, timeout_ms)| {
            Request::Exec(Exec {
                argv,
                env,
                env_clear,
                cwd,
                has_stdin,
                timeout_ms,
            })
        });
    let nested = any::<(u32, u32, u32)>().prop_map(|(parent, offset, child)| Nested {
        parent,
        offset,
        child,
    });
    let syscall = (
        any::<i64>(),
        any::<[u64; 6]>(),
        vec(bytes(), 0..5),
        vec(any::<(u8, u32)>(), 0..5),
        vec(nested, 0..5),
    )
        .prop_map(|(nr, args, bufs, ptrs, nested)| {
            Request::Syscall(Syscall {
                nr,
                args,
                bufs,
                ptrs,
                nested,
            })
        });
    prop_oneof![
        Just(Request::Ping),
        exec,
        bytes().prop_map(|path| Request::ReadFile { path }),
        (bytes(), any::<Option<u32>>()).prop_map(|(path, perm)| Request::WriteFile { path, perm }),
        (bytes(), any::<bool>()).prop_map(|(path, follow)| Request::Stat { path, follow }),
        syscall,
        any::<bool>().prop_map(|reboot| Request::Shutdown { reboot }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let status = prop_oneof![
        any::<i32>().prop_map(ExitStatus::Exited),
        any::<i32>().prop_map(ExitStatus::Signalled),
        Just(ExitStatus::TimedOut)
    ];
    let numbers = any::<(u64, [i64; 3], [u32; 3], [u64; 2], Option<Vec<u8>>)>();
    let stat =
        (numbers, 0..8usize).prop_map(|((size, times, [mode, uid, gid], [nlink, ino], target), kind)| {
            let entry_type = [
                EntryType::File,
                EntryType::Directory,
                EntryType::Symlink,
                EntryType::Fifo,
                EntryType::Socket,
                EntryType::BlockDevice,
                EntryType::CharDevice,
                EntryType::Other,
            ][kind];
            Response::Stat(Stat {
                size,
                atime_ns: times[0],
                mtime_ns: times[1],
                ctime_ns: times[2],
                mode,
                uid,
                gid,
                nlink,
                ino,
                entry_type,
                target: target.map(Into::into),
            })
        });
    let response = prop_oneof![
        Just(Response::Done),
        (status, any::<u64>())
            .prop_map(|(status, duration_ns)| Response::Exited(Exited { status, duration_ns })),
        any::<u64>().prop_map(|bytes| Response::Written { bytes }),
        stat,
        (any::<i64>(), vec(bytes(), 0..5)).prop_map(|(ret, bufs)| Response::Syscall { ret, bufs }),
    ];
    let error = any::<(Option<i32>, String)>().prop_map(|(errno, message)| OpError { errno, message });
    prop_oneof![response.prop_map(Ok), error.prop_map(Err)]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        any::<(String, u32, String, u32)>().prop_map(|(magic, version, build, pid)| Frame::Hello(Hello {
            magic,
            version,
            build,
            pid
        })),
        any::<u32>().prop_map(|version| Frame::Welcome(Welcome { version })),
        any::<String>().prop_map(|reason| Frame::Refused(Refused { reason })),
        request().prop_map(Frame::Request),
        reply().prop_map(Frame::Reply),
        (any::<u8>(), vec(any::<u8>(), 0..10_000))
            .prop_map(|(channel, bytes)| Frame::Data { channel, bytes }),
        any::<u8>().prop_map(|channel| Frame::End { channel }),
        any::<(u64, u64)>().prop_map(|(before, now)| Frame::Taint(Taint { before, now })),
    ]
}

/// A frame header before any bytes, so that the decoders behind it are reached.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    (1u8..9, vec(any::<u8>(), 0..300)).prop_map(|(kind, payload)| {
        let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(payload);
        bytes
    })
}

proptest! {
    #[test]
    fn every_frame_comes_back(frames in vec(frame(), 1..6)) {
        let wire: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let mut wire = wire.as_slice();
        for frame in frames {
            prop_assert_eq!(read_frame(&mut wire).expect("a frame"), frame);
        }
        prop_assert!(matches!(read_frame(&mut wire), Err(FrameError::Closed)));
    }

    #[test]
    fn a_cut_frame_is_truncated_wherever_it_is_cut(frame in frame()) {
        let wire = encoded(&frame);
        for cut in 1..wire.len() {
            match read_frame(&mut &wire[..cut]) {
                Err(FrameError::Truncated { got, wanted }) => {
                    prop_assert_eq!(got, cut);
                    prop_assert_eq!(wanted, if cut < 4 { 4 } else { wire.len() });
                }
                other => prop_assert!(false, "cut at {}: {:?}", cut, other),
            }
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        drain(&bytes);
    }

    #[test]
    fn any_payload_is_a_frame_or_an_error(bytes in garbage()) {
        drain(&bytes);
    }

    #[test]
    fn a_damaged_frame_is_a_frame_or_an_error(frame in frame(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut wire = encoded(&frame);
        let at = at.index(wire.len());
        wire[at] = to;
        drain(&wire);
    }
}

/// Reads until an error; a stream of bytes always comes to one.
fn drain(mut bytes: &[u8]) {
    while let Ok(frame) = read_frame(&mut bytes) {
        // What was read can be told on: its encoding is a frame again.
        assert_eq!(
            read_frame(&mut encoded(&frame).as_slice()).expect("a frame"),
            frame
        );
    }
}

fn refusal(wire: &[u8]) -> String {
    read_frame(&mut &wire[..]).expect_err("an error").to_string()
}

#[test]
fn errors_name_what_they_saw() {
    assert_eq!(refusal(&[]), "the other side closed the connection");
    assert_eq!(
        refusal(&[0, 0]),
        "the connection ended within a frame, after 2 of 4 bytes"
    );
    assert_eq!(
        refusal(&[0, 0, 0, 9, 6]),
        "the connection ended within a frame, after 5 of 13 bytes"
    );
    assert_eq!(
        refusal(&[0, 0, 0, 0]),
        "a frame with a length of 0; the shortest have 2"
    );
    assert_eq!(
        refusal(&[0, 0, 0, 1, 7]),
        "a frame with a length of 1; the shortest have 2"
    );
    assert_eq!(refusal(&[0, 0, 0, 2, 99, 0]), "unknown frame kind 99 (length 2)");
    assert_eq!(
        refusal(&[255; 6]),
        "a frame of 4294967299 bytes is over the limit of 34603008"
    );
    assert_eq!(
        refusal(&[2, 16, 0, 0]),
        "a frame of 34603012 bytes is over the limit of 34603008"
    );
    assert_eq!(
        refusal(&[0, 0, 0, 3, 7, 0, 0]),
        "malformed end of 2 bytes: it has more than a channel"
    );
    assert!(refusal(&[0, 0, 0, 2, 4, 0xc1]).starts_with("malformed request of 1 bytes: "));
    assert_eq!(
        refusal(&[0, 0, 0, 4, 2, 0x91, 7, 7]),
        "malformed welcome of 3 bytes: 1 bytes follow it"
    );
}

#[test]
fn nesting_is_cut_off() {
    // Each opens one level more than the frame can close; the first as a field that no message has, which a
    // decoder would skip over level by level.
    for (start, opening) in [
        (&b"\x81\xa1x"[..], &b"\x91"[..]),
        (b"\x81\xa1x", b"\x81\x00"),
        (b"", b"\x91"),
        (b"", b"\x81"),
        (b"", b"\x81\xa4Exec"),
        (b"", b"\xdd\x00\x00\x00\x01"),
    ] {
        for kind in 1..=5 {
            let payload = [start, &opening.repeat(1_000_000 / opening.len())].concat();
            let mut wire = (payload.len() as u32 + 1).to_be_bytes().to_vec();
            wire.push(kind);
            wire.extend(payload);
            assert!(matches!(
                read_frame(&mut wire.as_slice()),
                Err(FrameError::Malformed { .. })
            ));
        }
    }
}

#[test]
fn the_limit_is_the_same_for_both_sides() {
    let largest = Frame::Data {
        channel: 3,
        bytes: vec![7; MAX_FRAME - 6],
    };
    let wire = encoded(&largest);
    assert_eq!(wire.len(), MAX_FRAME);
    assert_eq!(
        read_frame(&mut wire.as_slice()).expect("the largest frame"),
        largest
    );

    for frame in [
        Frame::Data {
            channel: 3,
            bytes: vec![7; MAX_FRAME - 5],
        },
        Frame::Request(Request::ReadFile {
            path: vec![7; MAX_FRAME].into(),
        }),
    ] {
        let mut wire = Vec::new();
        let error = write_frame(&mut wire, &frame).expect_err("too long");
        assert!(
            matches!(error, FrameError::TooLong { limit: MAX_FRAME, .. }),
            "{error}"
        );
        assert!(wire.is_empty(), "nothing of a refused frame is written");
    }
}

/// Takes a few bytes at a time and only from the first slice, as a full socket does.
struct Reluctant(Vec<u8>);

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(5);
        self.0.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn data_is_cut_into_chunks_and_arrives_whole() {
    for size in [0, 1, 4096, 4097, DATA_CHUNK, 2 * DATA_CHUNK + 1] {
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let (mut plain, mut reluctant) = (Vec::new(), Reluctant(Vec::new()));
        write_data(&mut plain, STDOUT, &content).expect("written");
        write_data(&mut reluctant, STDOUT, &content).expect("written");
        assert_eq!(plain, reluctant.0);
        let (mut wire, mut arrived, mut frames) = (plain.as_slice(), Vec::new(), 0);
        while !wire.is_empty() {
            match read_frame(&mut wire).expect("a frame") {
                Frame::Data {
                    channel: STDOUT,
                    bytes,
                } => arrived.extend(bytes),
                other => panic!("{other:?}"),
            }
            frames += 1;
        }
        assert_eq!(arrived, content);
        assert_eq!(frames, size.div_ceil(DATA_CHUNK));
    }
}

#[test]
fn a_stream_that_takes_nothing_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for size in [10, 10_000] {
        assert!(matches!(
            write_data(&mut Full, BODY, &vec![0; size]),
            Err(FrameError::Io(_))
        ));
    }
}

#[test]
fn examples_come_back() {
    for frame in examples() {
        assert_eq!(
            read_frame(&mut encoded(&frame).as_slice()).expect("a frame"),
            frame
        );
    }
}
