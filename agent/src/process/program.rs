//! A started program: what the host can ask of it at any time, and the thread that looks after it.
//!
//! The thread was made by the session that started the program and has that session's credentials of then, so
//! that it may signal what it has started even when the session has given them up.
//!
//! Input: a child that runs; requests of any session.
//! Output: its output to whoever reads it, its end.
//! Not here: who may do what; handles are all it takes.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::{EndedThread, Exited, TerminalSize};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::Child;
use super::input::{Input, NoInput};
use super::output::{Fetched, OutputBuffer};
use super::pty;
use super::pump::{Peer, Pump, READ, Taken};
use crate::fds;
use crate::lock::Mutex;
use crate::supervisor::Supervisor;
use crate::sys::{self, errno_of};
use crate::threads::ThreadWatch;
use crate::wakeup::Wakeup;

/// How long a program has between SIGTERM and SIGKILL when it is ended.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Bytes of a program's thread's stack: enough for the pump, which has nothing large on it.
const STACK: usize = 128 * 1024;

/// A started program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) pid: u32,
    /// Number of the session that started it.
    pub(crate) owner: u64,
    /// The agent's end of its terminal, where it has one.
    terminal: Option<OwnedFd>,
    /// Wakes its thread.
    wakeup: Wakeup,
    state: Mutex<ProgramState>,
}

#[derive(Debug)]
struct ProgramState {
    /// Standard output and standard error.
    outputs: [OutputBuffer; 2],
    input: Input,
    orders: Vec<Order>,
    /// How it ended, as soon as that is known.
    ended: Option<Exited>,
    /// Its output is complete as well; its thread does nothing more.
    finished: bool,
    /// How the kernel has ended its thread, if it has; nobody looks after it then.
    lost: Option<EndedThread>,
    /// When it was first asked to end.
    first_term: Option<Instant>,
    /// Wake-ups of those who want to know of any change.
    watchers: Vec<Arc<Wakeup>>,
}

/// An order to the program's thread.
#[derive(Debug)]
enum Order {
    Signal {
        signal: i32,
        group: bool,
        done: Sender<Result<bool, Errno>>,
    },
    TimeOut,
    /// SIGTERM now, and SIGKILL at that time. In one: the program may be gone between two orders.
    End {
        kill_at: Instant,
    },
}

/// How far a program has come.
#[derive(Debug, Clone)]
pub(crate) struct ProgramStatus {
    /// How it ended; absent while it runs.
    pub(crate) ended: Option<Exited>,
    /// All its output has been taken in.
    pub(crate) finished: bool,
    /// How the kernel has ended the thread that looked after it, if it has.
    pub(crate) lost: Option<EndedThread>,
}

impl Program {
    /// Starts a thread that looks after a child, with the agent's ends of its input and its terminal.
    pub(crate) fn start(
        pump: Pump,
        input: Input,
        terminal: Option<OwnedFd>,
        owner: u64,
        supervisor: &Arc<Supervisor>,
        threads: &Arc<ThreadWatch>,
    ) -> Result<Arc<Program>, Errno> {
        let program = Arc::new(Program {
            pid: pump.pid().as_raw_pid().cast_unsigned(),
            owner,
            terminal,
            wakeup: Wakeup::new()?,
            state: Mutex::new(ProgramState {
                outputs: Default::default(),
                input,
                orders: Vec::new(),
                ended: None,
                finished: false,
                lost: None,
                first_term: None,
                watchers: Vec::new(),
            }),
        });
        let mut peer = ProgramThread {
            program: program.clone(),
            buffer: vec![0; READ],
        };
        let (supervisor, threads) = (supervisor.clone(), threads.clone());
        let look_after = move || {
            let left = (peer.program.clone(), supervisor.clone());
            let watched = threads.watch(move |ended| left.0.lose(ended, &left.1));
            // Its peer is never lost.
            let _ = pump.run(&mut peer, &supervisor);
            drop(watched);
            peer.program.finish();
        };
        thread::Builder::new()
            .name("program".to_owned())
            .stack_size(STACK)
            .spawn(look_after)
            .map_err(|error| errno_of(&error))?;
        Ok(program)
    }

