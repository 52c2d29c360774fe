//! What must go on when no session does: a thread that accepts sessions, empties the pipes of processes left
//! in the background, waits for processes that nobody else waits for, and ends the machine.
//!
//! It is started before any session runs a request, so it keeps the privileges the agent began with whatever a
//! test's system calls do to their own thread. Enters: errands from any thread, connections. Leaves: sessions,
//! each handed to the caller's function. Absent on purpose: output of background processes; nobody asked for
//! it, and it is read only so that a process that writes is not killed by SIGPIPE or stopped by a full pipe.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::fds;

/// Most pipes kept open; beyond it the oldest is closed.
const MAX_PIPES: usize = 256;

/// The keeper's inbox; shared by all threads.
#[derive(Debug)]
pub struct Keeper {
    errands: Mutex<Vec<Errand>>,
    /// A pipe with something in it while there are errands: reading end, writing end.
    wake: (OwnedFd, OwnedFd),
}

#[derive(Debug)]
enum Errand {
    Empty(OwnedFd),
    Reap(OwnedFd),
    ShutDown { reboot: bool },
}

/// Where the keeper's connections come from and what it calls.
pub trait Duties {
    /// The socket that sessions come in by, if there is one.
    fn listener(&self) -> Option<BorrowedFd<'_>>;
    /// A connection waits on the listener.
    fn accept(&self);
    /// Ends the machine; returns only where that is impossible or pretended.
    fn shut_down(&self, reboot: bool);
}

impl Keeper {
    /// An empty inbox.
    pub fn new() -> Result<Keeper, Errno> {
        let wake = fds::pipe(PipeFlags::NONBLOCK)?;
        Ok(Keeper {
            errands: Mutex::new(Vec::new()),
            wake,
        })
    }

    /// Reads the pipe to its end and throws away what comes. The descriptor does not block.
    pub(crate) fn empty(&self, pipe: OwnedFd) {
        self.send(Errand::Empty(pipe));
    }

    /// Takes the status of a process, given by its pidfd, when it has ended.
    pub(crate) fn reap(&self, pidfd: OwnedFd) {
        self.send(Errand::Reap(pidfd));
    }

    /// Ends the machine.
    pub(crate) fn shut_down(&self, reboot: bool) {
        self.send(Errand::ShutDown { reboot });
    }

    fn send(&self, errand: Errand) {
        self.errands
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(errand);
        // Fails only when the pipe is full, and then the keeper is awake anyway.
        let _ = rustix::io::write(&self.wake.1, &[1]);
    }

    /// Does what comes in, for ever.
    pub fn run(&self, duties: &impl Duties) -> ! {
        let mut pipes = VecDeque::new();
        let mut processes = Vec::new();
        let mut scratch = vec![0; 64 * 1024];
        loop {
            let (woken, connection, readable) = self.wait(duties.listener(), &pipes, &processes);
            let mut index = 0;
            pipes.retain(|pipe| {
                let look = readable.get(index).copied().unwrap_or(false);
                index += 1;
                !look || has_more(pipe, &mut scratch)
            });
            // Those that have ended are the few; the others say so at once.
            processes.retain(is_running);
            if woken {
                self.do_errands(&mut pipes, &mut processes, duties);
            }
            if connection {
                duties.accept();
            }
        }
    }

    /// Waits for something to do: an errand, a connection, pipes with content or at their end, the end of a process.
    fn wait(
        &self,
        listener: Option<BorrowedFd<'_>>,
        pipes: &VecDeque<OwnedFd>,
        processes: &[OwnedFd],
    ) -> (bool, bool, Vec<bool>) {
        let others = [Some(self.wake.0.as_fd()), listener];
        let mut fds: Vec<_> = others
            .into_iter()
            .flatten()
            .chain(pipes.iter().chain(processes).map(|fd| fd.as_fd()))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        if let Err(error) = poll(&mut fds, None) {
            // Out of memory is what is left as a cause; it may pass.
            if error != Errno::INTR {
                std::thread::sleep(Duration::from_millis(10));
            }
            return (false, false, Vec::new());
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let woken = ready.next().unwrap_or(false);
        let connection = listener.is_some() && ready.next().unwrap_or(false);
        (woken, connection, ready.collect())
    }

    fn do_errands(&self, pipes: &mut VecDeque<OwnedFd>, processes: &mut Vec<OwnedFd>, duties: &impl Duties) {
        let _ = rustix::io::read(&self.wake.0, &mut [0; 64]);
        let errands = std::mem::take(
            &mut *self
                .errands
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        );
        for errand in errands {
            match errand {
                Errand::Empty(pipe) => {
                    if pipes.len() == MAX_PIPES {
                        pipes.pop_front();
                    }
                    pipes.push_back(pipe);
                }
                Errand::Reap(pidfd) => processes.push(pidfd),
                Errand::ShutDown { reboot } => duties.shut_down(reboot),
            }
        }
    }
}

/// Whether a process still runs; takes its status if not.
fn is_running(pidfd: &OwnedFd) -> bool {
    let look = waitid(
        WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    );
    matches!(look, Ok(None) | Err(Errno::INTR))
}

/// Takes what is in the pipe, once; false at its end.
fn has_more(pipe: &OwnedFd, scratch: &mut [u8]) -> bool {
    match rustix::io::read(pipe, scratch) {
        Ok(0) => false,
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}
