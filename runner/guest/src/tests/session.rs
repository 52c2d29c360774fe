//! The client against a real agent, and against peers that break off, lie or say nothing.
//!
//! Input: requests. Output: answers, or errors that say whether the session goes on. Not here: guests.

use std::time::Instant;

use super::*;
use crate::ops;

#[test]
fn requests_are_answered_one_after_the_other() {
    let mut client = agent();
    assert_eq!(client.pid(), std::process::id());
    client.ping().expect("a pong");
    let outcome = client
        .ask(ops::exec(shell("printf out; printf err >&2; exit 3")))
        .expect("an outcome");
    assert_eq!(
        (outcome.status, outcome.stdout, outcome.stderr),
        (ExitStatus::Exited(3), b"out".to_vec(), b"err".to_vec())
    );
    assert!(outcome.duration > Duration::ZERO && outcome.duration < LIMIT);
    client.ping().expect("a pong");
}

#[test]
fn each_bit_of_the_taint_is_told_once() {
    let taint = |before, now| Frame::Taint(Taint { before, now });
    let mut client = with_peer(move |stream| {
        let done = || reply(Response::Done);
        let (stream, _) = answers(stream, &Request::Ping, vec![taint(1, 513), done()]);
        let (stream, _) = answers(
            stream,
            &Request::Ping,
            vec![taint(513, 641), taint(641, 5), done()],
        );
        answers(stream, &Request::Ping, vec![done()]);
    });
    for new in [512, 128 | 4, 0] {
        client.ping().expect("a pong");
        assert_eq!(client.take_taint(), new);
        assert_eq!(client.take_taint(), 0, "it was taken");
    }
}

#[test]
fn a_session_whose_thread_the_kernel_ends_is_followed_by_another() {
    let exit = |status| Syscall {
        nr: 60,
        args: [status, 0, 0, 0, 0, 0],
        bufs: vec![],
        ptrs: vec![],
        nested: vec![],
    };
    let local = LocalAgent::default();
    let mut client = local.session();
    let started = client.start(&shell("sleep 1000")).expect("a start");
    let error = client.ask(ops::syscall(exit(3))).expect_err("no answer");
    let text = error.to_string();
    assert!(
        text.contains("ended the thread that served this call: it called exit(3)"),
        "{text}"
    );
    let GuestError::ThreadEnded { thread, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(client.ping(), Err(GuestError::Over(why)) if why == text));
    let mut next = local.session();
    next.take_over(&mut client, thread.tid).expect("taken over");
    next.ask(ops::process_state(started.handle))
        .expect("it is known here");
    next.end_processes().expect("its end");
    let again = next.take_over(&mut client, thread.tid).expect_err("once only");
    assert!(again.session_lives(), "{again}");

    // On a thread of its own, a call takes nothing with it.
    let call = next.ask(ops::start_syscall(exit(4))).expect("a start");
    let error = next
        .ask(ops::wait_syscall(call.handle, None, vec![]))
        .expect_err("no result");
    let text = error.to_string();
    assert!(
        text.contains("that this call waited for: it called exit(4)"),
        "{text}"
    );
    next.ping().expect("the session goes on");
}

#[test]
fn files_of_many_sizes_come_back_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    let path = path.to_str().expect("UTF-8").as_bytes();
    let mut client = agent();
    for size in [
        0,
        1,
        32 * 1024 - 1,
        32 * 1024,
        32 * 1024 + 1,
        DATA_CHUNK,
        5_000_001,
    ] {
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        assert_eq!(
            client
                .push_file(path, None, &mut content.as_slice())
                .expect("written"),
            size as u64
        );
        assert_eq!(
            client.ask(ops::read_file(path)).expect("content"),
            content,
            "{size} bytes"
        );
        let stat = client.ask(ops::stat(path, true)).expect("metadata");
        assert_eq!(
            (stat.size, stat.mode & 0o7777, stat.entry_type),
            (size as u64, 0o644, EntryType::File)
        );
    }
}

