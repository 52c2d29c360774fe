//! A started program: what the host can ask of it at any time, and the thread that looks after it.
//!
//! Enters: a child that runs; requests of any session. Leaves: its output to whoever reads it, its end. The thread
//! was made by the session that started the program and keeps that session's credentials of then, so that it may
//! signal what it has started even when the session has given them up. Absent on purpose: who may do what; handles
//! are all it takes.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::{ExitStatus, Exited};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::bell::Bell;
use super::input::{Input, NoInput};
use super::kept::{Found, Kept};
use super::pump::{Peer, Pump, READ, Run, Taken};
use crate::session::Agent;

/// How long a program has between SIGTERM and SIGKILL when it is ended.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(2);
/// Enough for the pump, which keeps nothing large on its stack.
const STACK: usize = 128 * 1024;

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) pid: u32,
    /// The session that started it.
    pub(crate) owner: u64,
    /// Wakes its thread.
    bell: Bell,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outputs: [Kept; 2],
    input: Input,
    orders: Vec<Order>,
    /// How it ended, as soon as that is known.
    ended: Option<Exited>,
    /// Its output is complete as well; its thread does nothing more.
    finished: bool,
    /// When it was first asked to end.
    first_term: Option<Instant>,
    /// Who wants to know of any change.
    watchers: Vec<Arc<Bell>>,
}

/// What its thread is to do.
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

/// How a program is doing.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    pub(crate) ended: Option<Exited>,
    /// All its output has been taken in.
    pub(crate) finished: bool,
}

impl Program {
    /// Looks after a child from now on; `input` is our end of its standard input.
    pub(crate) fn start(
        pump: Pump,
        input: Input,
        owner: u64,
        agent: &Arc<Agent>,
    ) -> Result<Arc<Program>, Errno> {
        let program = Arc::new(Program {
            pid: pump.pid().as_raw_pid().cast_unsigned(),
            owner,
            bell: Bell::new()?,
            state: Mutex::new(State {
                outputs: [Kept::default(), Kept::default()],
                input,
                orders: Vec::new(),
                ended: None,
                finished: false,
                first_term: None,
                watchers: Vec::new(),
            }),
        });
        let mut keeping = Keeping {
            program: program.clone(),
            buffer: vec![0; READ],
        };
        let agent = agent.clone();
        let look_after = move || {
            // Its peer is never lost.
            let _ = pump.run(&mut keeping, &agent.keeper);
            keeping.program.finish();
        };
        thread::Builder::new()
            .name("program".to_owned())
            .stack_size(STACK)
            .spawn(look_after)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(program)
    }

    pub(crate) fn doing(&self) -> Doing {
        let state = self.state();
        Doing {
            ended: state.ended.clone(),
            finished: state.finished,
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

    /// Bytes that wait to be taken from its standard input, this piece included.
    pub(crate) fn give(&self, piece: Vec<u8>) -> Result<usize, NoInput> {
        let mut state = self.state();
        state.input.push(piece)?;
        let queued = state.input.queued();
        if queued > 0 {
            self.bell.ring();
        }
        Ok(queued)
    }

    pub(crate) fn close_input(&self) {
        self.state().input.close();
        self.bell.ring();
    }

    /// A bell that rings at every change.
    pub(crate) fn watch(self: &Arc<Program>) -> Result<Watch, Errno> {
        let bell = Arc::new(Bell::new()?);
        self.state().watchers.push(bell.clone());
        Ok(Watch {
            program: self.clone(),
            bell,
        })
    }

    /// Reads standard output (0) or standard error (1) from a byte on.
    pub(crate) fn read(self: &Arc<Program>, output: usize, from: u64) -> Reader {
        let (number, from) = self.state().outputs[output].add_reader(from);
        Reader {
            program: self.clone(),
            output,
            number,
            from,
        }
    }

    /// False when there is no thread left to do it.
    fn order(&self, order: Order) -> bool {
        let mut state = self.state();
        if state.finished {
            return false;
        }
        state.orders.push(order);
        self.bell.ring();
        true
    }

    fn finish(&self) {
        let mut state = self.state();
        state.finished = true;
        state.orders.clear();
        state.input.abandon();
        state.outputs.iter_mut().for_each(Kept::finish);
        state.tell();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Something has changed.
    fn tell(&self) {
        self.watchers.iter().for_each(|watcher| watcher.ring());
    }
}

/// Rings at every change of a program, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    program: Arc<Program>,
    pub(crate) bell: Arc<Bell>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.program.state();
        state.watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.bell));
    }
}

/// One who reads an output. What it has not had is kept while it lives.
#[derive(Debug)]
pub(crate) struct Reader {
    program: Arc<Program>,
    output: usize,
    number: u64,
    /// Where it began.
    pub(crate) from: u64,
}

impl Reader {
    /// Copies what comes next; the same again until [`Reader::delivered`].
    pub(crate) fn look(&self, buffer: &mut [u8]) -> Found {
        self.program.state().outputs[self.output].read(self.number, buffer)
    }

    /// So many more bytes have reached the host.
    pub(crate) fn delivered(&self, count: usize) {
        self.change(|kept| kept.delivered(self.number, count));
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let mut state = self.program.state();
        let kept = &mut state.outputs[self.output];
        let had_room = kept.has_room();
        change(kept);
        if !had_room && kept.has_room() {
            self.program.bell.ring();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.change(|kept| kept.remove_reader(self.number));
    }
}

/// The program's own thread.
struct Keeping {
    program: Arc<Program>,
    buffer: Vec<u8>,
}

impl Peer for Keeping {
    type Lost = std::convert::Infallible;

    fn bell(&self) -> PollFd<'_> {
        PollFd::new(&self.program.bell, PollFlags::IN)
    }

    fn rung(&mut self, run: &mut Run) -> Result<(), Self::Lost> {
        self.program.bell.silence();
        let orders = std::mem::take(&mut self.program.state().orders);
        for order in orders {
            match order {
                Order::Signal { signal, group, done } => {
                    let result = match group {
                        true => run.signal_group(signal),
                        false => run.signal(signal).map(|()| true),
                    };
                    // Who asked waits for it.
                    let _ = done.send(result);
                }
                Order::TimeOut => run.time_out(),
                Order::End { kill_at } => {
                    // Whether it can be sent does not matter: SIGKILL comes as well.
                    let _ = run.signal_group(libc::SIGTERM);
                    run.end_by(kill_at);
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

/// How a program ended of which nothing else is known.
pub(crate) fn unknown_end() -> Exited {
    Exited {
        status: ExitStatus::Exited(-1),
        duration_ns: 0,
    }
}
