//! Operations on programs: run to their end, or started and waited for later.
//!
//! Input: an [`ExecSpec`], then the agent's handle of what was started. Output: operations that come to
//! output, with the place it has in the whole, and to how a program ended. The client remembers what was
//! started on it, so that all of it can be ended together. Not here: keeping output; the caller puts the
//! pieces together.

use std::time::Duration;

use provium_protocol::{
    Exec, ExitStatus, Exited, Joined, MAX_FRAME, Process, Request, Response, TerminalSize, WaitProcess,
};
use serde_bytes::ByteBuf;

use super::op::{DataKind, Op};
use super::session::GuestClient;
use crate::error::GuestError;
use crate::wire::answer::mismatch;

/// Name and value of an environment variable.
pub type EnvVar = (Vec<u8>, Vec<u8>);

/// A program to run in the guest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExecSpec {
    /// Program and arguments; the program is looked up in the child's PATH.
    pub argv: Vec<Vec<u8>>,
    /// Variables set on top of the agent's environment, or in place of it with `env_clear`.
    pub env: Vec<EnvVar>,
    /// Start from an empty environment.
    pub env_clear: bool,
    /// Working directory; `/` when absent.
    pub cwd: Option<Vec<u8>>,
    /// Standard input; empty when absent.
    pub stdin: Option<Vec<u8>>,
    /// After this the whole process group is killed.
    pub timeout: Option<Duration>,
}

impl ExecSpec {
    /// `/bin/sh -c line`.
    pub fn shell(line: impl Into<Vec<u8>>) -> ExecSpec {
        ExecSpec {
            argv: vec![b"/bin/sh".to_vec(), b"-c".to_vec(), line.into()],
            ..ExecSpec::default()
        }
    }
}

/// How a program in the guest ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecOutcome {
    /// Which way.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: Vec<u8>,
    /// From fork to end, by the guest's clock.
    pub duration: Duration,
}

const SIGTERM: i32 = 15;

/// A program, or a system call, that was started and goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The agent's number for it.
    pub handle: u64,
    /// Process or thread id in the guest.
    pub pid: u32,
}

/// A piece of a program's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputChunk {
    /// Offset of its first byte in the whole output.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What came of waiting for a program.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitOutcome {
    /// Its process id.
    pub pid: u32,
    /// How it ended; absent while it runs.
    pub ended: Option<Exited>,
    /// Standard output and standard error, from where they were asked for.
    pub output: [OutputChunk; 2],
}

impl ExecSpec {
    /// The message for the wire, and the input that goes with it; refuses what no frame can hold.
    pub(super) fn into_message(self) -> Result<(Exec, Option<Vec<u8>>), GuestError> {
        for (what, count, most) in [
            ("arguments", self.argv.len(), MAX_FRAME / size_of::<ByteBuf>()),
            (
                "environment variables",
                self.env.len(),
                MAX_FRAME / size_of::<(ByteBuf, ByteBuf)>(),
            ),
        ] {
            if count > most {
                return Err(GuestError::TooLarge(format!(
                    "{count} {what}, the most is {most}"
                )));
            }
        }
        let exec = Exec {
            argv: self.argv.into_iter().map(Into::into).collect(),
            env: self
                .env
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            env_clear: self.env_clear,
            cwd: self.cwd.map(Into::into),
            has_stdin: self.stdin.is_some(),
            timeout_ms: self.timeout.map(millis),
        };
        Ok((exec, self.stdin))
    }
}

/// Whole milliseconds for the wire.
pub(super) fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// Runs a program to its end.
pub fn exec(spec: ExecSpec) -> Op<ExecOutcome> {
    let limit = spec.timeout;
    let (request, stdin) = split(spec.into_message(), Request::Exec);
    Op::fallible(request, |answer| match answer.response {
        Response::Exited(exited) => Ok(ExecOutcome {
            status: exited.status,
            stdout: answer.data.main,
            stderr: answer.data.stderr,
            duration: Duration::from_nanos(exited.duration_ns),
        }),
        other => Err(mismatch("a program's end", &other)),
    })
    .with_body(stdin)
    .receiving(DataKind::Output)
    .limited(limit)
}

/// Starts a program and leaves it running, for [`GuestClient::start`].
fn start(spec: ExecSpec) -> Op<Started> {
    let message = ExecSpec {
        timeout: None,
        ..spec
    }
    .into_message();
    let (request, stdin) = split(message, Request::Start);
    Op::fallible(request, |answer| started(answer.response)).with_body(stdin)
}

/// A message as a request, and its input.
fn split(
    message: Result<(Exec, Option<Vec<u8>>), GuestError>,
    request: fn(Exec) -> Request,
) -> (Result<Request, GuestError>, Option<Vec<u8>>) {
    match message {
        Ok((exec, stdin)) => (Ok(request(exec)), stdin),
        Err(error) => (Err(error), None),
    }
}