    pub(crate) fn status(&self) -> ProgramStatus {
        let state = self.state.lock();
        ProgramStatus {
            ended: state.ended.clone(),
            finished: state.finished,
            lost: state.lost,
        }
    }

    /// Sends a signal to the program itself, SIGKILL to its whole group.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), Errno> {
        self.send(signal, false).map(|_| ())
    }

    /// Sends a signal to its process group; false when it has ended.
    pub(crate) fn signal_group(&self, signal: i32) -> Result<bool, Errno> {
        if signal == libc::SIGTERM {
            self.state().first_term.get_or_insert_with(Instant::now);
        }
        self.send(signal, true)
    }

    fn send(&self, signal: i32, group: bool) -> Result<bool, Errno> {
        let (done, outcome) = channel();
        if !self.order(Order::Signal { signal, group, done }) {
            return Ok(false);
        }
        // A thread that has come to its end in between drops the order.
        outcome.recv().unwrap_or(Ok(false))
    }

    /// Gives its terminal another size; a program without one is `ENOTTY`.
    pub(crate) fn resize(&self, size: TerminalSize) -> Result<(), Errno> {
        pty::resize(self.terminal.as_ref().ok_or(Errno::NOTTY)?, size)
    }

    /// Kills its group; it counts as timed out.
    pub(crate) fn time_out(&self) {
        self.order(Order::TimeOut);
    }

    /// Begins to end it: SIGTERM to its group now, SIGKILL two seconds after the first SIGTERM.
    pub(crate) fn end(&self) {
        let since = *self.state().first_term.get_or_insert_with(Instant::now);
        self.order(Order::End {
            kill_at: since + TERM_GRACE,
        });
    }

    /// Gives it input: the number of bytes that wait to be taken, this piece included.
    pub(crate) fn give(&self, piece: Vec<u8>) -> Result<usize, NoInput> {
        let mut state = self.state();
        state.input.push(piece)?;
        let queued = state.input.queued();
        if queued > 0 {
            self.wakeup.wake();
        }
        Ok(queued)
    }

    pub(crate) fn close_input(&self) {
        self.state().input.close();
        self.wakeup.wake();
    }

    /// A wake-up at every change.
    pub(crate) fn watch(self: &Arc<Program>) -> Result<ProgramWatch, Errno> {
        let wakeup = Arc::new(Wakeup::new()?);
        self.state().watchers.push(wakeup.clone());
        Ok(ProgramWatch {
            program: self.clone(),
            wakeup,
        })
    }

    /// A reader of standard output (0) or standard error (1) from this byte offset on.
    pub(crate) fn read(self: &Arc<Program>, output: usize, from: u64) -> OutputReader {
        let (number, from) = self.state().outputs[output].add_reader(from);
        OutputReader {
            program: self.clone(),
            output,
            number,
            from,
        }
    }

    /// Hands an order to the thread; false when there is no thread left to do it.
    fn order(&self, order: Order) -> bool {
        let mut state = self.state();
        if state.finished {
            return false;
        }
        state.orders.push(order);
        self.wakeup.wake();
        true
    }

    /// Kills a program whose thread the kernel has ended: there is nobody any more who could give it input or
    /// take its output.
    fn lose(&self, ended: EndedThread, supervisor: &Supervisor) {
        if self.status().ended.is_none() {
            // Nobody but its thread fetches its status, so that the number is still its own.
            let pid = self.pid.cast_signed();
            let _ = sys::kill(-pid, libc::SIGKILL);
            let pidfd = Pid::from_raw(pid).map(|pid| fds::own(|| pidfd_open(pid, PidfdFlags::empty())));
            if let Some(Ok(pidfd)) = pidfd {
                supervisor.reap(pidfd);
            }
        }
        self.state().lost = Some(ended);
        self.finish();
    }

    fn finish(&self) {
        let mut state = self.state();
        state.finished = true;
        state.orders.clear();
        state.input.abandon();
        state.outputs.iter_mut().for_each(OutputBuffer::finish);
        state.tell();
    }

    fn state(&self) -> MutexGuard<'_, ProgramState> {
        self.state.lock()
    }
}

