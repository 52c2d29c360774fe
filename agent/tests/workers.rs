//! Workers: threads and processes that answer on connections of their own.

mod common;

use std::fs;
use std::thread;

use common::{
    Host, Worker, bytes, is_running, open, park, program, raw_call, shell, spawn_worker as spawn, wait_until,
};
use provium_protocol::*;

const GETPID: i64 = 39;
const GETPPID: i64 = 110;
const GETTID: i64 = 186;
const PRCTL: i64 = 157;
/// `prctl` operations on a flag that the kernel keeps among a thread's credentials.
const PR_GET_KEEPCAPS: u64 = 7;
const PR_SET_KEEPCAPS: u64 = 8;

fn call(host: &mut Host, nr: i64, args: &[u64]) -> i64 {
    match host.ask(Request::Syscall(raw_call(nr, args))).1 {
        Ok(Response::Syscall { ret, .. }) => ret,
        other => panic!("{other:?}"),
    }
}

fn output(host: &mut Host, exec: Exec) -> String {
    let (output, reply) = host.ask(Request::Exec(exec));
    assert_eq!(common::exited(reply).status, ExitStatus::Exited(0));
    String::from_utf8(output.stdout).expect("text")
}

/// The host's end is closed and the worker's process gone.
fn close(worker: Worker) {
    let pid = worker.pid;
    worker
        .host
        .stream
        .shutdown(std::net::Shutdown::Both)
        .expect("shut down");
    wait_until("it has been reaped", || {
        !fs::exists(format!("/proc/{pid}")).expect("a look")
    });
}

