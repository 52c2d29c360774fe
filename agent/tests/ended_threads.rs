//! Threads that the kernel ends: whoever waits for them hears of it, and nobody else is held up.

mod common;

use std::fs;
use std::io::Read;

use common::{Host, bytes, is_running, open, program, raw_call, shell, spawn_worker, wait_until};
use provium_protocol::*;

const EXIT: i64 = 60;
const GETPID: i64 = 39;
const GETTID: i64 = 186;
const PRCTL: i64 = 157;
const PR_SET_SECCOMP: u64 = 22;
const SECCOMP_MODE_STRICT: u64 = 1;

fn call(host: &mut Host, nr: i64, args: &[u64]) -> Reply {
    host.ask(Request::Syscall(raw_call(nr, args))).1
}

fn tid(host: &mut Host) -> u32 {
    match call(host, GETTID, &[]) {
        Ok(Response::Syscall { ret, .. }) => u32::try_from(ret).expect("a thread id"),
        other => panic!("{other:?}"),
    }
}

/// The reply of a session whose thread has ended.
fn ended(tid: u32, how: ThreadEnd) -> Reply {
    let served = true;
    Ok(Response::ThreadEnded(EndedThread { tid, how, served }))
}

/// Nothing more comes on the connection.
fn is_over(host: &mut Host) {
    assert_eq!(host.stream.read(&mut [0; 1]).expect("an end"), 0);
}

