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
    ];
    frames.extend(requests().into_iter().map(Frame::Request));
    frames.extend(replies().into_iter().map(Frame::Reply));
    for frame in &frames {
        match frame {
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refused(_) | Frame::Request(_) => {}
            Frame::Reply(_) | Frame::Data { .. } | Frame::End { .. } => {}
        }
    }
    frames
}

fn requests() -> Vec<Request> {
    let path = || b"/a\xff".to_vec().into();
    let requests = vec![
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
    for request in &requests {
        match request {
            Request::Ping | Request::Exec(_) | Request::ReadFile { .. } | Request::WriteFile { .. } => {}
            Request::Stat { .. } | Request::Syscall(_) | Request::Shutdown { .. } => {}
            Request::Resumed(_) => {}
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
            mtime: -1,
            mtime_ns: 999_999_999,
            perm: 0o4755,
            entry_type,
        }))
    }));
    for response in replies.iter().flatten() {
        match response {
            Response::Done | Response::Exited(_) | Response::Written { .. } => {}
            Response::Stat(_) | Response::Syscall { .. } => {}
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