impl ProgramState {
    /// Tells the watchers of a change.
    fn tell(&self) {
        self.watchers.iter().for_each(|watcher| watcher.wake());
    }
}

/// A wake-up at every change of a program, until dropped.
#[derive(Debug)]
pub(crate) struct ProgramWatch {
    program: Arc<Program>,
    pub(crate) wakeup: Arc<Wakeup>,
}

impl Drop for ProgramWatch {
    fn drop(&mut self) {
        let mut state = self.program.state();
        state
            .watchers
            .retain(|watcher| !Arc::ptr_eq(watcher, &self.wakeup));
    }
}

/// A reader of one output. The buffer drops nothing that it has not had.
#[derive(Debug)]
pub(crate) struct OutputReader {
    program: Arc<Program>,
    output: usize,
    number: u64,
    /// Byte offset at which it began.
    pub(crate) from: u64,
}

impl OutputReader {
    /// Copies what comes next; the same again until [`OutputReader::delivered`].
    pub(crate) fn look(&self, buffer: &mut [u8]) -> Fetched {
        self.program.state().outputs[self.output].read(self.number, buffer)
    }

    /// Notes that this many more bytes have reached the host.
    pub(crate) fn delivered(&self, count: usize) {
        self.change(|buffer| buffer.delivered(self.number, count));
    }

    fn change(&self, change: impl FnOnce(&mut OutputBuffer)) {
        let mut state = self.program.state();
        let buffer = &mut state.outputs[self.output];
        let had_room = buffer.has_room();
        change(buffer);
        if !had_room && buffer.has_room() {
            self.program.wakeup.wake();
        }
    }
}

impl Drop for OutputReader {
    fn drop(&mut self) {
        self.change(|buffer| buffer.remove_reader(self.number));
    }
}

/// The program's own thread, for which its child runs.
struct ProgramThread {
    program: Arc<Program>,
    buffer: Vec<u8>,
}

impl Peer for ProgramThread {
    type Lost = std::convert::Infallible;

    fn wakeup(&self) -> PollFd<'_> {
        PollFd::new(&self.program.wakeup, PollFlags::IN)
    }

    fn woken(&mut self, child: &mut Child) -> Result<(), Self::Lost> {
        self.program.wakeup.clear();
        let orders = std::mem::take(&mut self.program.state().orders);
        for order in orders {
            match order {
                Order::Signal { signal, group, done } => {
                    let result = match group {
                        true => child.signal_group(signal),
                        false => child.signal(signal).map(|()| true),
                    };
                    // Who asked waits for it.
                    let _ = done.send(result);
                }
                Order::TimeOut => child.time_out(),
                Order::End { kill_at } => {
                    // Whether it can be sent does not matter: SIGKILL comes as well.
                    let _ = child.signal_group(libc::SIGTERM);
                    child.end_by(kill_at);
                }
            }
        }
        Ok(())
    }

    fn input(&self) -> Option<impl AsFd> {
        self.program.state().input.waiting()
    }

    fn feed(&mut self) {
        let mut state = self.program.state();
        state.input.flush();
        state.tell();
    }

    fn takes(&self, output: usize) -> bool {
        self.program.state().outputs[output].has_room()
    }

    fn take(&mut self, output: usize, pipe: &OwnedFd) -> Result<Taken, Self::Lost> {
        let read = rustix::io::read(pipe, self.buffer.as_mut_slice());
        let taken = Taken::of(&read);
        let mut state = self.program.state();
        match &taken {
            Taken::Bytes(n) => state.outputs[output].put(&self.buffer[..*n]),
            Taken::Nothing => return Ok(taken),
            Taken::End => state.outputs[output].finish(),
        }
        state.tell();
        Ok(taken)
    }

    fn ended(&mut self, exited: &Exited) {
        let mut state = self.program.state();
        state.ended = Some(exited.clone());
        state.input.abandon();
        state.tell();
    }
}
