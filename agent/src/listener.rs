//! The supervisor's duties in a guest: sessions that the host opens, and the end of the machine.
//!
//! Input: a listening vsock socket, a proc file system.
//! Output: a running supervisor, another one where the kernel has ended its thread; a thread for each
//! session.
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
/// Most times that another thread takes the supervisor's place: a kernel that ends each will end the next.
const MAX_LOST: u32 = 8;

/// Starts the supervisor's thread. Without a `socket`, no sessions come in; `proc` is a proc file system for
/// the end of the machine.
pub(crate) fn start(
    agent: &Arc<Agent>,
    proc: Option<Arc<OwnedFd>>,
    socket: Option<OwnedFd>,
) -> io::Result<()> {
    let duties = GuestDuties {
        agent: agent.clone(),
        proc,
        socket,
    };
    run(Arc::new(duties), MAX_LOST)
}

/// Has a thread do the duties, and another if the kernel ends it, at most so many times.
fn run(duties: Arc<GuestDuties>, others: u32) -> io::Result<()> {
    let thread = thread::Builder::new().name("supervisor".to_owned());
    let supervise = move || {
        let again = duties.clone();
        let _watched = duties.agent.threads.watch(move |_| {
            if let Some(others) = others.checked_sub(1)
                && let Err(error) = run(again, others)
            {
                say!("cannot start a thread: {error}");
            }
        });
        duties.agent.supervisor.run(&*duties)
    };
    thread.spawn(supervise).map(|_| ())
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
