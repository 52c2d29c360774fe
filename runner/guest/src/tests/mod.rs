//! The client against the real agent, whose sessions need no more than a socket, and against peers that lie.
//!
//! ```text
//! session   a real agent, and peers that break off
//! scripted  peers that expect one request after the other
//! hostile   every request there is against every misbehaviour
//! lab       labs whose VMs never boot, and barriers
//! ```
//!
//! Input: a pair of sockets. Output: what the client makes of the peer. Not here: guests.

mod hostile;
mod lab;
mod scripted;
mod session;

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use provium_protocol::*;

use crate::local_agent::LocalAgent;
use crate::{ExecSpec, GuestClient, GuestError};

const LIMIT: Duration = Duration::from_secs(60);

/// A client of a real agent session, which runs on a thread of this process and ends with the client.
fn agent() -> GuestClient {
    LocalAgent::default().session()
}

/// A client whose peer, once welcomed, is `peer`.
fn with_peer(peer: impl FnOnce(UnixStream) + Send + 'static) -> GuestClient {
    let (host, mut guest) = UnixStream::pair().expect("a pair of sockets");
    thread::spawn(move || {
        write_frame(&mut guest, &Frame::Hello(hello())).expect("a hello");
        assert!(matches!(read_frame(&mut guest), Ok(Frame::Welcome(_))));
        peer(guest);
    });
    GuestClient::handshake(Box::new(host), LIMIT).expect("a welcome")
}

fn hello() -> Hello {
    Hello {
        magic: MAGIC.to_owned(),
        version: VERSION,
        build: "9.9.9".to_owned(),
        pid: 42,
    }
}

/// What comes of a handshake with a peer that says this first, and what the peer then hears.
fn refused(first: Frame) -> (GuestError, Option<Frame>) {
    let (host, mut guest) = UnixStream::pair().expect("a pair of sockets");
    write_frame(&mut guest, &first).expect("a frame");
    let error = GuestClient::handshake(Box::new(host), LIMIT).expect_err("a refusal");
    (error, read_frame(&mut guest).ok())
}

fn shell(line: &str) -> ExecSpec {
    ExecSpec::shell(line)
}

/// A peer that reads this request and its body, then says these frames.
fn answers(mut stream: UnixStream, wanted: &Request, say: Vec<Frame>) -> (UnixStream, Vec<u8>) {
    let Ok(Frame::Request(got)) = read_frame(&mut stream) else {
        panic!("a request was due");
    };
    assert_eq!(got, *wanted);
    let mut body = Vec::new();
    while got.has_body() {
        match read_frame(&mut stream) {
            Ok(Frame::Data { bytes, .. }) => body.extend(bytes),
            Ok(Frame::End { .. }) => break,
            other => panic!("{other:?} within a body"),
        }
    }
    for frame in say {
        write_frame(&mut stream, &frame).expect("a frame");
    }
    (stream, body)
}

fn reply(response: Response) -> Frame {
    Frame::Reply(Ok(response))
}

fn data(channel: u8, bytes: &[u8]) -> Frame {
    Frame::Data {
        channel,
        bytes: bytes.to_vec(),
    }
}
