//! Raw system calls: real ones, and requests that are wrong in themselves.

mod common;

use std::fs;

use common::{Host, raw_call};
use provium_protocol::*;

const READ: i64 = 0;
const WRITEV: i64 = 20;
const PIPE2: i64 = 293;
const FORK: i64 = 57;
const GETPID: i64 = 39;
const UNAME: i64 = 63;
const GETTID: i64 = 186;
const CLOSE: i64 = 3;
const WAIT4: i64 = 61;

fn with_bufs(mut call: Syscall, bufs: &[&[u8]], ptrs: &[(u8, u32)]) -> Syscall {
    call.bufs = bufs.iter().map(|bytes| bytes.to_vec().into()).collect();
    call.ptrs = ptrs.to_vec();
    call
}

fn make(host: &mut Host, call: Syscall) -> (i64, Vec<Vec<u8>>) {
    match host.ask(Request::Syscall(call)).1 {
        Ok(Response::Syscall { ret, bufs }) => (ret, bufs.into_iter().map(|buf| buf.into_vec()).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_without_memory() {
    let mut host = Host::new();
    assert_eq!(
        make(&mut host, raw_call(GETPID, &[])),
        (i64::from(std::process::id()), vec![])
    );
}

#[test]
fn failures_are_negative_error_numbers() {
    let mut host = Host::new();
    assert_eq!(make(&mut host, raw_call(CLOSE, &[u64::MAX])).0, -9);
    assert_eq!(make(&mut host, raw_call(100_000, &[])).0, -38);
    // A bad address is the kernel's to judge.
    assert_eq!(make(&mut host, raw_call(UNAME, &[8])).0, -14);
}

#[test]
fn all_calls_of_a_session_are_made_on_one_thread() {
    let (mut one, mut other) = (Host::new(), Host::new());
    let first = make(&mut one, raw_call(GETTID, &[])).0;
    for _ in 0..20 {
        assert_eq!(make(&mut one, raw_call(GETTID, &[])).0, first);
        assert_ne!(make(&mut other, raw_call(GETTID, &[])).0, first);
    }
}

#[test]
fn buffers_come_back_in_full_length() {
    let mut host = Host::new();
    let (ret, bufs) = make(
        &mut host,
        with_bufs(raw_call(UNAME, &[]), &[&[0xee; 400]], &[(0, 0)]),
    );
    assert_eq!((ret, bufs[0].len()), (0, 400));
    assert!(bufs[0].starts_with(b"Linux\0"));
    assert!(
        bufs[0][390..].iter().all(|byte| *byte == 0xee),
        "what the kernel left alone is as it was"
    );
}

#[test]
fn descriptors_live_from_call_to_call() {
    let mut host = Host::new();
    let (ret, bufs) = make(&mut host, with_bufs(raw_call(PIPE2, &[]), &[&[0; 8]], &[(0, 0)]));
    assert_eq!(ret, 0);
    let end = |at: usize| {
        u64::from(u32::from_ne_bytes(
            bufs[0][at..at + 4].try_into().expect("four bytes"),
        ))
    };
    let (reader, writer) = (end(0), end(4));

    // Two parts, gathered by pointers within a buffer.
    let mut parts = vec![0; 32];
    parts[8] = 3;
    parts[24] = 4;
    let mut gather = with_bufs(
        raw_call(WRITEV, &[writer, 0, 2]),
        &[b"abc", &parts, b"defg"],
        &[(1, 1)],
    );
    gather.nested = vec![
        Nested {
            parent: 1,
            offset: 0,
            child: 0,
        },
        Nested {
            parent: 1,
            offset: 16,
            child: 2,
        },
    ];
    assert_eq!(make(&mut host, gather).0, 7);

    let (ret, bufs) = make(
        &mut host,
        with_bufs(raw_call(READ, &[reader, 0, 100]), &[&[0; 100]], &[(1, 0)]),
    );
    assert_eq!((ret, &bufs[0][..8]), (7, &b"abcdefg\0"[..]));
    assert_eq!(make(&mut host, raw_call(CLOSE, &[reader])).0, 0);
    assert_eq!(make(&mut host, raw_call(CLOSE, &[writer])).0, 0);
}

#[test]
fn addresses_suit_every_call() {
    let mut host = Host::new();
    let mut nest = with_bufs(raw_call(GETPID, &[]), &[&[0; 24], &[0; 4096], &[], &[1]], &[]);
    nest.nested = (0..3)
        .map(|i| Nested {
            parent: 0,
            offset: 8 * i,
            child: i + 1,
        })
        .collect();
    let (_, bufs) = make(&mut host, nest);
    let address = |at: usize| u64::from_ne_bytes(bufs[0][at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(address(0) % 4096, 0, "direct I/O needs whole pages");
    assert_ne!(address(8), 0, "an empty buffer has an address");
    assert_eq!(address(16) % 16, 0);
}

#[test]
fn indices_are_checked_before_the_call() {
    let mut host = Host::new();
    let bufs: &[&[u8]] = &[&[0; 8], &[0; 16]];
    let nested = |parent, offset, child| {
        let mut call = with_bufs(raw_call(GETPID, &[]), bufs, &[]);
        call.nested = vec![
            Nested {
                parent: 0,
                offset: 0,
                child: 1,
            },
            Nested {
                parent,
                offset,
                child,
            },
        ];
        call
    };
    let pointed = |ptrs: &[(u8, u32)]| with_bufs(raw_call(GETPID, &[]), bufs, ptrs);
    let none = Syscall {
        ptrs: vec![(0, 0)],
        ..raw_call(GETPID, &[])
    };
    for (call, message) in [
        (
            pointed(&[(0, 0), (1, 2)]),
            "syscall: ptrs[1] names buffer 2, but there are 2, from 0",
        ),
        (
            pointed(&[(6, 0)]),
            "syscall: ptrs[0] names argument 6; arguments are 0 to 5",
        ),
        (
            pointed(&[(255, u32::MAX)]),
            "syscall: ptrs[0] names buffer 4294967295, but there are 2, from 0",
        ),
        (none, "syscall: ptrs[0] names buffer 0, but there are 0, from 0"),
        (
            nested(2, 0, 0),
            "syscall: nested[1].parent names buffer 2, but there are 2, from 0",
        ),
        (
            nested(0, 0, 9),
            "syscall: nested[1].child names buffer 9, but there are 2, from 0",
        ),
        (
            nested(0, 1, 1),
            "syscall: nested[1].offset is 1, but buffer 0 has 8 bytes and the pointer needs 8",
        ),
        (
            nested(1, u32::MAX, 1),
            "syscall: nested[1].offset is 4294967295, but buffer 1 has 16 bytes and the pointer needs 8",
        ),
    ] {
        let expected = OpError {
            errno: None,
            message: message.to_owned(),
        };
        assert_eq!(host.refusal(Request::Syscall(call)), expected);
    }
}

#[test]
fn the_child_of_a_fork_does_not_answer() {
    let mut host = Host::new();
    let (pid, _) = make(&mut host, raw_call(FORK, &[]));
    assert!(pid > 0, "{pid}");
    let (waited, bufs) = make(
        &mut host,
        with_bufs(raw_call(WAIT4, &[pid as u64]), &[&[0xff; 4]], &[(1, 0)]),
    );
    assert_eq!(
        (waited, bufs[0].as_slice()),
        (pid, &[0; 4][..]),
        "it ended with status 0"
    );
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn buffers_as_large_as_a_frame_come_back_or_are_refused() {
    let mut host = Host::new();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), vec![5; MAX_FRAME + 1_000_000]).expect("content");
    let mut path = file.path().as_os_str().as_encoded_bytes().to_vec();
    path.push(0);
    let (fd, _) = make(&mut host, with_bufs(raw_call(2, &[]), &[&path], &[(0, 0)]));
    assert!(fd >= 0, "{fd}");
    for size in [1_000_000, MAX_FRAME - 60] {
        let read = raw_call(READ, &[fd as u64, 0, size as u64]);
        let (ret, bufs) = make(&mut host, with_bufs(read, &[&vec![0; size]], &[(1, 0)]));
        assert_eq!(ret, size as i64);
        assert!(bufs[0].len() == size && bufs[0].iter().all(|byte| *byte == 5));
    }
    assert_eq!(make(&mut host, raw_call(CLOSE, &[fd as u64])).0, 0);
    // A request whose answer is longer than itself: the session survives, and says why.
    let many: Vec<&[u8]> = vec![b""; 3];
    let mut largest = with_bufs(raw_call(GETPID, &[]), &many, &[]);
    for room in ((MAX_FRAME - 60)..MAX_FRAME).step_by(3) {
        largest.bufs[0] = vec![0; room].into();
        let mut wire = Vec::new();
        let frame = Frame::Request(Request::Syscall(largest.clone()));
        if write_frame(&mut wire, &frame).is_err() {
            break;
        }
        host.send_raw(&wire);
        match host.answer().1 {
            Ok(Response::Syscall { bufs, .. }) => assert_eq!(bufs[0].len(), room),
            Err(error) => assert!(
                error.message.starts_with("the answer does not fit"),
                "{}",
                error.message
            ),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn a_call_that_blocks_has_a_thread_of_its_own() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut host = Host::new();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader) as u64;
    let read = with_bufs(raw_call(READ, &[fd, 0, 8]), &[&[0; 8]], &[(1, 0)]);
    let (handle, tid) = match host.ask(Request::StartSyscall(read)).1 {
        Ok(Response::Started { handle, pid }) => (handle, pid),
        other => panic!("{other:?}"),
    };
    assert!(fs::exists(format!("/proc/self/task/{tid}")).expect("a look"));
    let own = make(&mut host, raw_call(GETTID, &[])).0;
    assert_ne!(own, i64::from(tid), "the session goes on beside it");
    let wait = |timeout_ms| Request::WaitSyscall { handle, timeout_ms };
    assert_eq!(host.ask(wait(Some(0))).1, Ok(Response::Running));
    assert_eq!(host.ask(wait(Some(20))).1, Ok(Response::Running));
    std::io::Write::write_all(&mut writer, b"abc").expect("written");
    let expected = Response::Syscall {
        ret: 3,
        bufs: vec![b"abc\0\0\0\0\0".to_vec().into()],
    };
    assert_eq!(host.ask(wait(None)).1, Ok(expected));
    let error = host.refusal(wait(None));
    let why = format!("there is no system call with handle {handle}: it has been waited for");
    assert_eq!((error.errno, error.message), (None, why));

    // What is wrong with the request itself is told as well.
    let wrong = with_bufs(raw_call(READ, &[]), &[], &[(9, 9)]);
    let Ok(Response::Started { handle, .. }) = host.ask(Request::StartSyscall(wrong)).1 else {
        panic!("not started")
    };
    let error = host.refusal(Request::WaitSyscall {
        handle,
        timeout_ms: None,
    });
    assert!(error.message.starts_with("syscall: ptrs[0]"), "{}", error.message);
}

#[test]
fn a_call_on_its_own_thread_begins_with_the_sessions_credentials() {
    // A flag that the kernel keeps among a thread's credentials: PR_SET_KEEPCAPS, PR_GET_KEEPCAPS.
    let mut host = Host::new();
    assert_eq!(make(&mut host, raw_call(157, &[8, 1])).0, 0);
    let Ok(Response::Started { handle, .. }) = host.ask(Request::StartSyscall(raw_call(157, &[7]))).1 else {
        panic!("not started")
    };
    let wait = Request::WaitSyscall {
        handle,
        timeout_ms: None,
    };
    let expected = Response::Syscall {
        ret: 1,
        bufs: Vec::new(),
    };
    assert_eq!(host.ask(wait).1, Ok(expected));
    // A host that has gone does not wait for what never comes.
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader) as u64;
    let read = with_bufs(raw_call(READ, &[fd, 0, 1]), &[&[0; 1]], &[(1, 0)]);
    let Ok(Response::Started { handle, .. }) = host.ask(Request::StartSyscall(read)).1 else {
        panic!("not started")
    };
    host.send(&Frame::Request(Request::WaitSyscall {
        handle,
        timeout_ms: None,
    }));
    std::thread::sleep(std::time::Duration::from_millis(30));
    host.close().expect_err("in the middle of a request");
}
