//! What an agent that lies does in place of a right answer.
//!
//! Input: the stream and the frames that would be right. Output: [`MISBEHAVIOURS`]. Not here: what the client
//! must do then.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use provium_protocol::*;

use super::{encoded, say, wait};

/// What is done in place of a right answer.
#[derive(Clone, Copy)]
pub(super) struct Misbehaviour {
    pub(super) name: &'static str,
    /// Does it; the frames would have been right.
    pub(super) act: fn(&mut UnixStream, &[Frame]),
    /// Whether it looks like silence, which only an op's own limit or the end of the machine ends.
    pub(super) silent: bool,
    /// In the error of an op, where it is no silence.
    pub(super) error: &'static str,
}

/// The same again and again until nobody listens.
pub(super) fn repeat(stream: &mut UnixStream, bytes: &[u8], pause: Duration) {
    while stream.write_all(bytes).is_ok() {
        thread::sleep(pause);
    }
}

pub(super) const AT_ONCE: Duration = Duration::ZERO;
pub(super) const SLOWLY: Duration = Duration::from_millis(10);

pub(super) const MISBEHAVIOURS: &[Misbehaviour] = &[
    Misbehaviour {
        name: "closes",
        act: |_, _| {},
        silent: false,
        error: "is lost",
    },
    Misbehaviour {
        name: "closes in mid-reply",
        act: |stream, right| {
            let bytes = encoded(right);
            say(stream, &bytes[..bytes.len() - 1]);
        },
        silent: false,
        error: "is lost: the connection ended within a frame",
    },
    Misbehaviour {
        name: "closes in a length",
        act: |stream, _| say(stream, &[0, 0]),
        silent: false,
        error: "is lost: the connection ended within a frame",
    },
    Misbehaviour {
        name: "promises a huge frame",
        act: |stream, _| {
            say(stream, &[0xff; 100]);
            wait(stream);
        },
        silent: false,
        error: "over the limit of",
    },
    Misbehaviour {
        name: "sends a frame of no length",
        act: |stream, _| {
            say(stream, &[0; 100]);
            wait(stream);
        },
        silent: false,
        error: "the shortest have 2",
    },
    Misbehaviour {
        name: "sends garbage for a reply",
        act: |stream, _| {
            say(stream, &[0, 0, 0, 5, 5, 0xc1, 0xc1, 0xc1, 0xc1]);
            wait(stream);
        },
        silent: false,
        error: "malformed reply",
    },
    Misbehaviour {
        name: "sends a deeply nested reply",
        act: |stream, _| {
            say(stream, &[&[0, 0, 0x10, 1, 5][..], &[0x91; 0x1000]].concat());
            wait(stream);
        },
        silent: false,
        error: "malformed reply",
    },
    Misbehaviour {
        name: "sends more than the reply in its frame",
        act: |stream, right| {
            let mut bytes = encoded(&right[right.len() - 1..]);
            let length = bytes.len() as u32 - 4 + 1;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            bytes.push(0);
            say(stream, &bytes);
            wait(stream);
        },
        silent: false,
        error: "1 bytes follow it",
    },
    Misbehaviour {
        name: "sends a frame of no known kind",
        act: |stream, _| {
            say(stream, &[0, 0, 0, 2, 99, 0]);
            wait(stream);
        },
        silent: false,
        error: "unknown frame kind 99",
    },
    Misbehaviour {
        name: "says hello again",
        act: |stream, _| {
            let hello = Hello {
                magic: MAGIC.to_owned(),
                version: VERSION + 1,
                build: "x".repeat(100_000),
                pid: 0,
            };
            say(stream, &encoded(&[Frame::Hello(hello)]));
            wait(stream);
        },
        silent: false,
        error: "a hello came where a reply was due",
    },
    Misbehaviour {
        name: "makes a request",
        act: |stream, _| {
            say(stream, &encoded(&[Frame::Request(Request::Ping)]));
            wait(stream);
        },
        silent: false,
        error: "a request came where a reply was due",
    },
    Misbehaviour {
        name: "sends data on a channel that nobody has",
        act: |stream, right| {
            let channel = 9;
            let bytes = vec![1; 100];
            say(stream, &encoded(&[Frame::Data { channel, bytes }]));
            say(stream, &encoded(right));
            wait(stream);
        },
        silent: false,
        error: "data came on channel 9",
    },
    Misbehaviour {
        name: "says nothing",
        act: |stream, _| wait(stream),
        silent: true,
        error: "",
    },
    Misbehaviour {
        name: "says nothing and hears nothing",
        act: |stream, _| {
            // Nothing is read, so that what the host still has to say finds no room.
            let mut closed = [rustix::event::PollFd::new(
                &*stream,
                rustix::event::PollFlags::empty(),
            )];
            let _ = rustix::event::poll(&mut closed, None);
        },
        silent: true,
        error: "",
    },
    Misbehaviour {
        name: "stops in mid-reply",
        act: |stream, right| {
            let bytes = encoded(right);
            say(stream, &bytes[..bytes.len() - 1]);
            wait(stream);
        },
        silent: true,
        error: "",
    },
    Misbehaviour {
        name: "drips",
        act: |stream, _| {
            say(stream, &[0, 1, 0, 0, 5]);
            repeat(stream, &[0x91], SLOWLY);
        },
        silent: true,
        error: "",
    },
    Misbehaviour {
        name: "ends data without end",
        act: |stream, _| repeat(stream, &encoded(&[Frame::End { channel: 1 }]), AT_ONCE),
        silent: true,
        error: "",
    },
];