/// The handle of something that was started.
pub(super) fn started(response: Response) -> Result<Started, String> {
    match response {
        Response::Started { handle, pid } => Ok(Started { handle, pid }),
        other => Err(mismatch("that it was started", &other)),
    }
}

/// The state of a started program in a reply.
fn process(response: Response) -> Result<Process, String> {
    match response {
        Response::Process(process) => Ok(process),
        other => Err(mismatch("a process", &other)),
    }
}

/// Waits for a started program, for [`GuestClient::wait_process`].
fn wait_process(handle: u64, limit: Option<Duration>, kill: bool, from: [u64; 2]) -> Op<WaitOutcome> {
    let request = Request::WaitProcess(WaitProcess {
        handle,
        timeout_ms: limit.map(millis),
        kill,
        from,
    });
    Op::new(request, |answer| {
        let Process { pid, ended, from } = process(answer.response)?;
        let [out, err] = from;
        let chunk = |from, bytes| OutputChunk { from, bytes };
        Ok(WaitOutcome {
            pid,
            ended,
            output: [chunk(out, answer.data.main), chunk(err, answer.data.stderr)],
        })
    })
    .receiving(DataKind::Output)
    .limited(limit)
}

/// How a started program is doing.
pub fn process_state(handle: u64) -> Op<Process> {
    Op::new(Request::ProcessState { handle }, |answer| {
        process(answer.response)
    })
}

/// Sends a signal to a started program, SIGKILL to its whole process group.
pub fn signal_process(handle: u64, signal: i32) -> Op<()> {
    Op::done(Request::SignalProcess { handle, signal })
}

/// Sends a signal to a started program's process group.
pub fn signal_group(handle: u64, signal: i32) -> Op<()> {
    Op::done(Request::SignalGroup { handle, signal })
}

/// Gives a started program's terminal another size.
pub fn resize_terminal(handle: u64, size: TerminalSize) -> Op<()> {
    Op::done(Request::ResizeTerminal { handle, size })
}

/// Writes to a started program's standard input; comes to the bytes written.
pub fn write_stdin(handle: u64, input: Vec<u8>) -> Op<u64> {
    Op::written(Request::WriteStdin { handle }, Some(input))
}

/// Closes a started program's standard input.
pub fn close_stdin(handle: u64) -> Op<()> {
    Op::done(Request::CloseStdin { handle })
}

/// Tells a started program to end, and does not wait; [`GuestClient::end_process`] does that later.
pub fn begin_end_process(handle: u64) -> Op<()> {
    Op::done(Request::BeginEndProcess { handle })
}

/// Sends a signal to the process group of every program that was started on the session; comes to how many.
pub fn signal_processes(signal: i32) -> Op<u64> {
    Op::new(Request::SignalProcesses { signal }, |answer| {
        match answer.response {
            Response::Count { count } => Ok(count),
            other => Err(mismatch("a count", &other)),
        }
    })
}

/// Waits until every program that was started on the session has ended; comes to how each did.
pub fn join_processes() -> Op<Vec<Joined>> {
    Op::new(Request::JoinProcesses, |answer| match answer.response {
        Response::Joined { ended } => Ok(ended),
        other => Err(mismatch("how each program ended", &other)),
    })
}

impl GuestClient {
    /// Starts a program and leaves it running. What `spec` has as input is the first of it; its timeout does
    /// not count.
    pub fn start(&mut self, spec: &ExecSpec) -> Result<Started, GuestError> {
        let started = self.ask(start(spec.clone()))?;
        self.started.insert(started.handle);
        Ok(started)
    }

    /// Waits for a started program, at most for `limit`; past it, `kill` ends its process group, which counts
    /// as timed out then. Output comes from the offsets `from` on. Once it has ended its handle is gone.
    pub fn wait_process(
        &mut self,
        handle: u64,
        limit: Option<Duration>,
        kill: bool,
        from: [u64; 2],
    ) -> Result<WaitOutcome, GuestError> {
        let waited = self.ask(wait_process(handle, limit, kill, from))?;
        if waited.ended.is_some() {
            self.started.remove(&handle);
        }
        Ok(waited)
    }

    /// Ends a started program: SIGTERM to its process group, SIGKILL after 2 s.
    pub fn end_process(&mut self, handle: u64) -> Result<(), GuestError> {
        self.ask(Op::done(Request::EndProcess { handle }))?;
        self.started.remove(&handle);
        Ok(())
    }

    /// Tells every program that was started on this session to end, and does not wait. Their two seconds run
    /// from here.
    pub fn begin_end_processes(&mut self) -> Result<(), GuestError> {
        match self.started.is_empty() {
            true => Ok(()),
            false => self.ask(signal_processes(SIGTERM)).map(drop),
        }
    }

    /// Ends every program that was started on this session, all at once, as
    /// [`end_process`](Self::end_process) does.
    pub fn end_processes(&mut self) -> Result<(), GuestError> {
        self.begin_end_processes()?;
        while let Some(handle) = self.started.first().copied() {
            self.end_process(handle)?;
        }
        Ok(())
    }
}
