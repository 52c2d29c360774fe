//! An agent that lies, for every request there is: a clear error, in time, and the session is over.
//!
//! Enters: [`ops`], each request as the client makes it with an answer that would be right, and [`MISBEHAVIOURS`].
//! Each op meets each misbehaviour. What a session is made of comes from the protocol itself: a request or a response
//! that the tables here lack fails a test.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::*;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unknown, StrDeserializer};

use super::*;

/// What an op's own limit and the grace behind it come to; far from what any of it may take at the very most.
const LIMIT: Duration = Duration::from_millis(100);
const IN_TIME: Duration = Duration::from_secs(20);
/// Most bytes an answer may have here.
const KEPT: u64 = 1 << 20;

/// A request as the client makes it.
struct Op {
    name: &'static str,
    /// Whether it ends by itself when nothing comes.
    limited: bool,
    call: fn(&mut Option<GuestClient>) -> Result<(), GuestError>,
    /// Right answers: to the requests before, and last to the one in question.
    answers: Vec<Vec<Frame>>,
    /// Channels on which data may come.
    channels: &'static [u8],
}

impl Op {
    fn new(
        name: &'static str,
        call: fn(&mut Option<GuestClient>) -> Result<(), GuestError>,
        response: Response,
    ) -> Op {
        Op {
            name,
            limited: false,
            call,
            answers: vec![vec![Frame::Reply(Ok(response))]],
            channels: &[],
        }
    }

    fn limited(self) -> Op {
        Op {
            limited: true,
            ..self
        }
    }

    fn with_data(mut self, channels: &'static [u8], bytes: &[u8]) -> Op {
        let channel = channels[0];
        let bytes = bytes.to_vec();
        self.answers[0].insert(0, Frame::Data { channel, bytes });
        Op { channels, ..self }
    }

    fn after(mut self, answer: Response) -> Op {
        self.answers.insert(0, vec![Frame::Reply(Ok(answer))]);
        self
    }
}

/// Discards what a call came to, but not how it failed.
fn nothing<T>(result: Result<T, GuestError>) -> Result<(), GuestError> {
    result.map(|_| ())
}

macro_rules! call {
    (|$client:ident| $call:expr) => {
        |client| {
            let $client = client.as_mut().expect("a client");
            nothing($call)
        }
    };
}

fn shell() -> ExecSpec {
    ExecSpec {
        timeout: Some(LIMIT),
        ..ExecSpec::shell("true")
    }
}

fn with_input(size: usize) -> ExecSpec {
    ExecSpec {
        stdin: Some(vec![7; size]),
        ..shell()
    }
}

fn getpid() -> Syscall {
    Syscall {
        nr: 39,
        args: [0; 6],
        bufs: vec![vec![0; 8].into()],
        ptrs: vec![],
        nested: vec![],
    }
}

fn exited() -> Exited {
    Exited {
        status: ExitStatus::Exited(0),
        duration_ns: 1,
    }
}

fn process() -> Response {
    Response::Process(Process {
        pid: 7,
        ended: Some(exited()),
        from: [0, 0],
    })
}

fn called() -> Response {
    Response::Syscall {
        ret: 1,
        bufs: vec![vec![0; 8].into()],
    }
}

/// One of each.
fn responses() -> Vec<Response> {
    vec![
        Response::Done,
        Response::Exited(exited()),
        Response::Written { bytes: 3 },
        Response::Stat(Stat {
            size: u64::MAX,
            mtime: i64::MIN,
            mtime_ns: u32::MAX,
            perm: u32::MAX,
            entry_type: EntryType::Other,
        }),
        called(),
        Response::Started { handle: 5, pid: 7 },
        process(),
        Response::Count { count: u64::MAX },
        Response::Joined { ended: vec![] },
        Response::Opened { fd: -1 },
        Response::Offset { offset: u64::MAX },
        Response::Running,
        Response::Parked { ticket: 4 },
        Response::Worker {
            pid: 1,
            tid: 2,
            port: 3,
        },
        Response::Following { offset: 0 },
    ]
}

/// The right kind of response for an op.
fn response(name: &str) -> Response {
    let mut all = responses().into_iter();
    all.find(|response| variant(response) == name)
        .expect("a response of this name")
}

