//! Programs: run to their end, or started and waited for later.
//!
//! Enters: an [`ExecSpec`], then the handle by which the agent knows what was started. Leaves: output with the place it
//! has in the whole, and how a program ended. Absent on purpose: keeping output; the caller puts the pieces together.

use std::io::Read;
use std::time::Duration;

use provium_protocol::{
    Exec, ExitStatus, Exited, Joined, MAX_FRAME, Process, Request, Response, STDERR, STDOUT, WaitProcess,
};
use serde_bytes::ByteBuf;

use super::GuestClient;
use crate::GuestError;

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
    /// By which the agent knows it.
    pub handle: u64,
    /// Process or thread id in the guest.
    pub pid: u32,
}

/// A piece of a program's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where in the whole output it begins.
    pub from: u64,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// What came of waiting for a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Waited {
    /// Its process id.
    pub pid: u32,
    /// How it ended; absent while it runs.
    pub ended: Option<Exited>,
    /// Standard output and standard error, from where they were asked for.
    pub output: [Piece; 2],
}

/// Collects what comes on the channels of standard output and standard error.
pub(super) fn collect<'a>(
    stdout: &'a mut Vec<u8>,
    stderr: &'a mut Vec<u8>,
) -> impl FnMut(u8, &[u8]) -> bool + 'a {
    |channel, bytes| {
        let output = match channel {
            STDOUT => &mut *stdout,
            STDERR => &mut *stderr,
            _ => return false,
        };
        output.extend_from_slice(bytes);
        true
    }
}

impl ExecSpec {
    /// What goes over the wire; refuses what no frame can hold.
    pub(super) fn message(&self) -> Result<Exec, GuestError> {
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
        Ok(Exec {
            argv: self.argv.iter().cloned().map(Into::into).collect(),
            env: self
                .env
                .iter()
                .cloned()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            env_clear: self.env_clear,
            cwd: self.cwd.clone().map(Into::into),
            has_stdin: self.stdin.is_some(),
            timeout_ms: self.timeout.map(millis),
        })
    }
}

pub(super) fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

impl GuestClient {
    /// Runs a program to its end.
    pub fn exec(&mut self, spec: &ExecSpec) -> Result<ExecOutcome, GuestError> {
        let request = Request::Exec(spec.message()?);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut input = spec.stdin.as_deref();
        let body = input.as_mut().map(|stdin| stdin as &mut (dyn Read + Send));
        let limit = spec.timeout.map(|limit| limit.saturating_add(self.grace));
        let response = self
            .exchange
            .request(request, body, limit, &mut collect(&mut stdout, &mut stderr))?;
        self.ran(response, stdout, stderr)
    }

    pub(super) fn ran(
        &mut self,
        response: Response,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    ) -> Result<ExecOutcome, GuestError> {
        match response {
            Response::Exited(exited) => Ok(ExecOutcome {
                status: exited.status,
                stdout,
                stderr,
                duration: Duration::from_nanos(exited.duration_ns),
            }),
            other => Err(self.exchange.unexpected("a program's end", &other)),
        }
    }

    /// Starts a program and leaves it running. What `spec` has as input is the first of it; its timeout does not count.
    pub fn start(&mut self, spec: &ExecSpec) -> Result<Started, GuestError> {
        let request = Request::Start(Exec {
            timeout_ms: None,
            ..spec.message()?
        });
        let response = match spec.stdin.as_deref() {
            Some(mut input) => self.send(request, &mut input)?,
            None => self.ask(request)?,
        };
        let started = self.is_started(response)?;
        self.started.insert(started.handle);
        Ok(started)
    }

    pub(super) fn is_started(&mut self, response: Response) -> Result<Started, GuestError> {
        match response {
            Response::Started { handle, pid } => Ok(Started { handle, pid }),
            other => Err(self.exchange.unexpected("that it was started", &other)),
        }
    }

