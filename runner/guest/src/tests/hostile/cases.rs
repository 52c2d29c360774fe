//! Every request as the client makes it, with an answer that would be right.
//!
//! Input: nothing. Output: [`cases`] and [`responses`]. Not here: what the agent does in place of the answer.

use std::os::unix::net::UnixStream;

use provium_protocol::*;

use super::{LIMIT, variant, welcomed};
use crate::{ExecSpec, GuestClient, GuestError, ops};

/// A request as the client makes it.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Whether it ends by itself when nothing comes.
    pub(super) limited: bool,
    pub(super) call: fn(&mut Option<GuestClient>) -> Result<(), GuestError>,
    /// Right answers: to the requests before, and last to the one in question.
    pub(super) answers: Vec<Vec<Frame>>,
    /// Channels on which data may come.
    pub(super) channels: &'static [u8],
}

impl Case {
    fn new(
        name: &'static str,
        call: fn(&mut Option<GuestClient>) -> Result<(), GuestError>,
        response: Response,
    ) -> Case {
        Case {
            name,
            limited: false,
            call,
            answers: vec![vec![Frame::Reply(Ok(response))]],
            channels: &[],
        }
    }

    fn limited(self) -> Case {
        Case {
            limited: true,
            ..self
        }
    }

    fn with_data(mut self, channels: &'static [u8], bytes: &[u8]) -> Case {
        let channel = channels[0];
        let bytes = bytes.to_vec();
        self.answers[0].insert(0, Frame::Data { channel, bytes });
        Case { channels, ..self }
    }

