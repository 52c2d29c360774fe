//! The client against the real agent, whose sessions need no more than a socket, and against peers that lie.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::*;

use super::local_agent::LocalAgent;
use super::*;

const LIMIT: Duration = Duration::from_secs(60);

/// A client of a real agent session, which runs on a thread of this process and ends with the client.
pub(crate) fn agent() -> GuestClient {
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

#[test]
fn requests_are_answered_one_after_the_other() {
    let mut client = agent();
    assert_eq!(client.pid(), std::process::id());
    client.ping().expect("a pong");
    let outcome = client
        .exec(&shell("printf out; printf err >&2; exit 3"))
        .expect("an outcome");
    assert_eq!(
        (outcome.status, outcome.stdout, outcome.stderr),
        (ExitStatus::Exited(3), b"out".to_vec(), b"err".to_vec())
    );
    assert!(outcome.duration > Duration::ZERO && outcome.duration < LIMIT);
    client.ping().expect("a pong");
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
                .write_file(path, None, &mut content.as_slice())
                .expect("written"),
            size as u64
        );
        assert_eq!(client.read_file(path).expect("content"), content, "{size} bytes");
        let stat = client.stat(path, true).expect("metadata");
        assert_eq!(
            (stat.size, stat.perm, stat.entry_type),
            (size as u64, 0o644, EntryType::File)
        );
    }
}