#[test]
fn what_the_guest_cannot_do_leaves_the_session_alive() {
    let mut client = agent();
    let error = client
        .ask(ops::read_file(b"/no/such/file"))
        .expect_err("no such file");
    assert_eq!(error.errno(), Some(2));
    assert!(
        error.to_string().contains("/no/such/file") && error.to_string().contains("No such file"),
        "{error}"
    );
    let large = vec![7; 3_000_000];
    let error = client
        .push_file(b"/no/such/folder/file", None, &mut large.as_slice())
        .expect_err("no folder");
    assert_eq!(error.errno(), Some(2));
    let error = client.ask(ops::exec(ExecSpec {
        argv: vec![b"/no/such/program".to_vec()],
        ..Default::default()
    }));
    assert_eq!(error.expect_err("no program").errno(), Some(2));
    client.ping().expect("the session goes on");
}

#[test]
fn input_and_output_larger_than_any_buffer_block_nobody() {
    let mut client = agent();
    let input: Vec<u8> = (0..3_000_000).map(|at| (at % 253) as u8).collect();
    let spec = ExecSpec {
        stdin: Some(input.clone()),
        ..shell("cat")
    };
    assert_eq!(client.ask(ops::exec(spec)).expect("an outcome").stdout, input);
    // Fills its output before it takes its input, and ends without taking all of it.
    let spec = ExecSpec {
        stdin: Some(input),
        ..shell("head -c 2000000 /dev/zero; head -c 1 >/dev/null; exit 5")
    };
    let outcome = client.ask(ops::exec(spec)).expect("an outcome");
    assert_eq!(
        (outcome.status, outcome.stdout.len()),
        (ExitStatus::Exited(5), 2_000_000)
    );
    client.ping().expect("the session goes on");
}

#[test]
fn a_body_that_breaks_off_is_reported_and_the_session_goes_on() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.checked_sub(buf.len()) {
                Some(left) => {
                    self.0 = left;
                    Ok(buf.len())
                }
                None => Err(std::io::Error::other("the disk is gone")),
            }
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    let mut client = agent();
    for size in [100, 1_000_000] {
        let error = client.push_file(path.to_str().expect("UTF-8").as_bytes(), None, &mut Broken(size));
        assert!(
            matches!(&error, Err(GuestError::Source(cause)) if cause.to_string() == "the disk is gone"),
            "{error:?}"
        );
        client.ping().expect("the session goes on");
    }
}