#[test]
fn a_thread_shares_all_but_its_credentials() {
    let mut host = Host::new();
    assert_eq!(call(&mut host, PRCTL, &[PR_SET_KEEPCAPS, 1]), 0);
    let mut worker = spawn(&mut host, true);
    let own = call(&mut worker, GETTID, &[]);
    assert_eq!((worker.pid, i64::from(worker.tid)), (std::process::id(), own));
    assert_eq!(worker.port, AGENT_PORT);
    assert_ne!(call(&mut host, GETTID, &[]), own);
    assert_eq!(
        call(&mut worker, PRCTL, &[PR_GET_KEEPCAPS]),
        1,
        "it begins with the session's"
    );
    assert_eq!(call(&mut worker, PRCTL, &[PR_SET_KEEPCAPS, 0]), 0);
    assert_eq!(call(&mut host, PRCTL, &[PR_GET_KEEPCAPS]), 1);

    let file = tempfile::NamedTempFile::new().expect("a file");
    let fd = open(&mut host, file.path(), true);
    let (_, reply) = worker.ask_with(Request::WriteFd { fd }, b"shared");
    assert_eq!(reply, Ok(Response::Written { bytes: 6 }));
    assert_eq!(fs::read(file.path()).expect("the file"), b"shared");
    assert_eq!(output(&mut worker, shell("echo here")), "here\n");
    // Each lives by its own connection.
    host.close().expect("a good end");
    assert_eq!(worker.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn a_process_is_one_of_its_own() {
    let mut host = Host::new();
    assert_eq!(call(&mut host, PRCTL, &[PR_SET_KEEPCAPS, 1]), 0);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let fd = open(&mut host, file.path(), true);
    let mut worker = spawn(&mut host, false);
    assert_ne!(worker.pid, std::process::id());
    assert_eq!(worker.tid, worker.pid);
    assert_ne!(worker.port, AGENT_PORT);
    let pid = i64::from(worker.pid);
    assert_eq!(call(&mut worker, GETPID, &[]), pid);
    assert_eq!(call(&mut worker, GETTID, &[]), pid);
    assert_eq!(call(&mut worker, GETPPID, &[]), i64::from(std::process::id()));
    assert_eq!(call(&mut worker, PRCTL, &[PR_GET_KEEPCAPS]), 1);
    assert_eq!(call(&mut worker, PRCTL, &[PR_SET_KEEPCAPS, 0]), 0);
    assert_eq!(call(&mut host, PRCTL, &[PR_GET_KEEPCAPS]), 1);

    // The test's descriptors came along, and their closing is the worker's own.
    let (_, reply) = worker.ask_with(Request::WriteFd { fd }, b"through both");
    assert_eq!(reply, Ok(Response::Written { bytes: 12 }));
    assert_eq!(worker.ask(Request::CloseFd { fd }).1, Ok(Response::Done));
    worker.refusal(Request::CloseFd { fd });
    let seek = Request::SeekFd {
        fd,
        offset: 0,
        whence: Whence::Current,
    };
    assert_eq!(
        host.ask(seek).1,
        Ok(Response::Offset { offset: 12 }),
        "the position is shared"
    );

    // It does all that an agent does.
    assert_eq!(output(&mut worker, shell("echo $PPID")), format!("{pid}\n"));
    let Ok(Response::Started { handle, pid: child }) =
        worker.ask(Request::Start(program(&["sleep", "1000"]))).1
    else {
        panic!("not started")
    };
    assert_eq!(handle, 1, "its tables are its own");
    host.refusal(Request::ProcessState { handle });
    let error = worker.refusal(Request::Shutdown { reboot: false });
    assert_eq!(
        error.message,
        "a worker cannot end the machine; ask the agent itself"
    );

    // The session that asked for it may end.
    host.close().expect("a good end");
    assert_eq!(worker.ask(Request::Ping).1, Ok(Response::Done));
    assert!(is_running(child));
    close(worker);
    assert!(!is_running(child), "what it started has ended with it");
}

#[test]
fn a_process_has_none_of_the_agents_descriptors() {
    let mut host = Host::new();
    let Ok(Response::Started { .. }) = host.ask(Request::Start(program(&["sleep", "1000"]))).1 else {
        panic!("not started")
    };
    let worker = spawn(&mut host, false);
    let links = fs::read_dir(format!("/proc/{}/fd", worker.pid))
        .expect("descriptors")
        .flatten();
    let own: Vec<_> = links
        .filter(|link| {
            let number: i32 = link.file_name().to_string_lossy().parse().expect("a number");
            number >= 1024
        })
        .filter_map(|link| fs::read_link(link.path()).ok())
        .collect();
    // Its connection, its supervisor's pipe, the taint, perhaps a listener.
    assert!((4..=5).contains(&own.len()), "{own:?}");
    close(worker);
}

#[test]
fn a_fork_is_safe_whatever_other_threads_do() {
    let mut host = Host::new();
    let busy: Vec<_> = (0..32)
        .map(|at| {
            let mut worker = spawn(&mut host, true);
            thread::spawn(move || {
                let size = 1000 * (at + 1);
                for _ in 0..12 {
                    let content = output(&mut worker, shell(&format!("head -c {size} /dev/zero")));
                    assert_eq!(content.len(), size);
                    worker
                        .ask(Request::ReadFile {
                            path: bytes("/proc/self/maps"),
                        })
                        .1
                        .expect("read");
                }
            })
        })
        .collect();
    for _ in 0..12 {
        let mut worker = spawn(&mut host, false);
        assert_eq!(call(&mut worker, GETPID, &[]), i64::from(worker.pid));
        assert_eq!(output(&mut worker, shell("echo works")), "works\n");
        let Ok(Response::Started { handle, .. }) = worker.ask(Request::Start(shell("echo started"))).1 else {
            panic!("not started")
        };
        let wait = WaitProcess {
            handle,
            timeout_ms: None,
            kill: false,
            from: [0, 0],
        };
        assert_eq!(worker.ask(Request::WaitProcess(wait)).0.stdout, b"started\n");
        close(worker);
    }
    busy.into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn workers_need_a_connection() {
    let mut host = Host::new();
    let error = host.refusal(Request::SpawnWorker {
        ticket: 5,
        thread: false,
    });
    assert_eq!(error.message, "there is no parked connection with ticket 5");
    // A ticket is good for one; one whose host has hung up is forgotten when the next comes.
    let mut gone = host.beside();
    let ticket = park(&mut gone);
    gone.end().expect("its thread ends");
    gone.stream.shutdown(std::net::Shutdown::Both).expect("shut down");
    let mut worker = spawn(&mut host, true);
    host.refusal(Request::SpawnWorker { ticket, thread: true });
    assert_eq!(worker.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn a_worker_that_dies_is_reaped() {
    let mut host = Host::new();
    let mut worker = spawn(&mut host, false);
    let pid = worker.pid.to_string();
    output(&mut host, program(&["kill", "-9", &pid]));
    wait_until("it has been reaped", || {
        !fs::exists(format!("/proc/{pid}")).expect("a look")
    });
    let error = read_frame(&mut worker.stream).expect_err("its end");
    assert!(matches!(error, FrameError::Closed), "{error}");
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}
