//! Each case against each misbehaviour.
//!
//! Input: the tables of cases and misbehaviours. Output: passed tests. Not here: how a session begins.

use std::collections::BTreeSet;
use std::thread;

use provium_protocol::*;

use super::cases::{cases, responses};
use super::misbehaviours::{AT_ONCE, MISBEHAVIOURS, Misbehaviour, repeat};
use super::{connected, encoded, failed, hear, say, variant, variants, wait, welcomed};
use crate::{Attachment, ExecSpec, GuestError};

#[test]
fn every_request_and_every_response_is_here() {
    let mut heard = BTreeSet::new();
    let (send, receive) = std::sync::mpsc::channel();
    for op in cases() {
        let (send, answers) = (send.clone(), op.answers.clone());
        let (client, _, _) = connected(move |mut stream| {
            let mut answers = answers.into_iter();
            while let Some(request) = hear(&mut stream) {
                send.send(variant(&request)).expect("a listener");
                let done = vec![Frame::Reply(Ok(Response::Done))];
                say(&mut stream, &encoded(&answers.next().unwrap_or(done)));
            }
        });
        let mut client = Some(client);
        let result = (op.call)(&mut client);
        // One that was told in advance heard only one answer of two.
        if op.name != "tell" {
            result.unwrap_or_else(|error| panic!("{}: {error}", op.name));
        }
    }
    drop(send);
    heard.extend(receive);
    // Those that are made of others in other ways: on a handle of its own.
    heard.insert("Resumed".to_owned());
    assert_eq!(heard, variants::<Request>());
    let known: BTreeSet<String> = responses().iter().map(variant).collect();
    assert_eq!(known, variants::<Response>());
}

#[test]
fn no_misbehaviour_is_worse_than_an_error() {
    for misbehaviour in MISBEHAVIOURS {
        thread::scope(|scope| {
            for op in cases() {
                scope.spawn(move || {
                    let Misbehaviour {
                        name,
                        act,
                        silent,
                        error,
                    } = *misbehaviour;
                    let got = failed(&op, name, silent, act);
                    let expected = match (silent, op.limited) {
                        (true, true) => "the guest's agent did not answer within 0.",
                        (true, false) => "the connection to the guest's agent is lost",
                        (false, _) => error,
                    };
                    assert!(got.contains(expected), "{}: the agent {name}: {got}", op.name);
                });
            }
        });
    }
}

#[test]
fn a_reply_to_another_request_is_not_taken_for_an_answer() {
    for op in cases() {
        let Some(Frame::Reply(Ok(right))) = op.answers.last().and_then(|frames| frames.last()) else {
            panic!("{} has no answer", op.name);
        };
        for other in responses() {
            let waits = op.name == "wait_syscall" && variant(&other) == "Running";
            if variant(&other) == variant(right) || waits {
                continue;
            }
            let what = format!("replies {other:?}");
            let expected = match &other {
                // An answer to any request, which ends the session as well.
                Response::ThreadEnded(_) => "the guest's kernel killed the thread that served this call",
                _ => "broke the protocol: expected ",
            };
            let got = failed(&op, &what, false, move |stream, _| {
                say(stream, &encoded(&[Frame::Reply(Ok(other))]));
                wait(stream);
            });
            assert!(got.contains(expected), "{}: {got}", op.name);
        }
    }
}

#[test]
fn buffers_that_are_not_those_of_the_call_are_not_believed() {
    let wrong: [&[usize]; 5] = [&[], &[7], &[9], &[8, 8], &[30 << 20]];
    for op in cases()
        .iter()
        .filter(|op| matches!(op.name, "syscall" | "wait_syscall"))
    {
        for sizes in wrong {
            let bufs = sizes.iter().map(|size| vec![0; *size].into()).collect();
            let got = failed(op, "returns other buffers", false, move |stream, _| {
                say(
                    stream,
                    &encoded(&[Frame::Reply(Ok(Response::Syscall { ret: 0, bufs }))]),
                );
                wait(stream);
            });
            assert!(
                got.contains("expected a system call's result with every buffer"),
                "{got}"
            );
        }
    }
}

#[test]
fn data_without_end_ends_before_it_takes_the_host_s_memory() {
    // What is pulled goes to the disk as it comes.
    for op in cases().iter().filter(|op| op.name != "pull_file") {
        for channel in [BODY, STDOUT, STDERR] {
            let got = failed(op, "sends without end", false, move |stream, _| {
                let bytes = vec![1; 64 * 1024];
                repeat(stream, &encoded(&[Frame::Data { channel, bytes }]), AT_ONCE);
            });
            let expected = match op.channels.contains(&channel) {
                true => "sent more than 1 MiB for one answer".to_owned(),
                false => format!("data came on channel {channel}"),
            };
            assert!(got.contains(&expected), "{}: {got}", op.name);
        }
    }
}

