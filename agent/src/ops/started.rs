//! Start and what is asked of a started program: how it does, its end, its input, signals.
//!
//! Input: programs to start, then handles.
//! Output: how far they have come, and output from wherever it is wanted. While an op waits, it notices that
//! the host has gone.
//! Not here: streams of output; see `follow`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_protocol::{
    DATA_CHUNK, Exec, Joined, OpError, Process, Response, STDERR, STDOUT, TerminalSize, WaitProcess,
    write_data,
};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::connection::{Body, SessionError, wait_for};
use crate::failure::{Failure, failed, impossible};
use crate::process::child::unknown_end;
use crate::process::command::Command;
use crate::process::input::{Input, NoInput};
use crate::process::launch::{input_pipe, launch};
use crate::process::output::Fetched;
use crate::process::program::{OutputReader, Program, ProgramStatus};
use crate::process::pump::Pump;
use crate::session::Session;

/// Most bytes that may wait for a program to read them when a request to write is answered.
pub(super) const QUEUE: usize = 1 << 20;

pub(crate) fn start(session: &mut Session, exec: Exec) -> Result<Response, Failure> {
    let pieces = match exec.has_stdin {
        true => Body::new(&session.stream).all()?,
        false => Vec::new(),
    };
    let command = Command::new(exec)?;
    let (stdin, ours) = input_pipe().map_err(|errno| command.failed("cannot make its pipes", errno))?;
    let mut input = Input::new(ours);
    // While we have the reading end, it can only be full.
    let _ = pieces.into_iter().try_for_each(|piece| input.push(piece));
    let pump = launch(&command, &stdin)?;
    drop(stdin);
    let (handle, pid) = look_after(session, &command, pump, input, None)?;
    Ok(Response::Started { handle, pid })
}

/// Leaves a program to a thread of its own; its handle and its process id.
pub(super) fn look_after(
    session: &Session,
    command: &Command,
    pump: Pump,
    input: Input,
    terminal: Option<OwnedFd>,
) -> Result<(u64, u32), Failure> {
    let program = Program::start(
        pump,
        input,
        terminal,
        session.id(),
        &session.agent.supervisor,
        &session.agent.threads,
    )
    .map_err(|errno| command.failed("cannot make a thread for it", errno))?;
    let pid = program.pid;
    Ok((session.agent.programs.add(program), pid))
}

pub(crate) fn wait(session: &mut Session, wait: WaitProcess) -> Result<Response, Failure> {
    let program = find(session, wait.handle)?;
    let mut until = wait
        .timeout_ms
        .and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let watch = program.watch().map_err(no_wakeup)?;
    let readers = [program.read(0, wait.from[0]), program.read(1, wait.from[1])];
    session.scratch.resize(DATA_CHUNK, 0);
    let ended = loop {
        watch.wakeup.clear();
        // Looked at before the output: what it has written by its end comes before that.
        let status = program.status();
        while send_some(session, &readers)? {}
        if let Some(lost) = status.lost {
            session.agent.programs.remove(wait.handle);
            return Ok(Response::ThreadEnded(lost));
        }
        if status.finished {
            session.agent.programs.remove(wait.handle);
            break Some(status.ended.unwrap_or_else(unknown_end));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            if !wait.kill {
                break None;
            }
            program.time_out();
            until = None;
        }
        wait_for(&session.stream, watch.wakeup.as_fd(), PollFlags::IN, until)?;
    };
    Ok(Response::Process(Process {
        pid: program.pid,
        ended,
        from: [readers[0].from, readers[1].from],
    }))
}

/// Sends the next piece of each output; false when there is none for now.
pub(super) fn send_some(session: &mut Session, readers: &[OutputReader; 2]) -> Result<bool, SessionError> {
    let mut some = false;
    for (reader, channel) in readers.iter().zip([STDOUT, STDERR]) {
        if let Fetched::Bytes(n) = reader.look(&mut session.scratch) {
            write_data(&mut session.stream, channel, &session.scratch[..n])?;
            reader.delivered(n);
            some = true;
        }
    }
    Ok(some)
}

pub(crate) fn state(session: &Session, handle: u64) -> Result<Response, Failure> {
    let program = find(session, handle)?;
    Ok(Response::Process(Process {
        pid: program.pid,
        ended: program.status().ended,
        from: [0, 0],
    }))
}

pub(crate) fn signal(session: &Session, handle: u64, signal: i32) -> Result<Response, Failure> {
    let program = find(session, handle)?;
    match program.signal(signal) {
        // It has ended, and somebody else has waited for it.
        Ok(()) | Err(Errno::SRCH) => Ok(Response::Done),
        Err(errno) => Err(failed(
            format_args!("send signal {signal} to process {}", program.pid),
            errno,
        )
        .into()),
    }
}

