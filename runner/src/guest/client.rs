//! The host's side of a session with the agent: one request at a time, each with its answer.
//!
//! Enters: a [`Stream`] the agent opened or accepted, then calls. Leaves: what the guest did, as plain data.
//! Absent on purpose: machines, Lua, and any idea of how long a request may take; a caller that must not wait
//! for ever kills the machine, which ends every call at once.

use std::io::{Read, Write};
use std::time::Duration;

use provium_protocol::{
    BODY, Exec, ExitStatus, Frame, Hello, MAGIC, MAX_FRAME, Refused, Request, Response, Resumed, STDERR,
    STDOUT, Stat, Syscall, VERSION, Welcome, read_frame, write_frame,
};
use serde_bytes::ByteBuf;

use super::error::{GuestError, from_frame};
use super::exchange::{Exchange, no_data};
use super::stream::Stream;

/// How long past a command's own timeout its answer may take before the agent counts as lost.
const EXEC_GRACE: Duration = Duration::from_secs(30);

/// A session with an agent.
pub struct GuestClient {
    exchange: Exchange,
    pid: u32,
}

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

impl std::fmt::Debug for GuestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestClient")
            .field("pid", &self.pid)
            .field("over", &self.exchange.over())
            .finish_non_exhaustive()
    }
}

impl GuestClient {
    /// Takes the agent's hello and welcomes or refuses it; `limit` bounds the wait for it.
    pub fn handshake(stream: Box<dyn Stream>, limit: Duration) -> Result<GuestClient, GuestError> {
        let mut stream = stream;
        let limit = Some(limit);
        stream.set_read_timeout(limit).map_err(GuestError::Lost)?;
        let hello = match read_frame(&mut stream).map_err(|error| from_frame(error, limit))? {
            Frame::Hello(hello) => hello,
            other => {
                return Err(GuestError::Stranger(format!(
                    "its first words were {}",
                    other.name()
                )));
            }
        };
        if let Some(error) = objection(&hello) {
            // The refusal is a courtesy to the guest's log; the caller learns the reason either way.
            let _ = write_frame(
                &mut stream,
                &Frame::Refused(Refused {
                    reason: error.to_string(),
                }),
            );
            return Err(error);
        }
        write_frame(&mut stream, &Frame::Welcome(Welcome { version: VERSION }))
            .map_err(|error| from_frame(error, limit))?;
        Ok(GuestClient {
            exchange: Exchange::new(stream),
            pid: hello.pid,
        })
    }

    /// Goes on with a session that lived through a snapshot, with as many answers still to come as were
    /// [`owed`](Self::owed) then.
    pub(super) fn resumed(stream: Box<dyn Stream>, pid: u32, owed: usize) -> GuestClient {
        GuestClient {
            exchange: Exchange::resumed(stream, owed),
            pid,
        }
    }

    /// Tells the guest what it cannot know, through a handle of the same connection whose writes take `limit` at most.
    /// The answer is looked at before that of the next request.
    pub(super) fn tell(
        &mut self,
        news: Resumed,
        to: &mut impl Write,
        limit: Duration,
    ) -> Result<(), GuestError> {
        self.exchange
            .request_in_advance(Request::Resumed(news), to, limit)
    }

    /// Answers that nobody has read yet.
    pub(super) fn owed(&self) -> usize {
        self.exchange.owed()
    }

    /// The ports of the session's connection, by which it is found again in a resumed machine.
    /// None once no more requests can be made on it.
    pub(super) fn ports(&self) -> Option<(u32, u32)> {
        match self.exchange.over() {
            Some(_) => None,
            None => self.exchange.ports(),
        }
    }

    /// Process id, in the guest, of what answers this session.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// There and back, nothing else.
    pub fn ping(&mut self) -> Result<(), GuestError> {
        self.done(Request::Ping)
    }

    /// The same, with a limit.
    pub(super) fn ping_within(&mut self, limit: Duration) -> Result<(), GuestError> {
        match self
            .exchange
            .request(Request::Ping, None, Some(limit), &mut no_data)?
        {
            Response::Done => Ok(()),
            other => Err(self.exchange.unexpected("no more than that it is done", &other)),
        }
    }

