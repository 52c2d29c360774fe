//! Attach: a program whose standard streams are the connection, for as long as it runs.
//!
//! Input: a program, perhaps with a terminal; then its input, as it comes.
//! Output: its output, as it comes, and how it ended. What the host does not read stops the program and
//! nothing else; what the program does not read stays in the connection.
//! Not here: signals and the terminal's size, which must not wait behind input that nobody reads: they come
//! on another connection, by the program's handle.

use provium_protocol::{Attach, BODY, DATA_CHUNK, Frame, FrameError, Process, Reply, Response, read_frame};
use rustix::event::{PollFd, PollFlags, poll};

use super::started::{QUEUE, look_after, no_wakeup, send_some};
use crate::connection::SessionError;
use crate::failure::Failure;
use crate::process::attached::Attached;
use crate::process::child::unknown_end;
use crate::process::command::Command;
use crate::process::input::{Input, NoInput};
use crate::process::launch::{input_pipe, launch, launch_on};
use crate::process::program::Program;
use crate::session::{AfterReply, Session};

/// Starts the program; the connection is its own after the reply.
pub(crate) fn start(session: &mut Session, attach: Attach) -> Result<Response, Failure> {
    let command = Command::new(attach.exec)?;
    let (pump, input, terminal) = match &attach.terminal {
        Some(terminal) => {
            let (pump, input, master) = launch_on(&command, terminal)?;
            (pump, input, Some(master))
        }
        None => {
            let pipe = input_pipe().map_err(|errno| command.failed("cannot make its pipes", errno))?;
            (launch(&command, &pipe.0)?, Input::new(pipe.1), None)
        }
    };
    let (handle, pid) = look_after(session, &command, pump, input, terminal)?;
    let program = super::started::find(session, handle)?;
    let watch = program.watch().map_err(no_wakeup)?;
    session.after_reply(AfterReply::Attach(Attached {
        handle,
        program,
        watch,
    }));
    Ok(Response::Started { handle, pid })
}

/// Carries input and output until the program has ended; the reply that is due then.
pub(crate) fn run(session: &mut Session, attached: &Attached) -> Result<Reply, SessionError> {
    let Attached {
        handle,
        program,
        watch,
    } = attached;
    let readers = [program.read(0, 0), program.read(1, 0)];
    session.scratch.resize(DATA_CHUNK, 0);
    loop {
        watch.wakeup.clear();
        // Looked at before the output: what it has written by its end comes before that.
        let status = program.status();
        while send_some(session, &readers)? {}
        if let Some(lost) = status.lost {
            session.agent.programs.remove(*handle);
            return Ok(Ok(Response::ThreadEnded(lost)));
        }
        if status.finished {
            session.agent.programs.remove(*handle);
            return Ok(Ok(Response::Process(Process {
                pid: program.pid,
                ended: Some(status.ended.unwrap_or_else(unknown_end)),
                from: [0, 0],
            })));
        }
        // Input that nobody takes is dropped, as a pipe's reader that is gone lets it be.
        let full = matches!(program.give(Vec::new()), Ok(queued) if queued > QUEUE);
        let wanted = if full {
            PollFlags::RDHUP
        } else {
            PollFlags::IN | PollFlags::RDHUP
        };
        let mut fds = [
            PollFd::new(&session.stream, wanted),
            PollFd::new(&watch.wakeup, PollFlags::IN),
        ];
        // Interrupted, or out of memory, which may pass; either way it is looked at again.
        if poll(&mut fds, None).is_ok() && !fds[0].revents().is_empty() {
            if full {
                return Err(FrameError::Closed.into());
            }
            take_input(session, program)?;
        }
    }
}

/// Takes the next frame of input.
fn take_input(session: &mut Session, program: &Program) -> Result<(), SessionError> {
    match read_frame(&mut session.stream)? {
        Frame::Data { channel: BODY, bytes } => match program.give(bytes) {
            Ok(_) | Err(NoInput::Closed | NoInput::Broken) => Ok(()),
        },
        Frame::End { channel: BODY } => {
            program.close_input();
            Ok(())
        }
        other => Err(SessionError::unexpected(&other, "a program's input")),
    }
}