    /// Waits for a started program, at most for `limit`; past it, `kill` ends its process group, which counts as timed
    /// out then. Output comes from the offsets `from` on. Once it has ended its handle is gone.
    pub fn wait_process(
        &mut self,
        handle: u64,
        limit: Option<Duration>,
        kill: bool,
        from: [u64; 2],
    ) -> Result<Waited, GuestError> {
        let request = Request::WaitProcess(WaitProcess {
            handle,
            timeout_ms: limit.map(millis),
            kill,
            from,
        });
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let limit = limit.map(|limit| limit.saturating_add(self.grace));
        let response = self
            .exchange
            .request(request, None, limit, &mut collect(&mut stdout, &mut stderr))?;
        let Process { pid, ended, from } = self.is_process(response)?;
        if ended.is_some() {
            self.started.remove(&handle);
        }
        let [out, err] = from;
        Ok(Waited {
            pid,
            ended,
            output: [
                Piece {
                    from: out,
                    bytes: stdout,
                },
                Piece {
                    from: err,
                    bytes: stderr,
                },
            ],
        })
    }

    /// How a started program is doing.
    pub fn process_state(&mut self, handle: u64) -> Result<Process, GuestError> {
        let response = self.ask(Request::ProcessState { handle })?;
        self.is_process(response)
    }

    fn is_process(&mut self, response: Response) -> Result<Process, GuestError> {
        match response {
            Response::Process(process) => Ok(process),
            other => Err(self.exchange.unexpected("a process", &other)),
        }
    }

    /// Sends a signal to a started program, SIGKILL to its whole process group.
    pub fn signal_process(&mut self, handle: u64, signal: i32) -> Result<(), GuestError> {
        self.done(Request::SignalProcess { handle, signal })
    }

    /// Writes to a started program's standard input; returns the bytes written.
    pub fn write_stdin(&mut self, handle: u64, input: &mut (dyn Read + Send)) -> Result<u64, GuestError> {
        let response = self.send(Request::WriteStdin { handle }, input)?;
        self.is_written(response)
    }

    /// Closes a started program's standard input.
    pub fn close_stdin(&mut self, handle: u64) -> Result<(), GuestError> {
        self.done(Request::CloseStdin { handle })
    }

    /// Tells a started program to end, and does not wait; [`end_process`](Self::end_process) does that later.
    pub fn begin_end_process(&mut self, handle: u64) -> Result<(), GuestError> {
        self.done(Request::BeginEndProcess { handle })
    }

    /// Ends a started program: SIGTERM to its process group, SIGKILL after 2 s.
    pub fn end_process(&mut self, handle: u64) -> Result<(), GuestError> {
        self.done(Request::EndProcess { handle })?;
        self.started.remove(&handle);
        Ok(())
    }

    /// Tells every program that was started on this session to end, and does not wait. Their two seconds run from here.
    pub fn begin_end_processes(&mut self) -> Result<(), GuestError> {
        match self.started.is_empty() {
            true => Ok(()),
            false => self.signal_processes(SIGTERM).map(drop),
        }
    }

    /// Ends every program that was started on this session, all at once, as [`end_process`](Self::end_process) does.
    pub fn end_processes(&mut self) -> Result<(), GuestError> {
        self.begin_end_processes()?;
        while let Some(handle) = self.started.first().copied() {
            self.end_process(handle)?;
        }
        Ok(())
    }

    /// Sends a signal to the process group of every program that was started on this session; returns how many.
    pub fn signal_processes(&mut self, signal: i32) -> Result<u64, GuestError> {
        match self.ask(Request::SignalProcesses { signal })? {
            Response::Count { count } => Ok(count),
            other => Err(self.exchange.unexpected("a count", &other)),
        }
    }

    /// Waits until every program that was started on this session has ended; says how each did.
    pub fn join_processes(&mut self) -> Result<Vec<Joined>, GuestError> {
        match self.ask(Request::JoinProcesses)? {
            Response::Joined { ended } => Ok(ended),
            other => Err(self.exchange.unexpected("how each program ended", &other)),
        }
    }
}