    /// Runs a program to its end.
    pub fn exec(&mut self, spec: &ExecSpec) -> Result<ExecOutcome, GuestError> {
        for (what, count, most) in [
            ("arguments", spec.argv.len(), MAX_FRAME / size_of::<ByteBuf>()),
            (
                "environment variables",
                spec.env.len(),
                MAX_FRAME / size_of::<(ByteBuf, ByteBuf)>(),
            ),
        ] {
            if count > most {
                return Err(GuestError::TooLarge(format!(
                    "{count} {what}, the most is {most}"
                )));
            }
        }
        let request = Request::Exec(Exec {
            argv: spec.argv.iter().cloned().map(Into::into).collect(),
            env: spec
                .env
                .iter()
                .cloned()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            env_clear: spec.env_clear,
            cwd: spec.cwd.clone().map(Into::into),
            has_stdin: spec.stdin.is_some(),
            timeout_ms: spec
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        });
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut input = spec.stdin.as_deref();
        let body = input.as_mut().map(|stdin| stdin as &mut (dyn Read + Send));
        let limit = spec.timeout.map(|limit| limit.saturating_add(EXEC_GRACE));
        let response = self
            .exchange
            .request(request, body, limit, &mut |channel, bytes| {
                let output = match channel {
                    STDOUT => &mut stdout,
                    STDERR => &mut stderr,
                    _ => return false,
                };
                output.extend_from_slice(bytes);
                true
            })?;
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

    /// The content of a file.
    pub fn read_file(&mut self, path: &[u8]) -> Result<Vec<u8>, GuestError> {
        let mut content = Vec::new();
        let request = Request::ReadFile {
            path: path.to_vec().into(),
        };
        let response = self
            .exchange
            .request(request, None, None, &mut |channel, bytes| {
                content.extend_from_slice(bytes);
                channel == BODY
            })?;
        match response {
            Response::Done => Ok(content),
            other => Err(self.exchange.unexpected("a file's end", &other)),
        }
    }

    /// Creates or truncates a file and fills it; returns the bytes written. `perm` are the permission bits of
    /// a file that is new.
    pub fn write_file(
        &mut self,
        path: &[u8],
        perm: Option<u32>,
        content: &mut (dyn Read + Send),
    ) -> Result<u64, GuestError> {
        let request = Request::WriteFile {
            path: path.to_vec().into(),
            perm,
        };
        match self
            .exchange
            .request(request, Some(content), None, &mut no_data)?
        {
            Response::Written { bytes } => Ok(bytes),
            other => Err(self.exchange.unexpected("a count of bytes", &other)),
        }
    }

    /// A file's metadata, of what a symbolic link points at when `follow` is set.
    pub fn stat(&mut self, path: &[u8], follow: bool) -> Result<Stat, GuestError> {
        let request = Request::Stat {
            path: path.to_vec().into(),
            follow,
        };
        match self.exchange.request(request, None, None, &mut no_data)? {
            Response::Stat(stat) => Ok(stat),
            other => Err(self.exchange.unexpected("a file's metadata", &other)),
        }
    }

    /// A raw system call: the kernel's return value (`-errno` on failure) and the buffers after it.
    pub fn syscall(&mut self, call: Syscall) -> Result<(i64, Vec<Vec<u8>>), GuestError> {
        let sizes: Vec<usize> = call.bufs.iter().map(|buf| buf.len()).collect();
        match self
            .exchange
            .request(Request::Syscall(call), None, None, &mut no_data)?
        {
            Response::Syscall { ret, bufs } if bufs.iter().map(|buf| buf.len()).eq(sizes) => {
                Ok((ret, bufs.into_iter().map(|buf| buf.into_vec()).collect()))
            }
            other => Err(self
                .exchange
                .unexpected("a system call's result with every buffer", &other)),
        }
    }

    /// Asks the guest to power off (or to restart) in order; returns when it has begun to.
    pub fn shutdown(&mut self, reboot: bool) -> Result<(), GuestError> {
        self.done(Request::Shutdown { reboot })
    }

    fn done(&mut self, request: Request) -> Result<(), GuestError> {
        match self.exchange.request(request, None, None, &mut no_data)? {
            Response::Done => Ok(()),
            other => Err(self.exchange.unexpected("no more than that it is done", &other)),
        }
    }
}

/// Why a hello is not accepted, if it is not.
fn objection(hello: &Hello) -> Option<GuestError> {
    if hello.magic != MAGIC {
        return Some(GuestError::Stranger(format!(
            "it introduced itself as {:?}",
            hello.magic
        )));
    }
    (hello.version != VERSION).then(|| GuestError::Version {
        theirs: hello.version,
        build: hello.build.clone(),
    })
}
