//! Examples of every message, shared by the tests.
#![allow(dead_code, reason = "each test file uses a part")]

use provium_protocol::*;

/// One or more examples of every frame, request, reply and enum value there is. The matches below refuse to
/// compile when a variant is added, which is the reminder to add its example.
pub(crate) fn examples() -> Vec<Frame> {
    let mut frames = vec![
        Frame::Hello(Hello {
            magic: MAGIC.to_owned(),
            version: 7,
            build: "0.1.0".to_owned(),
            pid: 42,
        }),
        Frame::Welcome(Welcome { version: 7 }),
        Frame::Refused(Refused {
            reason: "the agent speaks version 7".to_owned(),
        }),
        Frame::Data {
            channel: STDERR,
            bytes: vec![0, 255, 10],
        },
        Frame::Data {
            channel: BODY,
            bytes: Vec::new(),
        },
        Frame::End { channel: BODY },
        Frame::Taint(Taint { before: 0, now: 512 }),
    ];
    frames.extend(requests().into_iter().map(Frame::Request));
    frames.extend(replies().into_iter().map(Frame::Reply));
    for frame in &frames {
        match frame {
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refused(_) | Frame::Request(_) => {}
            Frame::Reply(_) | Frame::Data { .. } | Frame::End { .. } | Frame::Taint(_) => {}
        }
    }
    frames
}