pub(crate) fn signal_group(session: &Session, handle: u64, signal: i32) -> Result<Response, Failure> {
    let program = find(session, handle)?;
    match program.signal_group(signal) {
        Ok(_) | Err(Errno::SRCH) => Ok(Response::Done),
        Err(errno) => {
            let what = format!("send signal {signal} to the group of process {}", program.pid);
            Err(failed(what, errno).into())
        }
    }
}

pub(crate) fn resize(session: &Session, handle: u64, size: TerminalSize) -> Result<Response, Failure> {
    let program = find(session, handle)?;
    match program.resize(size) {
        Ok(()) => Ok(Response::Done),
        Err(errno) => {
            let what = format!("set the size of the terminal of process {}", program.pid);
            Err(failed(what, errno).into())
        }
    }
}

pub(crate) fn write_stdin(session: &mut Session, handle: u64) -> Result<Response, Failure> {
    let program = find(session, handle);
    let mut body = Body::new(&session.stream);
    let result = program.and_then(|program| give(&program, &mut body));
    if let Err(Failure::Op(_)) = &result {
        body.drain()?;
    }
    result.map(|bytes| Response::Written { bytes })
}

/// Gives a program the body as its input, piece by piece as it takes them.
fn give(program: &Arc<Program>, body: &mut Body<'_>) -> Result<u64, Failure> {
    let watch = program.watch().map_err(no_wakeup)?;
    let refused = |error| match error {
        NoInput::Closed => impossible("stdin is closed"),
        NoInput::Broken => failed(
            format_args!("write to the standard input of process {}", program.pid),
            Errno::PIPE,
        ),
    };
    let mut bytes = 0;
    while let Some(piece) = body.next()? {
        bytes += piece.len() as u64;
        let mut queued = program.give(piece).map_err(refused)?;
        while queued > QUEUE {
            wait_for(body.stream(), watch.wakeup.as_fd(), PollFlags::IN, None)?;
            watch.wakeup.clear();
            queued = program.give(Vec::new()).map_err(refused)?;
        }
    }
    // A body without a byte asks whether it could be written to. Behind other bytes that would be one
    // question too many: whoever has had what it wanted may be gone.
    if bytes == 0 {
        program.give(Vec::new()).map_err(refused)?;
    }
    Ok(bytes)
}

pub(crate) fn close_stdin(session: &Session, handle: u64) -> Result<Response, Failure> {
    find(session, handle)?.close_input();
    Ok(Response::Done)
}

pub(crate) fn begin_end(session: &Session, handle: u64) -> Result<Response, Failure> {
    if let Some(program) = session.agent.programs.get(handle) {
        program.end();
    }
    Ok(Response::Done)
}

pub(crate) fn end(session: &Session, handle: u64) -> Result<Response, Failure> {
    if let Some(program) = session.agent.programs.get(handle) {
        program.end();
        wait_until(session, &program, |status| status.finished)?;
        session.agent.programs.remove(handle);
    }
    Ok(Response::Done)
}

pub(crate) fn signal_all(session: &Session, signal: i32) -> Result<Response, Failure> {
    let mut count = 0;
    for (_, program) in session.agent.programs.of(session.id()) {
        match program.signal_group(signal) {
            Ok(reached) => count += u64::from(reached),
            Err(Errno::SRCH) => {}
            Err(errno) => {
                let what = format!("send signal {signal} to the group of process {}", program.pid);
                return Err(failed(what, errno).into());
            }
        }
    }
    Ok(Response::Count { count })
}

pub(crate) fn join(session: &Session) -> Result<Response, Failure> {
    let programs = session.agent.programs.of(session.id());
    let join = |(handle, program): (u64, Arc<Program>)| {
        let status = wait_until(session, &program, |status| {
            status.ended.is_some() || status.finished
        })?;
        Ok::<Joined, Failure>(Joined {
            handle,
            pid: program.pid,
            ended: status.ended.unwrap_or_else(unknown_end),
        })
    };
    let ended = programs.into_iter().map(join).collect::<Result<_, _>>()?;
    Ok(Response::Joined { ended })
}

/// Waits until a program's status is as wanted.
fn wait_until(
    session: &Session,
    program: &Arc<Program>,
    wanted: impl Fn(&ProgramStatus) -> bool,
) -> Result<ProgramStatus, Failure> {
    let watch = program.watch().map_err(no_wakeup)?;
    loop {
        watch.wakeup.clear();
        let status = program.status();
        if wanted(&status) {
            return Ok(status);
        }
        wait_for(&session.stream, watch.wakeup.as_fd(), PollFlags::IN, None)?;
    }
}

/// The program with this handle.
pub(crate) fn find(session: &Session, handle: u64) -> Result<Arc<Program>, Failure> {
    let program = session.agent.programs.get(handle);
    program.ok_or_else(|| {
        impossible(format!(
            "there is no process with handle {handle}: it has been waited for or ended"
        ))
        .into()
    })
}

pub(super) fn no_wakeup(errno: Errno) -> OpError {
    failed("wait for a process", errno)
}