fn ops() -> Vec<Op> {
    let entries: Vec<DirEntry> = vec![DirEntry {
        name: b"a".to_vec().into(),
        entry_type: EntryType::File,
    }];
    let entries = rmp_serde::to_vec(&entries).expect("plain data");
    let written = || response("Written");
    vec![
        Op::new("ping", call!(|c| c.ping()), Response::Done),
        Op::new("ping_within", call!(|c| c.ping_within(LIMIT)), Response::Done).limited(),
        Op::new("exec", call!(|c| c.exec(&shell())), response("Exited"))
            .limited()
            .with_data(&[STDOUT, STDERR], b"out"),
        Op::new(
            "exec, with input",
            call!(|c| c.exec(&with_input(100))),
            response("Exited"),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Op::new(
            "exec, with much input",
            call!(|c| c.exec(&with_input(1 << 20))),
            response("Exited"),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Op::new(
            "exec, without a limit",
            call!(|c| c.exec(&ExecSpec::shell("true"))),
            response("Exited"),
        )
        .with_data(&[STDOUT, STDERR], b"out"),
        Op::new("read_file", call!(|c| c.read_file(b"/f")), Response::Done).with_data(&[BODY], b"content"),
        Op::new(
            "pull_file",
            call!(|c| c.pull_file(b"/f", &mut std::io::sink())),
            Response::Done,
        )
        .with_data(&[BODY], b"content"),
        Op::new(
            "write_file",
            call!(|c| c.write_file(b"/f", None, &mut b"abc".as_slice())),
            written(),
        ),
        Op::new(
            "write_file, much",
            call!(|c| c.write_file(b"/f", None, &mut vec![1; 1 << 20].as_slice())),
            written(),
        ),
        Op::new("stat", call!(|c| c.stat(b"/f", true)), response("Stat")),
        Op::new("list_dir", call!(|c| c.list_dir(b"/")), Response::Done).with_data(&[BODY], &entries),
        Op::new(
            "make_dir",
            call!(|c| c.make_dir(b"/d", true, None)),
            Response::Done,
        ),
        Op::new("unlink", call!(|c| c.unlink(b"/f")), Response::Done),
        Op::new("rename", call!(|c| c.rename(b"/f", b"/g")), Response::Done),
        Op::new("open_file", call!(|c| c.open_file(open())), response("Opened")),
        Op::new("read_fd", call!(|c| c.read_fd(3, Some(10))), Response::Done).with_data(&[BODY], b"content"),
        Op::new(
            "write_fd",
            call!(|c| c.write_fd(3, &mut b"abc".as_slice())),
            written(),
        ),
        Op::new(
            "seek_fd",
            call!(|c| c.seek_fd(3, 0, Whence::End)),
            response("Offset"),
        ),
        Op::new("close_fd", call!(|c| c.close_fd(3)), Response::Done),
        Op::new("syscall", call!(|c| c.syscall(getpid())), called()),
        Op::new(
            "start_syscall",
            call!(|c| c.start_syscall(getpid())),
            response("Started"),
        ),
        Op::new(
            "wait_syscall",
            call!(|c| c.wait_syscall(5, Some(LIMIT), &[8])),
            called(),
        )
        .limited(),
        Op::new("start", call!(|c| c.start(&shell())), response("Started")),
        Op::new(
            "start, with input",
            call!(|c| c.start(&with_input(100))),
            response("Started"),
        ),
        Op::new(
            "wait_process",
            call!(|c| c.wait_process(5, Some(LIMIT), true, [0, 0])),
            process(),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Op::new("process_state", call!(|c| c.process_state(5)), process()),
        Op::new(
            "signal_process",
            call!(|c| c.signal_process(5, 9)),
            Response::Done,
        ),
        Op::new(
            "write_stdin",
            call!(|c| c.write_stdin(5, &mut b"abc".as_slice())),
            written(),
        ),
        Op::new("close_stdin", call!(|c| c.close_stdin(5)), Response::Done),
        Op::new(
            "begin_end_process",
            call!(|c| c.begin_end_process(5)),
            Response::Done,
        ),
        Op::new("end_process", call!(|c| c.end_process(5)), Response::Done),
        Op::new(
            "end_processes",
            call!(|c| c.start(&shell()).and_then(|_| c.end_processes())),
            response("Count"),
        )
        .after(response("Started")),
        Op::new(
            "signal_processes",
            call!(|c| c.signal_processes(15)),
            response("Count"),
        ),
        Op::new(
            "join_processes",
            call!(|c| c.join_processes()),
            response("Joined"),
        ),
        Op::new(
            "follow",
            |client| nothing(client.take().expect("a client").follow(Follow::Fd { fd: 3 })),
            response("Following"),
        ),
        Op::new(
            "park",
            |client| nothing(client.take().expect("a client").park()),
            response("Parked"),
        ),
        Op::new(
            "spawn_worker",
            |client| {
                let (other, _peer) = welcomed(|mut stream| {
                    let _ = read_frame(&mut stream);
                    let _ = write_frame(&mut stream, &Frame::Reply(Ok(Response::Parked { ticket: 4 })));
                    // Stays there: the session that was parked is not the one that lies.
                    let _ = read_frame(&mut stream);
                });
                let parked = other.park().expect("parked");
                nothing(client.as_mut().expect("a client").spawn_worker(parked, true))
            },
            response("Worker"),
        ),
        Op::new(
            "batch",
            call!(|c| c.batch(&[BatchOp::Unlink(b"/f".to_vec()), BatchOp::ReadFile(b"/f".to_vec())])),
            Response::Done,
        )
        .with_data(&[BODY], b"content")
        .after(Response::Done),
        Op::new("shutdown", call!(|c| c.shutdown(false)), Response::Done),
        Op::new(
            "tell",
            call!(|c| {
                let (mut here, _there) = UnixStream::pair().expect("a pair of sockets");
                let news = Resumed {
                    entropy: None,
                    wall_clock_ns: None,
                };
                // On a handle that the peer does not hear, so that the ping is the request that it answers.
                c.tell(news, &mut here, LIMIT).and_then(|()| c.ping_within(LIMIT))
            }),
            Response::Done,
        )
        .limited(),
    ]
}

fn open() -> OpenFile {
    OpenFile {
        path: b"/f".to_vec().into(),
        read: true,
        write: false,
        create: false,
        truncate: false,
        append: false,
        exclusive: false,
        perm: None,
    }
}

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
    client.exchange.kept = KEPT;
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

/// What is done in place of a right answer.
#[derive(Clone, Copy)]
struct Misbehaviour {
    name: &'static str,
    /// Does it; the frames would have been right.
    act: fn(&mut UnixStream, &[Frame]),
    /// Whether it looks like silence, which only an op's own limit or the end of the machine ends.
    silent: bool,
    /// In the error of an op, where it is no silence.
    error: &'static str,
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

/// The same again and again until nobody listens.
fn repeat(stream: &mut UnixStream, bytes: &[u8], pause: Duration) {
    while stream.write_all(bytes).is_ok() {
        thread::sleep(pause);
    }
}

/// Waits until the client is gone, whatever it says.
fn wait(stream: &mut UnixStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

const AT_ONCE: Duration = Duration::ZERO;
const SLOWLY: Duration = Duration::from_millis(10);

const MISBEHAVIOURS: &[Misbehaviour] = &[
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

/// Runs an op against a peer that answers well but for the last time, then does something else. Checks that it ends
/// in time and that the session is over. `Ok` is what it failed with.
fn failed(
    op: &Op,
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

#[test]
fn every_request_and_every_response_is_here() {
    let mut heard = BTreeSet::new();
    let (send, receive) = std::sync::mpsc::channel();
    for op in ops() {
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
            for op in ops() {
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
    for op in ops() {
        let Some(Frame::Reply(Ok(right))) = op.answers.last().and_then(|frames| frames.last()) else {
            panic!("{} has no answer", op.name);
        };
        for other in responses() {
            let waits = op.name == "wait_syscall" && variant(&other) == "Running";
            if variant(&other) == variant(right) || waits {
                continue;
            }
            let what = format!("replies {other:?}");
            let got = failed(&op, &what, false, move |stream, _| {
                say(stream, &encoded(&[Frame::Reply(Ok(other))]));
                wait(stream);
            });
            assert!(
                got.contains("broke the protocol: expected "),
                "{}: {got}",
                op.name
            );
        }
    }
}

#[test]
fn buffers_that_are_not_those_of_the_call_are_not_believed() {
    let wrong: [&[usize]; 5] = [&[], &[7], &[9], &[8, 8], &[30 << 20]];
    for op in ops()
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
    for op in ops().iter().filter(|op| op.name != "pull_file") {
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
    for op in ops()
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
fn a_listing_that_is_none_ends_the_session() {
    let op = ops()
        .into_iter()
        .find(|op| op.name == "list_dir")
        .expect("the op");
    // No MessagePack; a list that claims to be huge; one that nests without end.
    for bytes in [
        vec![0xc1; 10],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
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
        assert_eq!(stream.read(Some(LIMIT)).expect("nothing"), Came::Nothing);
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