fn requests() -> Vec<Request> {
    let path = || b"/a\xff".to_vec().into();
    let mut requests = vec![
        Request::Ping,
        Request::Exec(Exec {
            argv: vec![path(), b"-x".to_vec().into()],
            env: vec![(b"A".to_vec().into(), b"b".to_vec().into())],
            env_clear: true,
            cwd: Some(path()),
            has_stdin: true,
            timeout_ms: Some(1500),
        }),
        Request::Exec(Exec {
            argv: vec![path()],
            env: Vec::new(),
            env_clear: false,
            cwd: None,
            has_stdin: false,
            timeout_ms: None,
        }),
        Request::ReadFile { path: path() },
        Request::WriteFile {
            path: path(),
            perm: Some(0o600),
        },
        Request::WriteFile {
            path: path(),
            perm: None,
        },
        Request::Stat {
            path: path(),
            follow: true,
        },
        Request::Syscall(Syscall {
            nr: 39,
            args: [0, 1, u64::MAX, 3, 4, 5],
            bufs: vec![vec![1, 2, 3].into(), vec![0; 16].into()],
            ptrs: vec![(1, 0)],
            nested: vec![Nested {
                parent: 1,
                offset: 8,
                child: 0,
            }],
        }),
        Request::Start(Exec {
            argv: vec![path()],
            env: Vec::new(),
            env_clear: false,
            cwd: None,
            has_stdin: true,
            timeout_ms: None,
        }),
        Request::WaitProcess(WaitProcess {
            handle: 1 << 40,
            timeout_ms: Some(0),
            kill: true,
            from: [5, 1 << 33],
        }),
        Request::ProcessState { handle: 1 },
        Request::SignalProcess {
            handle: 1,
            signal: 15,
        },
        Request::SignalGroup {
            handle: 1,
            signal: 15,
        },
        Request::Attach(Attach {
            exec: Exec {
                argv: vec![path()],
                env: Vec::new(),
                env_clear: false,
                cwd: None,
                has_stdin: false,
                timeout_ms: None,
            },
            terminal: Some(Terminal {
                stdin: true,
                stdout: false,
                stderr: true,
                cooked: true,
                size: TerminalSize {
                    rows: 24,
                    columns: 80,
                },
            }),
        }),
        Request::ResizeTerminal {
            handle: 1,
            size: TerminalSize {
                rows: 50,
                columns: 132,
            },
        },
        Request::WriteStdin { handle: 1 },
        Request::CloseStdin { handle: 1 },
        Request::BeginEndProcess { handle: 1 },
        Request::EndProcess { handle: 1 },
        Request::SignalProcesses { signal: -1 },
        Request::JoinProcesses,
        Request::OpenFile(OpenFile {
            path: path(),
            read: true,
            write: false,
            create: true,
            truncate: false,
            append: true,
            exclusive: false,
            perm: Some(0o4755),
        }),
        Request::ReadFd { fd: 3, max: Some(0) },
        Request::ReadFd { fd: -1, max: None },
        Request::WriteFd { fd: 3 },
        Request::CloseFd { fd: 3 },
        Request::ListDir { path: path() },
        Request::MakeDir {
            path: path(),
            parents: true,
            perm: Some(0o700),
        },
        Request::Unlink { path: path() },
        Request::Rename {
            from: path(),
            to: b"/b".to_vec().into(),
        },
        Request::RemoveDir {
            path: path(),
            recursive: true,
        },
        Request::Chmod {
            path: path(),
            perm: 0o4755,
        },
        Request::Chown {
            path: path(),
            uid: Some(1000),
            gid: None,
            follow: false,
        },
        Request::Symlink {
            target: b"to".to_vec().into(),
            path: path(),
        },
        Request::ReadLink { path: path() },
        Request::Truncate {
            path: path(),
            size: 1 << 40,
        },
        Request::Exists { path: path() },
        Request::StartSyscall(Syscall {
            nr: 0,
            args: [0; 6],
            bufs: Vec::new(),
            ptrs: Vec::new(),
            nested: Vec::new(),
        }),
        Request::WaitSyscall {
            handle: 2,
            timeout_ms: None,
        },
        Request::Park,
        Request::SpawnWorker {
            ticket: 3,
            thread: true,
        },
        Request::Follow(Follow::Fd { fd: 3 }),
        Request::Follow(Follow::Output {
            handle: 1,
            stderr: true,
            from: 7,
        }),
        Request::TakeOver { tid: 44 },
        Request::Shutdown { reboot: false },
        Request::Resumed(Resumed {
            entropy: Some(vec![1, 2, 3].into()),
            wall_clock_ns: Some(5),
        }),
        Request::Resumed(Resumed {
            entropy: None,
            wall_clock_ns: None,
        }),
    ];
    for whence in [Whence::Set, Whence::Current, Whence::End] {
        match whence {
            Whence::Set | Whence::Current | Whence::End => {}
        }
        requests.push(Request::SeekFd {
            fd: 3,
            offset: -7,
            whence,
        });
    }
    for start in [FollowStart::End, FollowStart::Offset(-9)] {
        match start {
            FollowStart::End | FollowStart::Offset(_) => {}
        }
        requests.push(Request::Follow(Follow::File { path: path(), start }));
    }
    for request in &requests {
        match request {
            Request::Ping | Request::Exec(_) | Request::ReadFile { .. } | Request::WriteFile { .. } => {}
            Request::Stat { .. } | Request::Syscall(_) | Request::Shutdown { .. } => {}
            Request::Start(_) | Request::WaitProcess(_) | Request::ProcessState { .. } => {}
            Request::SignalProcess { .. } | Request::WriteStdin { .. } | Request::CloseStdin { .. } => {}
            Request::SignalGroup { .. } | Request::Attach(_) | Request::ResizeTerminal { .. } => {}
            Request::BeginEndProcess { .. }
            | Request::EndProcess { .. }
            | Request::SignalProcesses { .. }
            | Request::JoinProcesses => {}
            Request::OpenFile(_) | Request::ReadFd { .. } | Request::WriteFd { .. } => {}
            Request::SeekFd { .. } | Request::CloseFd { .. } | Request::ListDir { .. } => {}
            Request::MakeDir { .. } | Request::Unlink { .. } | Request::Rename { .. } => {}
            Request::RemoveDir { .. } | Request::Chmod { .. } | Request::Chown { .. } => {}
            Request::Symlink { .. } | Request::ReadLink { .. } | Request::Truncate { .. } => {}
            Request::Exists { .. } => {}
            Request::StartSyscall(_) | Request::WaitSyscall { .. } | Request::Park => {}
            Request::SpawnWorker { .. } | Request::TakeOver { .. } | Request::Resumed(_) => {}
            Request::Follow(Follow::File { .. } | Follow::Fd { .. } | Follow::Output { .. }) => {}
        }
    }
    requests
}