fn start(host: &mut Host, exec: Exec) -> (u64, u32) {
    match host.ask(Request::Start(exec)).1 {
        Ok(Response::Started { handle, pid }) => (handle, pid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_whose_thread_ends_is_answered_and_the_session_is_over() {
    let mut host = Host::new();
    let own = tid(&mut host);
    assert_eq!(
        call(&mut host, EXIT, &[3]),
        ended(own, ThreadEnd::Exit { status: 3 })
    );
    is_over(&mut host);
}

#[test]
fn what_seccomp_does_not_allow_is_told_apart() {
    let mut host = Host::new();
    let own = tid(&mut host);
    host.send(&Frame::Request(Request::Syscall(raw_call(
        PRCTL,
        &[PR_SET_SECCOMP, SECCOMP_MODE_STRICT],
    ))));
    // Whether memory for the answer can be had without a forbidden call is the allocator's affair.
    let reply = match host.answer().1 {
        Ok(Response::Syscall { ret: 0, .. }) => call(&mut host, GETPID, &[]),
        other => other,
    };
    assert_eq!(reply, ended(own, ThreadEnd::Seccomp));
    is_over(&mut host);
}

#[test]
fn the_hosts_own_session_goes_on_with_all_it_had_on_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "content").expect("written");
    let mut host = Host::new();
    let own = tid(&mut host);
    let fd = open(&mut host, &path, false);
    let (handle, pid) = start(&mut host, program(&["/bin/sleep", "1000"]));
    let mut next = host.beside();
    let missing = next.refusal(Request::TakeOver { tid: own });
    assert!(missing.message.contains(&own.to_string()), "{}", missing.message);
    assert_eq!(
        call(&mut host, EXIT, &[0]),
        ended(own, ThreadEnd::Exit { status: 0 })
    );
    assert_eq!(next.ask(Request::TakeOver { tid: own }).1, Ok(Response::Done));
    let (output, reply) = next.ask(Request::ReadFd { fd, max: None });
    assert_eq!(
        (output.body.as_slice(), reply),
        (&b"content"[..], Ok(Response::Done))
    );
    assert!(is_running(pid));
    // As its own: it is signalled with the session's programs, and ends with the session.
    let count = next
        .ask(Request::SignalProcesses {
            signal: libc::SIGCONT,
        })
        .1;
    assert_eq!(count, Ok(Response::Count { count: 1 }));
    assert!(matches!(
        next.ask(Request::ProcessState { handle }).1,
        Ok(Response::Process(_))
    ));

    // And so from there on.
    let second = tid(&mut next);
    assert_eq!(
        call(&mut next, EXIT, &[0]),
        ended(second, ThreadEnd::Exit { status: 0 })
    );
    let mut third = host.beside();
    assert_eq!(third.ask(Request::TakeOver { tid: second }).1, Ok(Response::Done));
    assert!(is_running(pid));
    third.close().expect("closed");
    wait_until("the program has ended with its session", || !is_running(pid));
}

#[test]
fn a_further_session_takes_with_it_what_it_had() {
    let host = Host::new();
    let mut other = host.beside();
    let own = tid(&mut other);
    let (_, pid) = start(&mut other, program(&["/bin/sleep", "1000"]));
    let fd = open(&mut other, "/dev/null".as_ref(), false);
    assert_eq!(
        call(&mut other, EXIT, &[0]),
        ended(own, ThreadEnd::Exit { status: 0 })
    );
    wait_until("the program has ended", || !is_running(pid));
    wait_until("the file is closed", || {
        fs::read_link(format!("/proc/self/fd/{fd}")).is_err()
    });
    let mut third = host.beside();
    assert!(
        third
            .refusal(Request::TakeOver { tid: own })
            .message
            .contains("no session")
    );
}

#[test]
fn workers_end_alone() {
    let mut host = Host::new();
    for thread in [true, false] {
        let mut worker = spawn_worker(&mut host, thread);
        let (_, program) = start(&mut worker, program(&["/bin/sleep", "1000"]));
        let (own, pid) = (worker.tid, worker.pid);
        assert_eq!(
            call(&mut worker, EXIT, &[1]),
            ended(own, ThreadEnd::Exit { status: 1 })
        );
        is_over(&mut worker);
        wait_until("its program has ended", || !is_running(program));
        if !thread {
            wait_until("the process has ended with its first thread", || {
                !fs::exists(format!("/proc/{pid}")).unwrap_or(true)
            });
        }
        assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
    }
}

#[test]
fn a_call_on_a_thread_of_its_own_ends_alone() {
    let mut host = Host::new();
    let (handle, tid) = match host.ask(Request::StartSyscall(raw_call(EXIT, &[2]))).1 {
        Ok(Response::Started { handle, pid }) => (handle, pid),
        other => panic!("{other:?}"),
    };
    let timeout_ms = None;
    let ended = EndedThread {
        tid,
        how: ThreadEnd::Exit { status: 2 },
        served: false,
    };
    let reply = host.ask(Request::WaitSyscall { handle, timeout_ms }).1;
    assert_eq!(reply, Ok(Response::ThreadEnded(ended)));
    assert!(
        host.refusal(Request::WaitSyscall { handle, timeout_ms })
            .message
            .contains("no system call")
    );
}

/// Actions of seccomp.
const KILL_THREAD: u32 = 0;
const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS as u32;

/// Has the kernel do this about each call of this number, by the session's own thread and by those it makes.
fn forbid(host: &mut Host, nr: u32, action: u32) {
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    const SECCOMP_MODE_FILTER: u64 = 2;
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    let step = |code: u16, skip_if_not: u8, value: u32| {
        let [low, high] = code.to_ne_bytes();
        let [a, b, c, d] = value.to_ne_bytes();
        [low, high, 0, skip_if_not, a, b, c, d]
    };
    let filter = [
        step(LOAD, 0, 0),
        step(JUMP_IF_EQUAL, 1, nr),
        step(RETURN, 0, action),
        step(RETURN, 0, ALLOW),
    ];
    let mut head = vec![0; 16];
    head[0] = filter.len() as u8;
    let mut install = raw_call(PRCTL, &[PR_SET_SECCOMP, SECCOMP_MODE_FILTER]);
    install.bufs = vec![head.into(), filter.concat().into()];
    install.ptrs = vec![(2, 0)];
    install.nested = vec![Nested {
        parent: 0,
        offset: 8,
        child: 1,
    }];
    for call in [raw_call(PRCTL, &[PR_SET_NO_NEW_PRIVS, 1]), install] {
        match host.ask(Request::Syscall(call)).1 {
            Ok(Response::Syscall { ret: 0, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_program_whose_thread_ends_is_killed_and_said_to_be() {
    const WAITID: u32 = 247;
    let mut host = Host::new();
    forbid(&mut host, WAITID, KILL_THREAD);
    // Its thread ends when it asks how the program has.
    let (handle, pid) = start(&mut host, shell("sleep 1000 & exit"));
    let wait = |handle| {
        Request::WaitProcess(WaitProcess {
            handle,
            timeout_ms: None,
            kill: false,
            from: [0, 0],
        })
    };
    match host.ask(wait(handle)).1 {
        Ok(Response::ThreadEnded(ended)) => assert!(!ended.served && ended.tid != pid, "{ended:?}"),
        other => panic!("{other:?}"),
    }
    assert!(host.refusal(wait(handle)).message.contains("no process"));
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn a_stream_whose_watcher_ends_says_so() {
    const INOTIFY_ADD_WATCH: u32 = 254;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "content").expect("written");
    let mut host = Host::new();
    forbid(&mut host, INOTIFY_ADD_WATCH, KILL_THREAD);
    let follow = Follow::File {
        path: bytes(&path),
        start: FollowStart::Offset(0),
    };
    assert_eq!(
        host.ask(Request::Follow(follow)).1,
        Ok(Response::Following { offset: 0 })
    );
    let (output, reply) = host.answer();
    assert_eq!(output.body, b"content");
    assert!(
        matches!(reply, Ok(Response::ThreadEnded(ended)) if !ended.served),
        "{reply:?}"
    );
}

/// As before Linux 5.16: a worker's process watches its threads by itself.
#[test]
fn without_futex_waitv_the_threads_are_looked_at() {
    const FUTEX_WAITV: u32 = 449;
    let mut host = Host::new();
    forbid(&mut host, FUTEX_WAITV, NO_SUCH_CALL);
    let mut worker = spawn_worker(&mut host, false);
    let own = worker.tid;
    let reply = call(&mut worker, EXIT, &[1]);
    assert_eq!(reply, ended(own, ThreadEnd::Exit { status: 1 }));
    is_over(&mut worker);
}