#[test]
fn data_behind_its_reply_is_found_at_the_next_request() {
    for op in cases()
        .iter()
        .filter(|op| !op.channels.is_empty() && op.answers.len() == 1)
    {
        let mut right = op.answers[0].clone();
        right.reverse();
        let (client, _, peer) = connected(move |mut stream| {
            hear(&mut stream);
            say(&mut stream, &encoded(&right));
            hear(&mut stream);
            wait(&mut stream);
        });
        let mut client = Some(client);
        // A list that is missing is noticed at once, any other content may be empty.
        let first = (op.call)(&mut client);
        let mut client = client.expect("a client");
        let second = client.ping().expect_err("data out of turn").to_string();
        assert!(
            second.contains("data came on channel") || first.is_err(),
            "{}: {second}",
            op.name
        );
        assert!(matches!(client.ping(), Err(GuestError::Over(_))), "{}", op.name);
        drop(client);
        peer.join().expect("the peer");
    }
}

#[test]
fn an_attached_program_s_stream_holds_nothing_but_output_and_its_end() {
    let ended = |status| {
        Frame::Reply(Ok(Response::Process(Process {
            pid: 7,
            ended: status,
            from: [0, 0],
        })))
    };
    let thread = EndedThread {
        tid: 7,
        how: ThreadEnd::Killed,
        served: true,
    };
    for (frame, expected) in [
        (ended(None), "says that it still runs"),
        (
            Frame::Reply(Ok(Response::Done)),
            "a reply came where a program's output was due",
        ),
        (Frame::End { channel: STDOUT }, "an end of data came where"),
        (
            Frame::Data {
                channel: BODY,
                bytes: vec![1],
            },
            "data came where",
        ),
        (
            Frame::Reply(Ok(Response::ThreadEnded(thread))),
            "the guest's kernel killed the thread",
        ),
    ] {
        let (client, peer) = welcomed(move |mut stream| {
            hear(&mut stream);
            let started = Frame::Reply(Ok(Response::Started { handle: 5, pid: 7 }));
            let channel = STDERR;
            let bytes = b"err".to_vec();
            say(
                &mut stream,
                &encoded(&[started, Frame::Data { channel, bytes }, frame]),
            );
        });
        let mut program = client
            .attach(ExecSpec::shell("true"), None)
            .expect("it is started");
        assert_eq!(
            program.read().expect("its output"),
            Attachment::Stderr(b"err".to_vec())
        );
        let error = program.read().expect_err("no end").to_string();
        assert!(error.contains(expected), "{error}");
        peer.join().expect("the peer");
    }
}

#[test]
fn a_listing_that_is_none_ends_the_session() {
    let op = cases()
        .into_iter()
        .find(|op| op.name == "list_dir")
        .expect("the op");
    // No MessagePack; a list that claims to be huge, and one that is; one that nests without end.
    for bytes in [
        vec![0xc1; 10],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        [&[0xdd, 0, 0x20, 0, 0][..], &[0x92, 0xa0, 0].repeat(300_000)].concat(),
        vec![0x91; 100_000],
    ] {
        let got = failed(&op, "lists nonsense", false, move |stream, _| {
            let channel = BODY;
            let done = Frame::Reply(Ok(Response::Done));
            say(stream, &encoded(&[Frame::Data { channel, bytes }, done]));
            wait(stream);
        });
        assert!(got.contains("the entries of a folder make no sense"), "{got}");
    }
}

#[test]
fn an_error_of_the_agent_is_cut_short_and_the_session_goes_on() {
    let (mut client, _) = welcomed(|mut stream| {
        hear(&mut stream);
        let message = "ä".repeat(1 << 20);
        let errno = Some(i32::MIN);
        say(
            &mut stream,
            &encoded(&[Frame::Reply(Err(OpError { errno, message }))]),
        );
        hear(&mut stream);
        say(&mut stream, &encoded(&[Frame::Reply(Ok(Response::Done))]));
    });
    let error = client.ping().expect_err("an error");
    assert_eq!(error.errno(), Some(i32::MIN));
    assert!(error.to_string().len() < 20_000);
    client.ping().expect("the session goes on");
}
