//! The client against peers that expect one request after the other.
//!
//! Input: scripts of requests and answers. Output: what the client makes of the answers. Not here: guests.

use super::*;
use crate::{OutputChunk, Started, StreamRead, WorkerAddress, ops};

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
    let piece = |from, bytes: &[u8]| OutputChunk {
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
    /// What any of them comes to.
    #[derive(Debug, PartialEq)]
    enum Any {
        Bytes(Vec<u8>),
        Count(u64),
        Names(Vec<Vec<u8>>),
        Nothing,
    }
    let names = |entries: Vec<DirEntry>| entries.into_iter().map(|entry| entry.name.into_vec());
    let batch = [
        ops::write_file(b"/a", None, vec![1; 3_000_000]).map(Any::Count),
        ops::exec(too_large).map(|outcome| Any::Bytes(outcome.stdout)),
        ops::unlink(b"/x").map(|()| Any::Nothing),
        ops::list_dir(b"/").map(move |entries| Any::Names(names(entries).collect())),
        ops::read_file(b"/a").map(Any::Bytes),
    ];
    let answers = client.batch(batch).expect("answers");
    assert_eq!(answers.len(), 5);
    assert!(matches!(answers[0], Ok(Any::Count(3_000_000))));
    assert!(matches!(&answers[1], Err(GuestError::TooLarge(_))));
    assert!(matches!(&answers[2], Err(error) if error.errno() == Some(2)));
    assert_eq!(
        answers[3].as_ref().ok(),
        Some(&Any::Names(vec![b"\xff".to_vec()]))
    );
    assert_eq!(answers[4].as_ref().ok(), Some(&Any::Bytes(b"content".to_vec())));
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
    assert_eq!(
        stream.read(None).expect("bytes"),
        StreamRead::Bytes(b"one".to_vec())
    );
    assert_eq!(
        stream.read(Some(Duration::ZERO)).expect("nothing"),
        StreamRead::TimedOut
    );
    go.send(()).expect("a peer");
    assert_eq!(stream.read(moment).expect("half a frame"), StreamRead::TimedOut);
    go.send(()).expect("a peer");
    assert_eq!(
        stream.read(None).expect("bytes"),
        StreamRead::Bytes(vec![7; 200_000])
    );
    assert_eq!(stream.read(None).expect("the end"), StreamRead::End);
    assert_eq!(stream.read(None).expect("the end"), StreamRead::End);
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
        assert_eq!(stream.read(None).expect("the end"), StreamRead::End);
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
        WorkerAddress {
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