    fn after(mut self, answer: Response) -> Case {
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
pub(super) fn responses() -> Vec<Response> {
    vec![
        Response::Done,
        Response::Exited(exited()),
        Response::Written { bytes: 3 },
        Response::Stat(Stat {
            size: u64::MAX,
            atime_ns: i64::MIN,
            mtime_ns: i64::MIN,
            ctime_ns: i64::MAX,
            mode: u32::MAX,
            uid: u32::MAX,
            gid: u32::MAX,
            nlink: u64::MAX,
            ino: u64::MAX,
            entry_type: EntryType::Other,
            target: Some(vec![0].into()),
        }),
        called(),
        Response::Started { handle: 5, pid: 7 },
        process(),
        Response::Count { count: u64::MAX },
        Response::Joined { ended: vec![] },
        Response::Opened { fd: -1 },
        Response::Offset { offset: u64::MAX },
        Response::Exists { exists: true },
        Response::Running,
        Response::Parked { ticket: 4 },
        Response::Worker {
            pid: 1,
            tid: 2,
            port: 3,
        },
        Response::Following { offset: 0 },
        Response::ThreadEnded(EndedThread {
            tid: u32::MAX,
            how: ThreadEnd::Killed,
            served: true,
        }),
    ]
}

/// The right kind of response for an op.
fn response(name: &str) -> Response {
    let mut all = responses().into_iter();
    all.find(|response| variant(response) == name)
        .expect("a response of this name")
}

pub(super) fn cases() -> Vec<Case> {
    let entries: Vec<DirEntry> = vec![DirEntry {
        name: b"a".to_vec().into(),
        entry_type: EntryType::File,
    }];
    let entries = rmp_serde::to_vec(&entries).expect("plain data");
    let written = || response("Written");
    vec![
        Case::new("ping", call!(|c| c.ping()), Response::Done),
        Case::new("ping_within", call!(|c| c.ping_within(LIMIT)), Response::Done).limited(),
        Case::new("exec", call!(|c| c.ask(ops::exec(shell()))), response("Exited"))
            .limited()
            .with_data(&[STDOUT, STDERR], b"out"),
        Case::new(
            "exec, with input",
            call!(|c| c.ask(ops::exec(with_input(100)))),
            response("Exited"),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Case::new(
            "exec, with much input",
            call!(|c| c.ask(ops::exec(with_input(1 << 20)))),
            response("Exited"),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Case::new(
            "exec, without a limit",
            call!(|c| c.ask(ops::exec(ExecSpec::shell("true")))),
            response("Exited"),
        )
        .with_data(&[STDOUT, STDERR], b"out"),
        Case::new(
            "read_file",
            call!(|c| c.ask(ops::read_file(b"/f"))),
            Response::Done,
        )
        .with_data(&[BODY], b"content"),
        Case::new(
            "pull_file",
            call!(|c| c.pull_file(b"/f", &mut std::io::sink())),
            Response::Done,
        )
        .with_data(&[BODY], b"content"),
        Case::new(
            "write_file",
            call!(|c| c.ask(ops::write_file(b"/f", None, b"abc".to_vec()))),
            written(),
        ),
        Case::new(
            "push_file, much",
            call!(|c| c.push_file(b"/f", None, &mut vec![1; 1 << 20].as_slice())),
            written(),
        ),
        Case::new(
            "attach",
            |client| {
                nothing(
                    client
                        .take()
                        .expect("a client")
                        .attach(ExecSpec::shell("true"), None),
                )
            },
            response("Started"),
        ),
        Case::new(
            "resize_terminal",
            call!(|c| c.ask(ops::resize_terminal(5, TerminalSize { rows: 1, columns: 1 }))),
            Response::Done,
        ),
        Case::new("stat", call!(|c| c.ask(ops::stat(b"/f", true))), response("Stat")),
        Case::new("list_dir", call!(|c| c.ask(ops::list_dir(b"/"))), Response::Done)
            .with_data(&[BODY], &entries),
        Case::new(
            "make_dir",
            call!(|c| c.ask(ops::make_dir(b"/d", true, None))),
            Response::Done,
        ),
        Case::new("unlink", call!(|c| c.ask(ops::unlink(b"/f"))), Response::Done),
        Case::new(
            "rename",
            call!(|c| c.ask(ops::rename(b"/f", b"/g"))),
            Response::Done,
        ),
        Case::new(
            "remove_dir",
            call!(|c| c.ask(ops::remove_dir(b"/d", true))),
            Response::Done,
        ),
        Case::new(
            "chmod",
            call!(|c| c.ask(ops::chmod(b"/f", 0o600))),
            Response::Done,
        ),
        Case::new(
            "chown",
            call!(|c| c.ask(ops::chown(b"/f", Some(1), None, true))),
            Response::Done,
        ),
        Case::new(
            "symlink",
            call!(|c| c.ask(ops::symlink(b"/f", b"/l"))),
            Response::Done,
        ),
        Case::new(
            "read_link",
            call!(|c| c.ask(ops::read_link(b"/l"))),
            Response::Done,
        )
        .with_data(&[BODY], b"/f"),
        Case::new(
            "truncate",
            call!(|c| c.ask(ops::truncate(b"/f", 5))),
            Response::Done,
        ),
        Case::new("exists", call!(|c| c.ask(ops::exists(b"/f"))), response("Exists")),
        Case::new(
            "open_file",
            call!(|c| c.ask(ops::open_file(open()))),
            response("Opened"),
        ),
        Case::new(
            "read_fd",
            call!(|c| c.ask(ops::read_fd(3, Some(10)))),
            Response::Done,
        )
        .with_data(&[BODY], b"content"),
        Case::new(
            "write_fd",
            call!(|c| c.ask(ops::write_fd(3, b"abc".to_vec()))),
            written(),
        ),
        Case::new(
            "seek_fd",
            call!(|c| c.ask(ops::seek_fd(3, 0, Whence::End))),
            response("Offset"),
        ),
        Case::new("close_fd", call!(|c| c.ask(ops::close_fd(3))), Response::Done),
        Case::new("syscall", call!(|c| c.ask(ops::syscall(getpid()))), called()),
        Case::new(
            "start_syscall",
            call!(|c| c.ask(ops::start_syscall(getpid()))),
            response("Started"),
        ),
        Case::new(
            "wait_syscall",
            call!(|c| c.ask(ops::wait_syscall(5, Some(LIMIT), vec![8]))),
            called(),
        )
        .limited(),
        Case::new("start", call!(|c| c.start(&shell())), response("Started")),
        Case::new(
            "start, with input",
            call!(|c| c.start(&with_input(100))),
            response("Started"),
        ),
        Case::new(
            "wait_process",
            call!(|c| c.wait_process(5, Some(LIMIT), true, [0, 0])),
            process(),
        )
        .limited()
        .with_data(&[STDOUT, STDERR], b"out"),
        Case::new(
            "process_state",
            call!(|c| c.ask(ops::process_state(5))),
            process(),
        ),
        Case::new(
            "signal_process",
            call!(|c| c.ask(ops::signal_process(5, 9))),
            Response::Done,
        ),
        Case::new(
            "signal_group",
            call!(|c| c.ask(ops::signal_group(5, 9))),
            Response::Done,
        ),
        Case::new(
            "write_stdin",
            call!(|c| c.ask(ops::write_stdin(5, b"abc".to_vec()))),
            written(),
        ),
        Case::new(
            "close_stdin",
            call!(|c| c.ask(ops::close_stdin(5))),
            Response::Done,
        ),
        Case::new(
            "begin_end_process",
            call!(|c| c.ask(ops::begin_end_process(5))),
            Response::Done,
        ),
        Case::new("end_process", call!(|c| c.end_process(5)), Response::Done),
        Case::new(
            "end_processes",
            call!(|c| c.start(&shell()).and_then(|_| c.end_processes())),
            response("Count"),
        )
        .after(response("Started")),
        Case::new(
            "signal_processes",
            call!(|c| c.ask(ops::signal_processes(15))),
            response("Count"),
        ),
        Case::new(
            "join_processes",
            call!(|c| c.ask(ops::join_processes())),
            response("Joined"),
        ),
        Case::new(
            "follow",
            |client| nothing(client.take().expect("a client").follow(Follow::Fd { fd: 3 })),
            response("Following"),
        ),
        Case::new(
            "park",
            |client| nothing(client.take().expect("a client").park()),
            response("Parked"),
        ),
        Case::new(
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
        Case::new(
            "take_over",
            |client| {
                let (mut other, _peer) = welcomed(|mut stream| {
                    let _ = read_frame(&mut stream);
                });
                client.as_mut().expect("a client").take_over(&mut other, 4)
            },
            Response::Done,
        ),
        Case::new(
            "batch",
            call!(|c| c.batch([ops::unlink(b"/f").map(|()| Vec::new()), ops::read_file(b"/f")])),
            Response::Done,
        )
        .with_data(&[BODY], b"content")
        .after(Response::Done),
        Case::new("shutdown", call!(|c| c.shutdown(false, LIMIT)), Response::Done).limited(),
        Case::new(
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