#[test]
fn a_timeout_ends_the_program_and_keeps_its_output() {
    let started = Instant::now();
    let spec = ExecSpec {
        timeout: Some(Duration::from_millis(200)),
        ..shell("echo before; sleep 100")
    };
    let outcome = agent().ask(ops::exec(spec)).expect("an outcome");
    assert_eq!(
        (outcome.status, outcome.stdout),
        (ExitStatus::TimedOut, b"before\n".to_vec())
    );
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn system_calls_return_every_buffer() {
    const SYS_GETPID: i64 = 39;
    const SYS_READ: i64 = 0;
    let mut client = agent();
    let call = |nr, args: [u64; 6]| Syscall {
        nr,
        args,
        bufs: vec![],
        ptrs: vec![],
        nested: vec![],
    };
    let (ret, bufs) = client
        .ask(ops::syscall(call(SYS_GETPID, [0; 6])))
        .expect("a result");
    assert_eq!((ret, bufs.len()), (i64::from(std::process::id()), 0));
    let read = Syscall {
        bufs: vec![vec![1; 16].into(), vec![2; 3].into()],
        ptrs: vec![(1, 0)],
        ..call(SYS_READ, [u64::MAX, 0, 16, 0, 0, 0])
    };
    assert_eq!(
        client.ask(ops::syscall(read)).expect("a result"),
        (-9, vec![vec![1; 16], vec![2; 3]])
    );
}

#[test]
fn what_does_not_fit_a_request_is_refused_before_it_is_sent() {
    let mut client = agent();
    let big = Syscall {
        nr: 39,
        args: [0; 6],
        bufs: vec![vec![0; MAX_FRAME].into()],
        ptrs: vec![],
        nested: vec![],
    };
    let error = client.ask(ops::syscall(big)).expect_err("too large");
    assert!(matches!(error, GuestError::TooLarge(_)), "{error}");
    let many = ExecSpec {
        argv: vec![b"x".to_vec(); 2_000_000],
        ..Default::default()
    };
    let error = client.ask(ops::exec(many)).expect_err("too many");
    assert!(
        error.to_string().starts_with("2000000 arguments, the most is"),
        "{error}"
    );
    client.ping().expect("the session goes on");
}

#[test]
fn an_agent_of_another_version_is_refused_and_told_so() {
    let (error, heard) = refused(Frame::Hello(Hello {
        version: VERSION + 1,
        ..hello()
    }));
    assert!(
        matches!(&error, GuestError::Version { theirs, build } if *theirs == VERSION + 1 && build == "9.9.9")
    );
    assert!(error.to_string().contains("9.9.9"), "{error}");
    assert!(matches!(heard, Some(Frame::Refused(refused)) if refused.reason == error.to_string()));
}

#[test]
fn a_stranger_is_refused() {
    let (error, heard) = refused(Frame::Hello(Hello {
        magic: "sshd".to_owned(),
        ..hello()
    }));
    assert!(
        matches!(&error, GuestError::Stranger(what) if what.contains("sshd")),
        "{error}"
    );
    assert!(matches!(heard, Some(Frame::Refused(_))));
    let (error, _) = refused(Frame::End { channel: 0 });
    assert!(matches!(error, GuestError::Stranger(_)), "{error}");
}

#[test]
fn a_peer_that_says_nothing_is_not_waited_for_without_end() {
    let (host, _guest) = UnixStream::pair().expect("a pair of sockets");
    let error = GuestClient::handshake(Box::new(host), Duration::from_millis(50)).expect_err("silence");
    assert!(matches!(error, GuestError::Silent(_)), "{error}");
}

#[test]
fn replies_that_make_no_sense_end_the_session() {
    type Peer = fn(UnixStream);
    let peers: [(Peer, &str); 6] = [
        (
            |mut peer| {
                write_frame(&mut peer, &Frame::Reply(Ok(Response::Written { bytes: 1 }))).expect("a frame")
            },
            "expected no more than that it is done",
        ),
        (
            |mut peer| write_data(&mut peer, STDERR, b"x").expect("a frame"),
            "data came on channel 2",
        ),
        (
            |mut peer| write_frame(&mut peer, &Frame::Hello(hello())).expect("a frame"),
            "a hello came where a reply was due",
        ),
        (
            |mut peer| std::io::Write::write_all(&mut peer, &[255; 100]).expect("bytes"),
            "over the limit",
        ),
        (
            |mut peer| std::io::Write::write_all(&mut peer, &[0, 0, 0, 9, 5, 1]).expect("bytes"),
            "is lost",
        ),
        (|peer| drop(peer), "is lost"),
    ];
    for (peer, expected) in peers {
        let mut client = with_peer(move |mut stream| {
            assert!(matches!(
                read_frame(&mut stream),
                Ok(Frame::Request(Request::Ping))
            ));
            peer(stream);
        });
        let error = client.ping().expect_err(expected);
        assert!(
            error.to_string().contains(expected),
            "{error}, expected {expected}"
        );
        let again = client.ping().expect_err("a session that is over");
        assert!(
            matches!(&again, GuestError::Over(why) if *why == error.to_string()),
            "{again}"
        );
    }
}

#[test]
fn a_system_call_with_a_wrong_buffer_is_not_believed() {
    let mut client = with_peer(|mut stream| {
        let _ = read_frame(&mut stream);
        let reply = Response::Syscall {
            ret: 0,
            bufs: vec![vec![0; 7].into()],
        };
        write_frame(&mut stream, &Frame::Reply(Ok(reply))).expect("a frame");
    });
    let call = Syscall {
        nr: 39,
        args: [0; 6],
        bufs: vec![vec![0; 8].into()],
        ptrs: vec![],
        nested: vec![],
    };
    assert!(matches!(
        client.ask(ops::syscall(call)),
        Err(GuestError::Protocol(_))
    ));
}

#[test]
fn a_peer_that_dies_under_a_large_body_blocks_nobody() {
    let mut client = with_peer(|mut stream| {
        let _ = read_frame(&mut stream);
        let _ = read_frame(&mut stream);
        write_data(&mut stream, BODY, b"nonsense").expect("a frame");
        // Stays open and unread: only hanging up lets the writer go.
        thread::sleep(Duration::from_secs(20));
    });
    let started = Instant::now();
    let content = vec![0; 8 << 20];
    let error = client
        .push_file(b"/x", None, &mut content.as_slice())
        .expect_err("nonsense");
    assert!(matches!(error, GuestError::Protocol(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
}
