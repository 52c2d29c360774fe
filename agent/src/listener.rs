//! The supervisor's duties in a guest: sessions that the host opens, and the end of the machine.
//!
//! Input: a listening vsock socket, a proc file system.
//! Output: a running supervisor; a thread for each session.
//! Not here: the first session, which the agent itself opens; see `daemon`.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::agent::Agent;
use crate::console::say;
use crate::failure::errno_text;
use crate::session::Session;
use crate::supervisor::Duties;
use crate::{power, vsock};

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the supervisor's thread. Without a `socket`, no sessions come in; `proc` is a proc file system for
/// the end of the machine.
pub(crate) fn start(
    agent: &Arc<Agent>,
    proc: Option<Arc<OwnedFd>>,
    socket: Option<OwnedFd>,
) -> io::Result<()> {
    let supervisor = agent.supervisor.clone();
    let duties = GuestDuties {
        agent: agent.clone(),
        proc,
        socket,
    };
    let thread = thread::Builder::new().name("supervisor".to_owned());
    thread.spawn(move || supervisor.run(&duties)).map(|_| ())
}

struct GuestDuties {
    agent: Arc<Agent>,
    proc: Option<Arc<OwnedFd>>,
    socket: Option<OwnedFd>,
}

impl Duties for GuestDuties {
    fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn accept(&self) {
        let Some(socket) = &self.socket else { return };
        let stream = match vsock::accept(socket.as_fd()) {
            Ok(Some(stream)) => stream,
            // Not the host: it finds its connection closed.
            Ok(None) => return,
            Err(error) => {
                say!("cannot accept a session: {}", errno_text(error));
                thread::sleep(PAUSE);
                return;
            }
        };
        let agent = self.agent.clone();
        let serve = move || {
            if let Err(error) = Session::open(stream, &agent).and_then(Session::run)
                && !error.is_hang_up()
            {
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
