//! Workers: further threads or processes of the agent, each with a connection of its own.
//!
//! ```text
//! host ── connects ──► session ── Park ──► its connection gets a ticket and waits; its thread ends
//! host ── SpawnWorker{ticket} on any session ──► a thread, or a process by fork ──► answers on it
//! ```
//!
//! A thread shares everything with the agent but what the kernel keeps per thread. A process keeps the memory
//! and the descriptors of the test, not those of the agent, and makes an agent of its own: tables,
//! supervisor, listener. Both have the credentials of the session that asked, and end with their connection.
//!
//! Input: parked connections.
//! Output: threads or processes that answer on them from now on.
//! Not here: any tie to the session that asked; a worker outlives it.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use provium_protocol::{OpError, Response};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::PipeFlags;
use rustix::process::PidfdFlags;

use crate::agent::Agent;
use crate::connection::wait_for;
use crate::console::say;
use crate::failure::{errno_text, failed, impossible};
use crate::root::InitRoot;
use crate::serve;
use crate::session::Session;
use crate::{fds, listener, oom, sys, vsock};

/// Makes a worker that answers on a parked connection.
pub(crate) fn spawn(session: &Session, ticket: u64, as_thread: bool) -> Result<Response, OpError> {
    let connection = session.agent.parked.take(ticket);
    let connection = connection
        .ok_or_else(|| impossible(format!("there is no parked connection with ticket {ticket}")))?;
    match as_thread {
        true => spawn_thread(&session.agent, connection),
        false => spawn_process(session, connection),
    }
}

fn spawn_thread(agent: &Arc<Agent>, connection: OwnedFd) -> Result<Response, OpError> {
    let (tell, told) = channel();
    let (port, agent) = (agent.port, agent.clone());
    let serve = move || {
        // Nobody asks who has not been told.
        let _ = tell.send(rustix::thread::gettid().as_raw_pid().cast_unsigned());
        answer(connection, &agent);
    };
    let made = thread::Builder::new().name("worker".to_owned()).spawn(serve);
    let tid = made.and_then(|_| told.recv().map_err(std::io::Error::other));
    let tid = tid.map_err(|error| impossible(format!("cannot make a thread for a worker: {error}")))?;
    Ok(Response::Worker {
        pid: std::process::id(),
        tid,
        port,
    })
}

/// Answers on a connection until the host closes it.
fn answer(connection: OwnedFd, agent: &Arc<Agent>) {
    if let Err(error) = serve::serve(Session::greeted(connection, agent))
        && !error.is_hang_up()
    {
        say!("the session of a worker ended: {error}");
    }
}

/// What a new process needs, made by the parent as far as that takes the parent's locks.
struct ProcessSetup {
    connection: OwnedFd,
    /// Writing end of a pipe, on which the process says that it is ready.
    report: OwnedFd,
    init_root: Option<InitRoot>,
}

fn spawn_process(session: &Session, connection: OwnedFd) -> Result<Response, OpError> {
    let failed = |errno| failed("cannot fork a worker", errno);
    let init_root = session.agent.init_root.as_ref().map(InitRoot::copy);
    let (ready, report) = fds::pipe(PipeFlags::empty()).map_err(failed)?;
    let setup = ProcessSetup {
        connection,
        report,
        init_root: init_root.transpose().map_err(failed)?,
    };
    // SAFETY: see `live`, which is all the child ever does.
    let pid = fds::with_none_moving(|| unsafe { sys::fork() });
    let pid = match pid.map_err(failed)? {
        None => live(setup),
        Some(pid) => pid,
    };
    drop(setup);
    // Until it has been waited for, its number is its own; a test's own `wait` may have been faster, and then
    // there is nothing to wait for.
    if let Ok(pidfd) = fds::own(|| rustix::process::pidfd_open(pid, PidfdFlags::empty())) {
        session.agent.supervisor.reap(pidfd);
    }
    let pid = pid.as_raw_pid().cast_unsigned();
    let port = listen_for(session, ready).map_err(|why| impossible(format!("worker {pid}: {why}")))?;
    Ok(Response::Worker { pid, tid: pid, port })
}

/// Waits for what a worker reports: the port it listens on, or why it cannot work.
fn listen_for(session: &Session, ready: OwnedFd) -> Result<u32, String> {
    wait_for(&session.stream, ready.as_fd(), PollFlags::IN, None)
        .map_err(|_| "the host has gone".to_owned())?;
    let mut report = String::new();
    std::fs::File::from(ready)
        .read_to_string(&mut report)
        .map_err(|error| error.to_string())?;
    match report.is_empty() {
        true => Err("it ended before it could answer".to_owned()),
        false => report.parse().map_err(|_| report),
    }
}

/// The life of a worker's process, from fork to its end.
///
/// Other threads of the parent may have held any lock at the moment of the fork, and those locks stay locked
/// in here. So nothing is used that they share: the parent's `Agent`, with its tables, supervisor and
/// session, is left as it is, neither locked nor dropped, and all that is used is made anew. What is left are
/// the locks of libraries. The C library's own (memory, standard streams, the list of threads) are taken by
/// its `fork` and are free in the child, so that memory and new threads can be had. The standard library's
/// that a new thread needs are atomics. `fds::MOVING` is held by this very thread. The child ends by `_exit`,
/// so that no destructor and no exit handler of the parent runs.
fn live(setup: ProcessSetup) -> ! {
    let ProcessSetup {
        connection,
        report,
        init_root,
    } = setup;
    // While the descriptor for it is still there.
    oom::expose_for_good();
    let needed = [
        Some(&connection),
        Some(&report),
        init_root.as_ref().map(InitRoot::proc),
    ];
    let needed: Vec<_> = needed.into_iter().flatten().map(|fd| fd.as_raw_fd()).collect();
    // SAFETY: whatever of the parent's owns another of these descriptors is never used or dropped in this
    // process.
    unsafe { fds::close_own(&needed) };
    // Signals meant for the agent's group, by a test's own call, are not for the worker, nor the other way
    // round.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::thread::set_name(c"provium-worker");
    let mut report = std::fs::File::from(report);
    match settle(init_root) {
        Ok(agent) => {
            // The parent tells the host; if it is gone, so is whoever asked.
            let _ = report.write_all(agent.port.to_string().as_bytes());
            drop(report);
            answer(connection, &agent);
        }
        Err(why) => {
            let _ = report.write_all(why.as_bytes());
        }
    }
    sys::exit_at_once(0)
}

/// Makes what a process needs to answer: an agent of its own, its supervisor, and a port for further
/// sessions.
fn settle(init_root: Option<InitRoot>) -> Result<Arc<Agent>, String> {
    // A kernel without vsock has no host either, but for tests.
    let listener = vsock::listen(vsock::ANY_PORT).ok();
    let port = listener.as_ref().map(vsock::port_of).unwrap_or_default();
    let agent = Agent::of_worker(init_root, port)
        .map_err(|errno| format!("cannot make a pipe: {}", errno_text(errno)))?;
    let agent = Arc::new(agent);
    listener::start(&agent, None, listener).map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(agent)
}
