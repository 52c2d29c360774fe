//! Sessions and streams whose beginning is wrong or drips.
//!
//! Input: bytes in place of a greeting or of a stream. Output: an error in time. Not here: requests.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::*;

use super::misbehaviours::{SLOWLY, repeat};
use super::{IN_TIME, LIMIT, encoded, hear, say, welcomed};
use crate::{GuestClient, GuestError, StreamRead};

#[test]
fn a_stream_that_drips_is_not_waited_for_beyond_its_limit() {
    for bytes in [
        vec![0],
        encoded(&[Frame::Data {
            channel: BODY,
            bytes: vec![],
        }]),
    ] {
        let (client, _) = welcomed(move |mut stream| {
            hear(&mut stream);
            say(
                &mut stream,
                &encoded(&[Frame::Reply(Ok(Response::Following { offset: 0 }))]),
            );
            say(
                &mut stream,
                &[0, 1, 0, 0, 6, 0][..if bytes.len() == 1 { 6 } else { 0 }],
            );
            repeat(&mut stream, &bytes, Duration::from_millis(1));
        });
        let mut stream = client.follow(Follow::Fd { fd: 3 }).expect("a stream");
        let started = Instant::now();
        assert_eq!(stream.read(Some(LIMIT)).expect("nothing"), StreamRead::TimedOut);
        assert!(started.elapsed() < IN_TIME);
    }
}

#[test]
fn a_greeting_that_is_none_is_refused_in_time() {
    let hello = |magic: &str, version| {
        encoded(&[Frame::Hello(Hello {
            magic: magic.to_owned(),
            version,
            build: "x".repeat(1 << 20),
            pid: u32::MAX,
        })])
    };
    let right = hello(MAGIC, VERSION);
    let greetings: [(Vec<u8>, &str); 8] = [
        (
            hello(MAGIC, VERSION - 1),
            "the guest runs an agent of protocol version",
        ),
        (
            hello(MAGIC, u32::MAX),
            "the guest runs an agent of protocol version",
        ),
        (hello(&"sshd".repeat(1 << 20), VERSION), "is not a provium agent"),
        (vec![0xff; 100], "over the limit of"),
        (vec![0, 0, 0, 5, 1, 0xc1, 0xc1, 0xc1, 0xc1], "malformed hello"),
        (
            encoded(&[Frame::Welcome(Welcome { version: VERSION })]),
            "is not a provium agent",
        ),
        (right[..right.len() - 1].to_vec(), "is lost"),
        (Vec::new(), "is lost"),
    ];
    for (greeting, expected) in greetings {
        let (host, mut guest) = UnixStream::pair().expect("a pair of sockets");
        let peer = thread::spawn(move || say(&mut guest, &greeting));
        let error = GuestClient::handshake(Box::new(host), IN_TIME)
            .expect_err(expected)
            .to_string();
        assert!(
            error.contains(expected) && error.len() < 500,
            "{expected}: {error}"
        );
        peer.join().expect("the peer");
    }
    // Never whole, and never quite silent.
    let (host, mut guest) = UnixStream::pair().expect("a pair of sockets");
    let peer = thread::spawn(move || {
        say(&mut guest, &[0, 1, 0, 0, 1]);
        repeat(&mut guest, &[0x91], SLOWLY);
    });
    let error = GuestClient::handshake(Box::new(host), LIMIT).expect_err("a drip");
    assert!(matches!(error, GuestError::Silent(_)), "{error}");
    peer.join().expect("the peer");
}
