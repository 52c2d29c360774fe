//! The agent as a process of its own: keeps a session with the host, accepts more.
//!
//! Enters: what `init` found out. Leaves: nothing returns from it. It says hello as early as the kernel lets
//! it, and again whenever the host has gone; a kernel without vsock, or one that loads it late, is waited for
//! in silence. Absent on purpose: what a session does.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use provium_protocol::{AGENT_PORT, HOST_PORT};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::console::say;
use crate::keeper::Duties;
use crate::root::InitRoot;
use crate::session::{Agent, Session, SessionError};
use crate::{fds, ops, power, sys, vsock};

/// First and longest pause between two attempts to reach the host.
const PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the host has refused this agent.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// While the kernel has no vsock, every socket asked for may make it run `modprobe`. So many pauses are made
/// before it is asked again without a sign that it has learnt.
const PAUSES_BETWEEN_ATTEMPTS: u32 = 50;

/// Serves the host for ever. `init_root` follows a PID 1 that is not ours; `proc` is a proc file system; until
/// `ready` is at its end, requests have to wait.
pub fn run(init_root: Option<InitRoot>, proc: Option<OwnedFd>, ready: Option<OwnedFd>) -> ! {
    sys::ignore_sigpipe();
    // Fails where it leads a session already, which is as good; the name is for people only.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"provium-agent");
    let agent = Agent::new(init_root).unwrap_or_else(|error| {
        say!("cannot make a pipe: {}", ops::errno_text(error));
        std::process::exit(1)
    });
    Daemon {
        agent: Arc::new(agent),
        proc: proc.map(|proc| Arc::new(fds::moved(proc))),
        listener: Listener::None,
        ready,
    }
    .serve()
}

struct Daemon {
    agent: Arc<Agent>,
    proc: Option<Arc<OwnedFd>>,
    listener: Listener,
    ready: Option<OwnedFd>,
}

/// The socket for further sessions.
enum Listener {
    /// The kernel has no vsock yet.
    None,
    /// It is open, or cannot be.
    Made(Option<OwnedFd>),
    /// The keeper has it.
    GivenAway,
}

impl Daemon {
    fn serve(mut self) -> ! {
        loop {
            let stream = self.reach_host();
            let session = Session::open(stream, &self.agent);
            if let Listener::Made(listener) = &mut self.listener {
                // Not before now: the host has its hello, and while it answers there is time for a thread.
                let duties = Keeping {
                    agent: self.agent.clone(),
                    proc: self.proc.clone(),
                    listener: listener.take(),
                };
                match duties.start() {
                    Ok(()) => self.listener = Listener::GivenAway,
                    Err(error) => say!("cannot start a thread: {error}"),
                }
            }
            if let Some(ready) = self.ready.take() {
                // Nothing is ever written to it: PID 1 closes its end, or has ended.
                let _ = rustix::io::read(&ready, &mut [0; 1]);
            }
            self.agent.random.prepare();
            if let Err(error) = session.and_then(Session::run) {
                say!("the session with the host ended: {error}");
                if matches!(error, SessionError::Refused(_) | SessionError::Version(_)) {
                    thread::sleep(REFUSED_PAUSE);
                }
            }
        }
    }

    /// Tries until the host answers. The listener comes first, so that a host that has heard hello can connect.
    fn reach_host(&mut self) -> OwnedFd {
        let mut pause = PAUSE;
        loop {
            match self.listen().and_then(|()| vsock::connect(HOST_PORT)) {
                Ok(stream) => return stream,
                Err(Errno::AFNOSUPPORT) => self.wait_for_vsock(),
                // No device yet, nobody listening yet, the host just gone: all of it may pass.
                Err(_) => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    fn listen(&mut self) -> Result<(), Errno> {
        if matches!(self.listener, Listener::None) {
            self.listener = match vsock::listen(AGENT_PORT) {
                Ok(socket) => Listener::Made(Some(socket)),
                Err(Errno::AFNOSUPPORT) => return Err(Errno::AFNOSUPPORT),
                Err(error) => {
                    say!(
                        "cannot listen on vsock port {AGENT_PORT}: {}",
                        ops::errno_text(error)
                    );
                    Listener::Made(None)
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

fn has_vsock(proc: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(proc, c"self/net/protocols", flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| std::io::read_to_string(std::fs::File::from(file)))
        .is_ok_and(|protocols| protocols.contains("AF_VSOCK"))
}

/// What the keeper does in a guest.
pub(crate) struct Keeping {
    pub(crate) agent: Arc<Agent>,
    pub(crate) proc: Option<Arc<OwnedFd>>,
    pub(crate) listener: Option<OwnedFd>,
}

impl Keeping {
    /// Starts the keeper's thread.
    pub(crate) fn start(self) -> std::io::Result<()> {
        let keep = move || self.agent.keeper.run(&self);
        let thread = thread::Builder::new().name("keeper".to_owned());
        thread.spawn(keep).map(|_| ())
    }
}

impl Duties for Keeping {
    fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    fn accept(&self) {
        let Some(listener) = &self.listener else { return };
        let stream = match vsock::accept(listener.as_fd()) {
            Ok(Some(stream)) => stream,
            // Not the host: it finds its connection closed.
            Ok(None) => return,
            Err(error) => {
                say!("cannot accept a session: {}", ops::errno_text(error));
                thread::sleep(MAX_PAUSE);
                return;
            }
        };
        let agent = self.agent.clone();
        let serve = move || {
            if let Err(error) = Session::open(stream, &agent).and_then(Session::run) {
                say!("a session ended: {error}");
            }
        };
        if let Err(error) = thread::Builder::new().name("session".to_owned()).spawn(serve) {
            say!("cannot start a thread for a session: {error}");
        }
    }

    fn shut_down(&self, reboot: bool) {
        power::shut_down(self.proc.as_deref(), reboot)
    }
}
