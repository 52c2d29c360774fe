//! The course of a session: who is let in, and what ends it.

mod common;

use common::{Host, program};
use provium_agent::SessionError;
use provium_protocol::*;

#[test]
fn the_agent_introduces_itself() {
    let host = Host::new();
    assert_eq!((host.hello.magic.as_str(), host.hello.version), (MAGIC, VERSION));
    assert_eq!(host.hello.pid, std::process::id());
    assert!(!host.hello.build.is_empty());
    host.close()
        .expect("a session closed between requests has ended well");
}

#[test]
fn pings_are_answered_in_turn() {
    let mut host = Host::new();
    for _ in 0..100 {
        assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
    }
}

#[test]
fn several_requests_may_be_under_way() {
    let mut host = Host::new();
    for _ in 0..50 {
        host.send(&Frame::Request(Request::Ping));
    }
    host.send(&Frame::Request(Request::Exec(program(&["true"]))));
    for _ in 0..50 {
        assert_eq!(host.answer().1, Ok(Response::Done));
    }
    assert_eq!(common::exited(host.answer().1).status, ExitStatus::Exited(0));
}

#[test]
fn a_refused_agent_knows_why() {
    let mut host = Host::connect();
    host.send(&Frame::Refused(Refused {
        reason: "this provium speaks 7".to_owned(),
    }));
    match host.end() {
        Err(SessionError::Refused(reason)) => assert_eq!(reason, "this provium speaks 7"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_of_another_version_is_left() {
    let mut host = Host::connect();
    host.send(&Frame::Welcome(Welcome { version: VERSION + 1 }));
    let error = host.end().expect_err("an error");
    let expected = format!(
        "the host speaks protocol version {}, this agent speaks version {VERSION}",
        VERSION + 1
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn frames_out_of_turn_end_the_session() {
    let mut host = Host::connect();
    host.send(&Frame::Request(Request::Ping));
    assert_eq!(
        host.end().expect_err("early").to_string(),
        "the host sent a request where a welcome was due"
    );

    for (frame, expected) in [
        (
            Frame::End { channel: BODY },
            "the host sent an end of data where a request was due",
        ),
        (
            Frame::Reply(Ok(Response::Done)),
            "the host sent a reply where a request was due",
        ),
        (
            Frame::Data {
                channel: BODY,
                bytes: vec![1],
            },
            "the host sent data where a request was due",
        ),
    ] {
        let mut host = Host::new();
        host.send(&frame);
        assert_eq!(host.end().expect_err("out of turn").to_string(), expected);
    }

    for frame in [
        Frame::Data {
            channel: STDOUT,
            bytes: vec![1],
        },
        Frame::Request(Request::Ping),
    ] {
        let mut host = Host::new();
        let write = Request::WriteFile {
            path: b"/nowhere/x".to_vec().into(),
            perm: None,
        };
        host.send(&Frame::Request(write));
        host.send(&frame);
        let error = host.end().expect_err("out of turn").to_string();
        assert!(error.ends_with("where the request's body was due"), "{error}");
    }
}

#[test]
fn bytes_that_are_no_frame_end_the_session() {
    for bytes in [&[0xff; 6][..], &[0, 0, 0, 2, 99, 0], &[0, 0, 0, 2, 4, 0xc1]] {
        let mut host = Host::new();
        host.send_raw(bytes);
        assert!(matches!(host.end(), Err(SessionError::Frame(_))), "{bytes:?}");
    }
    let mut host = Host::new();
    host.send_raw(&[0, 0, 1]);
    let error = host.close().expect_err("cut off");
    assert!(
        matches!(
            error,
            SessionError::Frame(FrameError::Truncated { got: 3, wanted: 4 })
        ),
        "{error}"
    );
}

#[test]
fn shutdown_is_answered_and_then_begun() {
    for reboot in [false, true] {
        let mut host = Host::new();
        assert_eq!(host.ask(Request::Shutdown { reboot }).1, Ok(Response::Done));
        assert_eq!(host.shutdowns.recv_timeout(common::LONG), Ok(reboot));
    }
}
