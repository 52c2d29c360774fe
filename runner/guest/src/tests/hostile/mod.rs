//! An agent that lies, for every request there is: a clear error, in time, and the session is over.
//!
//! Input: [`cases`], each request as the client makes it with an answer that would be right, and
//! [`MISBEHAVIOURS`]. Each case meets each misbehaviour. What a session is made of comes from the protocol
//! itself: a request or a response that the tables here lack fails a test. Output: nothing but passed tests.
//! Not here: guests.
//!
//! [`cases`]: cases::cases
//! [`MISBEHAVIOURS`]: misbehaviours::MISBEHAVIOURS

mod cases;
mod checks;
mod greetings;
mod misbehaviours;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::*;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unknown, StrDeserializer};

use crate::{GuestClient, GuestError};
use cases::Case;

/// What an op's own limit and the grace behind it come to; far from what any of it may take at the very most.
const LIMIT: Duration = Duration::from_millis(100);
const IN_TIME: Duration = Duration::from_secs(20);
/// Most bytes an answer may have here.
const MOST_DATA: u64 = 1 << 20;

/// The name of an enum's variant, out of how it prints itself.
fn variant(value: &impl std::fmt::Debug) -> String {
    let shown = format!("{value:?}");
    let end = shown.find(|c: char| !c.is_alphanumeric()).unwrap_or(shown.len());
    shown[..end].to_owned()
}

/// The names of all variants of an enum, out of what its decoder says to a name that it does not know.
fn variants<'de, T: serde::Deserialize<'de> + std::fmt::Debug>() -> BTreeSet<String> {
    let nobody: StrDeserializer<'_, Unknown> = "?".into_deserializer();
    let refusal = T::deserialize(nobody)
        .expect_err("an unknown variant")
        .to_string();
    let (_, known) = refusal.split_once("expected one of ").expect("a list of names");
    known
        .split(", ")
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

/// A client past its handshake, and the thread of its peer.
fn welcomed(peer: impl FnOnce(UnixStream) + Send + 'static) -> (GuestClient, thread::JoinHandle<()>) {
    let (client, _, peer) = connected(peer);
    (client, peer)
}

/// The same with another handle on the client's end.
fn connected(
    peer: impl FnOnce(UnixStream) + Send + 'static,
) -> (GuestClient, UnixStream, thread::JoinHandle<()>) {
    let (host, mut guest) = UnixStream::pair().expect("a pair of sockets");
    let handle = host.try_clone().expect("a second handle");
    let peer = thread::spawn(move || {
        let hello = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            build: "9.9.9".to_owned(),
            pid: 42,
        };
        write_frame(&mut guest, &Frame::Hello(hello)).expect("a hello");
        assert!(matches!(read_frame(&mut guest), Ok(Frame::Welcome(_))));
        peer(guest);
    });
    let mut client = GuestClient::handshake(Box::new(host), IN_TIME).expect("a welcome");
    client.grace = LIMIT;
    client.exchange.most_data = MOST_DATA;
    (client, handle, peer)
}

/// Reads a request and its body.
fn hear(stream: &mut UnixStream) -> Option<Request> {
    let Ok(Frame::Request(request)) = read_frame(stream) else {
        return None;
    };
    while request.has_body() {
        match read_frame(stream) {
            Ok(Frame::Data { .. }) => {}
            Ok(Frame::End { .. }) => break,
            _ => return None,
        }
    }
    Some(request)
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        write_frame(&mut bytes, frame).expect("memory");
    }
    bytes
}

/// Bytes as they are. The client may have hung up already.
fn say(stream: &mut UnixStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Waits until the client is gone, whatever it says.
fn wait(stream: &mut UnixStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

/// Runs an op against a peer that answers well but for the last time, then does something else. Checks that
/// it ends in time and that the session is over. `Ok` is what it failed with.
fn failed(
    op: &Case,
    name: &str,
    silent: bool,
    act: impl FnOnce(&mut UnixStream, &[Frame]) + Send + 'static,
) -> String {
    let what = format!("{}: the agent {name}", op.name);
    let mut answers = op.answers.clone();
    let right = answers.pop().expect("an answer");
    let (client, handle, peer) = connected(move |mut stream| {
        for answer in answers {
            if hear(&mut stream).is_some() {
                say(&mut stream, &encoded(&answer));
            }
        }
        if hear(&mut stream).is_some() {
            act(&mut stream, &right);
        }
    });
    let started = Instant::now();
    if silent && !op.limited {
        // What the end of the test's time does: the machine is killed, and its connections with it.
        thread::spawn(move || {
            thread::sleep(LIMIT);
            let _ = handle.shutdown(std::net::Shutdown::Both);
        });
    } else {
        drop(handle);
    }
    let mut client = Some(client);
    let error = (op.call)(&mut client).expect_err(&what);
    assert!(started.elapsed() < IN_TIME, "{what}: {:?}", started.elapsed());
    assert!(!error.session_lives(), "{what}: {error}");
    let error = error.to_string();
    assert!(error.len() < 500, "{what}: an error of {} bytes", error.len());
    if let Some(mut client) = client {
        let again = client.ping().expect_err("a session that is over");
        assert!(
            matches!(&again, GuestError::Over(why) if *why == error),
            "{what}: {again}"
        );
        assert_eq!(client.ports(), None, "{what}");
    }
    peer.join().expect("the peer");
    error
}
