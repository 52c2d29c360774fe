//! The agent as a process of its own: opens a session with the host, and another whenever that has ended.
//!
//! It says hello as early as the kernel lets it, and again whenever the host has gone. A kernel without
//! vsock, or one that loads it late, is waited for, and what is missing is said once on the console.
//!
//! Input: what `init` found out.
//! Output: nothing returns from it.
//! Not here: what a session does (`serve`), sessions that the host opens (`listener`).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::{AGENT_PORT, HOST_PORT, NO_WAY};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::agent::Agent;
use crate::connection::SessionError;
use crate::console::say;
use crate::failure::errno_text;
use crate::root::InitRoot;
use crate::session::Session;
use crate::{fds, listener, oom, sys, vsock};

/// First and longest pause between two attempts to reach the host.
const PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the host has refused this agent.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Number of pauses between two attempts while the kernel has no vsock and shows no sign of having learnt it:
/// every socket asked for may make it run `modprobe`.
const PAUSES_BETWEEN_ATTEMPTS: u32 = 50;
/// How long a guest's own init may take to load what the way to the host needs before that is said to be
/// missing.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where all modules that are there were loaded before.
const PATIENCE_ALONE: Duration = Duration::from_secs(2);

/// Serves the host until the process ends. `init_root` follows a PID 1 that is not ours; `proc` is a proc
/// file system; until `ready` is at its end, requests have to wait; `alone` says that nobody else is there to
/// load modules.
pub fn run(init_root: Option<InitRoot>, proc: Option<OwnedFd>, ready: Option<OwnedFd>, alone: bool) -> ! {
    sys::ignore_sigpipe();
    // Fails where it leads a session already, which is as good; the name is for people only.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"provium-agent");
    if let Some(proc) = &proc {
        oom::spare(proc);
    }
    let agent = Agent::new(init_root).unwrap_or_else(|error| {
        say!("cannot make a pipe: {}", errno_text(error));
        std::process::exit(1)
    });
    Daemon {
        agent: Arc::new(agent),
        proc: proc.map(|proc| Arc::new(fds::moved(proc))),
        socket: ListeningSocket::None,
        ready,
        alone,
    }
    .serve()
}

struct Daemon {
    agent: Arc<Agent>,
    proc: Option<Arc<OwnedFd>>,
    socket: ListeningSocket,
    ready: Option<OwnedFd>,
    /// Whether nobody else loads modules.
    alone: bool,
}

/// The socket for further sessions.
enum ListeningSocket {
    /// The kernel has no vsock yet.
    None,
    /// It is open, or cannot be.
    Made(Option<OwnedFd>),
    /// The supervisor has it.
    GivenAway,
}

impl Daemon {
    fn serve(mut self) -> ! {
        loop {
            let stream = self.reach_host();
            let session = Session::open(stream, &self.agent);
            if let ListeningSocket::Made(socket) = &mut self.socket {
                // Not before now: the host has its hello, and while it answers there is time for a thread.
                match listener::start(&self.agent, self.proc.clone(), socket.take()) {
                    Ok(()) => self.socket = ListeningSocket::GivenAway,
                    Err(error) => say!("cannot start a thread: {error}"),
                }
            }
            if let Some(ready) = self.ready.take() {
                // Nothing is ever written to it: PID 1 closes its end, or has ended.
                let _ = rustix::io::read(&ready, &mut [0; 1]);
            }
            self.agent.random.prepare();
            self.agent.taint.prepare();
            if let Err(error) = session.map(Session::kept).and_then(Session::run)
                && !error.is_hang_up()
            {
                say!("the session with the host ended: {error}");
                if matches!(error, SessionError::Refused(_) | SessionError::Version(_)) {
                    thread::sleep(REFUSED_PAUSE);
                }
            }
        }
    }

    /// Tries until the host answers. The listener comes first, so that a host that has heard hello can
    /// connect.
    fn reach_host(&mut self) -> OwnedFd {
        let (mut pause, begun, mut said) = (PAUSE, Instant::now(), false);
        let patience = if self.alone { PATIENCE_ALONE } else { PATIENCE };
        loop {
            let error = match self.listen().and_then(|()| vsock::connect(HOST_PORT)) {
                Ok(stream) => return stream,
                Err(error) => error,
            };
            if let Some(missing) = missing(error)
                && begun.elapsed() >= patience
                && !std::mem::replace(&mut said, true)
            {
                match self.alone {
                    true => say!("{NO_WAY}{missing}, built in or as modules that the host has given"),
                    false => say!("the way to the host is missing: {missing}, built in or loaded as modules"),
                }
            }
            if error == Errno::AFNOSUPPORT {
                self.wait_for_vsock();
            } else {
                // No device yet, nobody listening yet, the host just gone: all of it may pass.
                thread::sleep(pause);
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }

    fn listen(&mut self) -> Result<(), Errno> {
        if matches!(self.socket, ListeningSocket::None) {
            self.socket = match vsock::listen(AGENT_PORT) {
                Ok(socket) => ListeningSocket::Made(Some(socket)),
                Err(Errno::AFNOSUPPORT) => return Err(Errno::AFNOSUPPORT),
                Err(error) => {
                    say!("cannot listen on vsock port {AGENT_PORT}: {}", errno_text(error));
                    ListeningSocket::Made(None)
                }
            };
        }
        Ok(())
    }

    /// Pauses until the kernel lists vsock among its protocols, or it is time to ask it again anyway.
    fn wait_for_vsock(&self) {
        let mut pause = PAUSE;
        for _ in 0..PAUSES_BETWEEN_ATTEMPTS {
            if self.proc.as_ref().is_some_and(|proc| has_vsock(proc)) {
                return;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

/// What the kernel needs, if an attempt failed for want of it.
fn missing(error: Errno) -> Option<&'static str> {
    match error {
        Errno::AFNOSUPPORT => {
            Some("this kernel has no vsock; it needs CONFIG_VSOCKETS and CONFIG_VIRTIO_VSOCKETS")
        }
        Errno::NODEV => {
            Some("this kernel has no vsock device; it needs CONFIG_VIRTIO_VSOCKETS and CONFIG_VIRTIO_MMIO")
        }
        _ => None,
    }
}

fn has_vsock(proc: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(proc, c"self/net/protocols", flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| std::io::read_to_string(std::fs::File::from(file)))
        .is_ok_and(|protocols| protocols.contains("AF_VSOCK"))
}