fn replies() -> Vec<Reply> {
    let ends = [
        ExitStatus::Exited(-1),
        ExitStatus::Signalled(9),
        ExitStatus::TimedOut,
    ];
    for end in ends {
        match end {
            ExitStatus::Exited(_) | ExitStatus::Signalled(_) | ExitStatus::TimedOut => {}
        }
    }
    let types = [
        EntryType::File,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Fifo,
        EntryType::Socket,
        EntryType::BlockDevice,
        EntryType::CharDevice,
        EntryType::Other,
    ];
    for entry_type in types {
        match entry_type {
            EntryType::File | EntryType::Directory | EntryType::Symlink | EntryType::Fifo => {}
            EntryType::Socket | EntryType::BlockDevice | EntryType::CharDevice | EntryType::Other => {}
        }
    }
    let mut replies = vec![
        Ok(Response::Done),
        Ok(Response::Written { bytes: 1 << 40 }),
        Ok(Response::Syscall {
            ret: -2,
            bufs: vec![vec![9].into()],
        }),
        Ok(Response::Started {
            handle: 1 << 40,
            pid: 42,
        }),
        Ok(Response::Process(Process {
            pid: 42,
            ended: None,
            from: [0, 1 << 33],
        })),
        Ok(Response::Process(Process {
            pid: 42,
            ended: Some(Exited {
                status: ExitStatus::TimedOut,
                duration_ns: 5,
            }),
            from: [0, 0],
        })),
        Ok(Response::Count { count: 2 }),
        Ok(Response::Joined {
            ended: vec![Joined {
                handle: 1,
                pid: 42,
                ended: Exited {
                    status: ExitStatus::Exited(1),
                    duration_ns: 5,
                },
            }],
        }),
        Ok(Response::Opened { fd: 3 }),
        Ok(Response::Offset { offset: 1 << 40 }),
        Ok(Response::Exists { exists: false }),
        Ok(Response::Running),
        Ok(Response::Parked { ticket: 3 }),
        Ok(Response::Worker {
            pid: 43,
            tid: 44,
            port: 1 << 31,
        }),
        Ok(Response::Following { offset: 9 }),
        Ok(Response::ThreadEnded(EndedThread {
            tid: 44,
            how: ThreadEnd::Exit { status: -1 },
            served: true,
        })),
        Ok(Response::ThreadEnded(EndedThread {
            tid: 44,
            how: ThreadEnd::Seccomp,
            served: true,
        })),
        Ok(Response::ThreadEnded(EndedThread {
            tid: 44,
            how: ThreadEnd::Killed,
            served: false,
        })),
        Err(OpError {
            errno: Some(2),
            message: "open `/x`: No such file or directory".to_owned(),
        }),
        Err(OpError {
            errno: None,
            message: "no".to_owned(),
        }),
    ];
    replies.extend(ends.map(|status| {
        Ok(Response::Exited(Exited {
            status,
            duration_ns: 1_000_000_007,
        }))
    }));
    replies.extend(types.map(|entry_type| {
        Ok(Response::Stat(Stat {
            size: 5,
            atime_ns: 1_000_000_000_999_999_999,
            mtime_ns: -1,
            ctime_ns: 0,
            mode: 0o104_755,
            uid: 1000,
            gid: 100,
            nlink: 2,
            ino: 1 << 40,
            target: (entry_type == EntryType::Symlink).then(|| b"to\xff".to_vec().into()),
            entry_type,
        }))
    }));
    for response in replies.iter().flatten() {
        match response {
            Response::Done | Response::Exited(_) | Response::Written { .. } => {}
            Response::Stat(_) | Response::Syscall { .. } | Response::Started { .. } => {}
            Response::Process(_) | Response::Count { .. } | Response::Joined { .. } => {}
            Response::Opened { .. } | Response::Offset { .. } | Response::Running => {}
            Response::Exists { .. } => {}
            Response::Parked { .. } | Response::Worker { .. } | Response::Following { .. } => {}
            Response::ThreadEnded(ended) => match ended.how {
                ThreadEnd::Exit { .. } | ThreadEnd::Seccomp | ThreadEnd::Killed => {}
            },
        }
    }
    replies
}

/// A frame as it goes over the wire.
pub(crate) fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, frame).expect("an example can be written");
    bytes
}
