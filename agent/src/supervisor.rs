//! The agent's supervisor: a thread that accepts sessions, drains the pipes of processes left in the
//! background, reaps processes that nobody else waits for, and ends the machine.
//!
//! It is started before any session runs a request, so it has the privileges the agent began with whatever a
//! test's system calls do to their own thread.
//!
//! Input: tasks from any thread, connections.
//! Output: sessions, each handed to the caller's [`Duties`].
//! Not here: output of background processes. Nobody asked for it; it is read only so that a process that
//! writes is not killed by SIGPIPE or stopped by a full pipe.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::fds;
use crate::lock::Mutex;

/// Most pipes held open; when there are more, the oldest is closed.
const MAX_PIPES: usize = 256;

/// Inbox of the supervisor's thread, shared by all threads.
#[derive(Debug)]
pub struct Supervisor {
    tasks: Mutex<Vec<Task>>,
    /// A pipe with something in it while there are tasks: reading end, writing end.
    wake: (OwnedFd, OwnedFd),
}

/// Work for the supervisor's thread.
#[derive(Debug)]
enum Task {
    /// Read a pipe to its end.
    Drain(OwnedFd),
    /// Take the status of the process with this pidfd.
    Reap(OwnedFd),
    ShutDown {
        reboot: bool,
    },
}

/// Where the supervisor's connections come from, and what it calls.
pub trait Duties {
    /// The listening socket for sessions, if there is one.
    fn listener(&self) -> Option<BorrowedFd<'_>>;
    /// Accepts a connection that waits on the listener.
    fn accept(&self);
    /// Ends the machine; returns only where that is impossible or pretended.
    fn shut_down(&self, reboot: bool);
}

impl Supervisor {
    /// An empty inbox.
    pub fn new() -> Result<Supervisor, Errno> {
        let wake = fds::pipe(PipeFlags::NONBLOCK)?;
        Ok(Supervisor {
            tasks: Mutex::default(),
            wake,
        })
    }

    /// Reads a pipe to its end and throws away what comes. The descriptor does not block.
    pub(crate) fn drain(&self, pipe: OwnedFd) {
        self.send(Task::Drain(pipe));
    }

    /// Takes the status of a process, given by its pidfd, when it has ended.
    pub(crate) fn reap(&self, pidfd: OwnedFd) {
        self.send(Task::Reap(pidfd));
    }

    /// Ends the machine.
    pub(crate) fn shut_down(&self, reboot: bool) {
        self.send(Task::ShutDown { reboot });
    }

    fn send(&self, task: Task) {
        self.tasks.lock().push(task);
        // Fails only when the pipe is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake.1, &[1]);
    }

    /// Does what comes in, until the process ends.
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
                self.do_tasks(&mut pipes, &mut processes, duties);
            }
            if connection {
                duties.accept();
            }
        }
    }

    /// Waits for something to do: `(woken for tasks, a connection waits, what of each pipe)`.
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

    fn do_tasks(&self, pipes: &mut VecDeque<OwnedFd>, processes: &mut Vec<OwnedFd>, duties: &impl Duties) {
        let _ = rustix::io::read(&self.wake.0, &mut [0; 64]);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            match task {
                Task::Drain(pipe) => {
                    if pipes.len() == MAX_PIPES {
                        pipes.pop_front();
                    }
                    pipes.push_back(pipe);
                }
                Task::Reap(pidfd) => processes.push(pidfd),
                Task::ShutDown { reboot } => duties.shut_down(reboot),
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