#[test]
fn what_the_guest_cannot_do_leaves_the_session_alive() {
    let mut client = agent();
    let error = client.read_file(b"/no/such/file").expect_err("no such file");
    assert_eq!(error.errno(), Some(2));
    assert!(
        error.to_string().contains("/no/such/file") && error.to_string().contains("No such file"),
        "{error}"
    );
    let large = vec![7; 3_000_000];
    let error = client
        .write_file(b"/no/such/folder/file", None, &mut large.as_slice())
        .expect_err("no folder");
    assert_eq!(error.errno(), Some(2));
    let error = client.exec(&ExecSpec {
        argv: vec![b"/no/such/program".to_vec()],
        ..Default::default()
    });
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
    assert_eq!(client.exec(&spec).expect("an outcome").stdout, input);
    // Fills its output before it takes its input, and ends without taking all of it.
    let spec = ExecSpec {
        stdin: Some(input),
        ..shell("head -c 2000000 /dev/zero; head -c 1 >/dev/null; exit 5")
    };
    let outcome = client.exec(&spec).expect("an outcome");
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
        let error = client.write_file(path.to_str().expect("UTF-8").as_bytes(), None, &mut Broken(size));
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
    let outcome = agent().exec(&spec).expect("an outcome");
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
    let (ret, bufs) = client.syscall(call(SYS_GETPID, [0; 6])).expect("a result");
    assert_eq!((ret, bufs.len()), (i64::from(std::process::id()), 0));
    let read = Syscall {
        bufs: vec![vec![1; 16].into(), vec![2; 3].into()],
        ptrs: vec![(1, 0)],
        ..call(SYS_READ, [u64::MAX, 0, 16, 0, 0, 0])
    };
    assert_eq!(
        client.syscall(read).expect("a result"),
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
    let error = client.syscall(big).expect_err("too large");
    assert!(matches!(error, GuestError::TooLarge(_)), "{error}");
    let many = ExecSpec {
        argv: vec![b"x".to_vec(); 2_000_000],
        ..Default::default()
    };
    let error = client.exec(&many).expect_err("too many");
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
    assert!(matches!(client.syscall(call), Err(GuestError::Protocol(_))));
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
        .write_file(b"/x", None, &mut content.as_slice())
        .expect_err("nonsense");
    assert!(matches!(error, GuestError::Protocol(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
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

#[test]
fn waiting_for_a_program_says_where_its_output_belongs() {
    let wait = |timeout_ms, kill, from| {
        Request::WaitProcess(WaitProcess {
            handle: 5,
            timeout_ms,
            kill,
            from,
        })
    };
    let state = |ended, from| reply(Response::Process(Process { pid: 77, ended, from }));
    let mut client = with_peer(move |stream| {
        let start = Request::Start(Exec {
            argv: vec![b"cat".to_vec().into()],
            env: vec![],
            env_clear: false,
            cwd: None,
            has_stdin: true,
            timeout_ms: None,
        });
        let started = reply(Response::Started { handle: 5, pid: 77 });
        let (stream, body) = answers(stream, &start, vec![started]);
        assert_eq!(body, b"first");
        let say = vec![data(STDOUT, b"ab"), data(STDERR, b"x"), state(None, [3, 0])];
        let (stream, _) = answers(stream, &wait(Some(10), false, [3, 0]), say);
        let ended = Some(Exited {
            status: ExitStatus::Exited(1),
            duration_ns: 5,
        });
        answers(
            stream,
            &wait(None, true, [5, 1]),
            vec![data(STDOUT, b"c"), state(ended, [5, 1])],
        );
    });
    let spec = ExecSpec {
        argv: vec![b"cat".to_vec()],
        stdin: Some(b"first".to_vec()),
        timeout: Some(LIMIT),
        ..Default::default()
    };
    let started = client.start(&spec).expect("a start");
    assert_eq!(started, Started { handle: 5, pid: 77 });
    let piece = |from, bytes: &[u8]| Piece {
        from,
        bytes: bytes.to_vec(),
    };
    let limit = Some(Duration::from_millis(10));
    let waited = client.wait_process(5, limit, false, [3, 0]).expect("a state");
    assert_eq!(
        (waited.ended, waited.output),
        (None, [piece(3, b"ab"), piece(0, b"x")])
    );
    let waited = client.wait_process(5, None, true, [5, 1]).expect("an end");
    assert_eq!(waited.output, [piece(5, b"c"), piece(1, b"")]);
    assert_eq!(
        waited.ended.map(|ended| ended.status),
        Some(ExitStatus::Exited(1))
    );
}

#[test]
fn programs_of_a_session_end_together() {
    let mut client = with_peer(|mut stream| {
        for handle in [1, 2] {
            let _ = read_frame(&mut stream);
            write_frame(&mut stream, &reply(Response::Started { handle, pid: 9 })).expect("a frame");
        }
        let count = reply(Response::Count { count: 2 });
        let (mut stream, _) = answers(stream, &Request::SignalProcesses { signal: 15 }, vec![count]);
        for handle in [1, 2] {
            let done = vec![reply(Response::Done)];
            (stream, _) = answers(stream, &Request::EndProcess { handle }, done);
        }
        answers(stream, &Request::Ping, vec![reply(Response::Done)]);
    });
    client.end_processes().expect("there are none");
    client.start(&shell("sleep 9")).expect("a start");
    client.start(&shell("sleep 9")).expect("a start");
    client.end_processes().expect("their end");
    client.end_processes().expect("there are none any more");
    client.ping().expect("the session goes on");
}

#[test]
fn a_batch_is_answered_in_order_and_one_failure_stops_nothing() {
    let mut client = with_peer(|mut stream| {
        // All requests are here before the first is answered.
        let mut bodies = Vec::new();
        for at in 0..4 {
            let Ok(Frame::Request(request)) = read_frame(&mut stream) else {
                panic!("request {at} was due");
            };
            while request.has_body() {
                match read_frame(&mut stream) {
                    Ok(Frame::Data { bytes, .. }) => bodies.extend(bytes),
                    _ => break,
                }
            }
        }
        assert_eq!(bodies.len(), 3_000_000);
        let missing = OpError {
            errno: Some(2),
            message: "/x: No such file".to_owned(),
        };
        let entries = vec![DirEntry {
            name: b"\xff".to_vec().into(),
            entry_type: EntryType::Fifo,
        }];
        for frame in [
            reply(Response::Written { bytes: 3_000_000 }),
            Frame::Reply(Err(missing)),
            data(BODY, &rmp_serde::to_vec(&entries).expect("plain data")),
            reply(Response::Done),
            data(BODY, b"content"),
            reply(Response::Done),
        ] {
            write_frame(&mut stream, &frame).expect("a frame");
        }
    });
    let too_large = ExecSpec {
        argv: vec![vec![b'x'; MAX_FRAME]],
        ..Default::default()
    };
    let ops = [
        BatchOp::WriteFile(b"/a".to_vec(), vec![1; 3_000_000]),
        BatchOp::Run(too_large),
        BatchOp::Unlink(b"/x".to_vec()),
        BatchOp::ListDir(b"/".to_vec()),
        BatchOp::ReadFile(b"/a".to_vec()),
    ];
    let answers = client.batch(&ops).expect("answers");
    assert_eq!(answers.len(), 5);
    assert!(matches!(answers[0], Ok(BatchAnswer::Written(3_000_000))));
    assert!(matches!(&answers[1], Err(GuestError::TooLarge(_))));
    assert!(matches!(&answers[2], Err(error) if error.errno() == Some(2)));
    assert!(matches!(&answers[3], Ok(BatchAnswer::Entries(entries)) if *entries[0].name == *b"\xff"));
    assert!(matches!(&answers[4], Ok(BatchAnswer::Content(content)) if content == b"content"));
}

#[test]
fn a_stream_brings_what_comes_and_goes_on_within_a_frame() {
    let follow = Follow::Fd { fd: 3 };
    let wanted = Request::Follow(follow.clone());
    let (go, wait) = std::sync::mpsc::channel();
    let client = with_peer(move |stream| {
        let (mut stream, _) = answers(
            stream,
            &wanted,
            vec![reply(Response::Following { offset: 9 }), data(BODY, b"one")],
        );
        wait.recv().expect("a go");
        let mut frame = Vec::new();
        write_frame(&mut frame, &data(BODY, &[7; 200_000])).expect("a frame");
        let (head, tail) = frame.split_at(100_001);
        std::io::Write::write_all(&mut stream, head).expect("bytes");
        wait.recv().expect("a go");
        std::io::Write::write_all(&mut stream, tail).expect("bytes");
        write_frame(&mut stream, &Frame::End { channel: BODY }).expect("a frame");
    });
    let mut stream = client.follow(follow).expect("a stream");
    assert_eq!(stream.offset(), 9);
    let moment = Some(Duration::from_millis(20));
    assert_eq!(stream.read(None).expect("bytes"), Came::Bytes(b"one".to_vec()));
    assert_eq!(stream.read(Some(Duration::ZERO)).expect("nothing"), Came::Nothing);
    go.send(()).expect("a peer");
    assert_eq!(stream.read(moment).expect("half a frame"), Came::Nothing);
    go.send(()).expect("a peer");
    assert_eq!(stream.read(None).expect("bytes"), Came::Bytes(vec![7; 200_000]));
    assert_eq!(stream.read(None).expect("the end"), Came::End);
    assert_eq!(stream.read(None).expect("the end"), Came::End);
}

#[test]
fn a_stream_that_makes_no_sense_or_breaks_is_an_error_and_over() {
    for (bytes, expected) in [
        (vec![255; 100], "over the limit"),
        (vec![0, 0, 0, 2, 7, 1], "an end of data came where"),
        (vec![0, 0, 0, 9, 6, 0, 1], "is lost"),
    ] {
        let follow = Follow::Fd { fd: 3 };
        let wanted = Request::Follow(follow.clone());
        let client = with_peer(move |stream| {
            let say = vec![reply(Response::Following { offset: 0 })];
            let (mut stream, _) = answers(stream, &wanted, say);
            std::io::Write::write_all(&mut stream, &bytes).expect("bytes");
        });
        let mut stream = client.follow(follow).expect("a stream");
        let error = stream.read(None).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(stream.read(None).expect("the end"), Came::End);
    }
}

#[test]
fn a_worker_answers_on_the_parked_connection() {
    let parked = with_peer(|stream| {
        let (stream, _) = answers(
            stream,
            &Request::Park,
            vec![reply(Response::Parked { ticket: 4 })],
        );
        answers(stream, &Request::Ping, vec![reply(Response::Done)]);
    });
    let mut client = with_peer(|stream| {
        let spawn = Request::SpawnWorker {
            ticket: 4,
            thread: true,
        };
        let worker = Response::Worker {
            pid: 1,
            tid: 2,
            port: 3,
        };
        answers(stream, &spawn, vec![reply(worker)]);
    });
    let parked = parked.park().expect("a place");
    let (mut worker, spawned) = client.spawn_worker(parked, true).expect("a worker");
    assert_eq!(
        spawned,
        Spawned {
            pid: 1,
            tid: 2,
            port: 3
        }
    );
    assert_eq!(worker.pid(), 1);
    worker.ping().expect("a pong");
}

#[test]
fn a_file_that_cannot_be_kept_leaves_the_session_alive() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut client = agent();
    let error = client
        .pull_file(b"/proc/self/status", &mut Full)
        .expect_err("a full disk");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let mut content = Vec::new();
    let copied = client.pull_file(b"/proc/version", &mut content).expect("a copy");
    assert_eq!(copied, content.len() as u64);
    assert!(content.starts_with(b"Linux"));
}
