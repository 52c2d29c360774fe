//! Workers: further threads or processes of the agent, each with a connection of its own.
//!
//! ```text
//! host ── connects ──► session ── Park ──► its connection is kept under a ticket; its thread ends
//! host ── SpawnWorker{ticket} on any session ──► a thread, or a process by fork ──► answers on that connection
//! ```
//!
//! Enters: parked connections. Leaves: whoever answers on them from now on, with the credentials of the session that
//! asked. A thread shares everything with the agent but what the kernel keeps per thread. A process keeps the memory
//! and the descriptors of the test, not those of the agent, and makes an agent of its own: tables, keeper, listener.
//! Both end with their connection. Absent on purpose: any tie to the session that asked; a worker outlives it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use provium_protocol::{OpError, Response};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::PidfdFlags;

use crate::console::say;
use crate::daemon::Keeping;
use crate::ops::{errno_text, failed, impossible};
use crate::root::InitRoot;
use crate::session::{Agent, Session, wait_for};
use crate::{fds, sys, vsock};

/// Connections that wait for a worker.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<Lot>);

#[derive(Debug, Default)]
struct Lot {
    last: u64,
    connections: BTreeMap<u64, OwnedFd>,
}

impl Parked {
    /// Keeps a copy of a connection; the original may be closed.
    pub(crate) fn park(&self, connection: impl AsFd) -> Result<u64, Errno> {
        let copy = fds::copy(connection)?;
        let mut lot = self.lot();
        // Whoever has hung up will not be asked for.
        lot.connections.retain(|_, connection| !has_hung_up(connection));
        lot.last += 1;
        let ticket = lot.last;
        lot.connections.insert(ticket, copy);
        Ok(ticket)
    }

    fn take(&self, ticket: u64) -> Option<OwnedFd> {
        self.lot().connections.remove(&ticket)
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn has_hung_up(connection: &OwnedFd) -> bool {
    let mut look = [PollFd::new(connection, PollFlags::RDHUP)];
    let now = sys::timespec(std::time::Duration::ZERO);
    poll(&mut look, Some(&now)).is_ok_and(|ready| ready > 0)
}

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
        serve(connection, &agent);
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
fn serve(connection: OwnedFd, agent: &Arc<Agent>) {
    if let Err(error) = Session::greeted(connection, agent).serve() {
        say!("the session of a worker ended: {error}");
    }
}

/// What a worker's process takes with it, made by the parent as far as it needs the parent's locks.
struct Luggage {
    connection: OwnedFd,
    /// Where it tells that it is ready.
    report: OwnedFd,
    init_root: Option<InitRoot>,
}

fn spawn_process(session: &Session, connection: OwnedFd) -> Result<Response, OpError> {
    let failed = |errno| failed("cannot fork a worker", errno);
    let init_root = session.agent.init_root.as_ref().map(InitRoot::copy);
    let (ready, report) = fds::pipe(PipeFlags::empty()).map_err(failed)?;
    let luggage = Luggage {
        connection,
        report,
        init_root: init_root.transpose().map_err(failed)?,
    };
    // SAFETY: see `live`, which is all the child ever does.
    let pid = fds::with_none_moving(|| unsafe { sys::fork() });
    let pid = match pid.map_err(failed)? {
        None => live(luggage),
        Some(pid) => pid,
    };
    drop(luggage);
    // Until it has been waited for, its number is its own; a test's own `wait` may have been faster, and then there is
    // nothing to wait for.
    if let Ok(pidfd) = fds::own(|| rustix::process::pidfd_open(pid, PidfdFlags::empty())) {
        session.agent.keeper.reap(pidfd);
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
/// Other threads of the parent may have held any lock at the moment of the fork, and those locks stay locked in here.
/// So nothing is used that they share: the parent's `Agent`, with its tables, keeper and session, is left as it is,
/// neither locked nor dropped, and all that is used is made anew. What is left are the locks of libraries. The C
/// library's own (memory, standard streams, the list of threads) are taken by its `fork` and are free in the child, so
/// that memory and new threads can be had. The standard library's that a new thread needs are atomics. `fds::MOVING` is
/// held by this very thread. The child ends by `_exit`, so that no destructor and no exit handler of the parent runs.
fn live(luggage: Luggage) -> ! {
    let Luggage {
        connection,
        report,
        init_root,
    } = luggage;
    let kept = [
        Some(&connection),
        Some(&report),
        init_root.as_ref().map(InitRoot::proc),
    ];
    let kept: Vec<_> = kept.into_iter().flatten().map(|fd| fd.as_raw_fd()).collect();
    sys::close_from(fds::base(), &kept);
    // Signals meant for the agent's group, by a test's own call, are not for the worker, nor the other way round.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::thread::set_name(c"provium-worker");
    let mut report = std::fs::File::from(report);
    match settle(init_root) {
        Ok(agent) => {
            // The parent tells the host; if it is gone, so is whoever asked.
            let _ = report.write_all(agent.port.to_string().as_bytes());
            drop(report);
            serve(connection, &agent);
        }
        Err(why) => {
            let _ = report.write_all(why.as_bytes());
        }
    }
    // SAFETY: ends this process only.
    unsafe { libc::_exit(0) }
}

/// What a process needs to answer: an agent of its own, its keeper, and a port for further sessions.
fn settle(init_root: Option<InitRoot>) -> Result<Arc<Agent>, String> {
    // A kernel without vsock has no host either, but for tests.
    let listener = vsock::listen(vsock::ANY_PORT).ok();
    let port = listener.as_ref().map(vsock::port_of).unwrap_or_default();
    let agent = Agent::of_worker(init_root, port)
        .map_err(|errno| format!("cannot make a pipe: {}", errno_text(errno)))?;
    let agent = Arc::new(agent);
    Keeping {
        agent: agent.clone(),
        proc: None,
        listener,
    }
    .start()
    .map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(agent)
}
