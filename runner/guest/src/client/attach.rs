//! A program that has a session's connection: its standard streams, until it ends.
//!
//! Input: a session and an [`ExecSpec`]; then its input, from any thread. Output: its output as it comes, and
//! how it ended. Nothing is read ahead: what nobody asks for slows the program. Not here: signals and the
//! terminal's size, which go by another session and the program's handle.

use std::io::{self, Write};

use provium_protocol::{
    Attach, BODY, Exited, Frame, FrameError, Request, Response, STDERR, STDOUT, Terminal, read_frame,
    write_data, write_frame,
};

use super::op::Op;
use super::process::{ExecSpec, Started, started};
use super::session::GuestClient;
use crate::error::{GuestError, from_frame};
use crate::wire::stream::Connection;

/// A program that has a connection.
pub struct AttachedProgram {
    connection: Box<dyn Connection>,
    started: Started,
    /// Bits of the kernel's taint that are new since somebody was told of it.
    taint: u64,
}

/// The way to an attached program's standard input.
pub struct AttachedInput(Box<dyn Connection>);

/// What comes of an attached program.
#[derive(Debug, Clone, PartialEq)]
pub enum Attachment {
    /// The next bytes of its standard output.
    Stdout(Vec<u8>),
    /// The next bytes of its standard error.
    Stderr(Vec<u8>),
    /// Its end; nothing comes behind it.
    Ended(Exited),
}

impl GuestClient {
    /// Starts a program that has this session's connection from then on; its `stdin` and `timeout` do not
    /// count.
    pub fn attach(
        mut self,
        spec: ExecSpec,
        terminal: Option<Terminal>,
    ) -> Result<AttachedProgram, GuestError> {
        let plain = ExecSpec {
            stdin: None,
            timeout: None,
            ..spec
        };
        let (exec, _) = plain.into_message()?;
        let op = Op::new(Request::Attach(Attach { exec, terminal }), |answer| {
            started(answer.response)
        });
        let started = self.ask(op)?;
        let taint = self.take_taint();
        Ok(AttachedProgram {
            connection: self.exchange.into_connection(),
            started,
            taint,
        })
    }
}

impl AttachedProgram {
    /// Its handle and its process id.
    pub fn started(&self) -> Started {
        self.started
    }

    /// Bits of the kernel's taint that have become set and of which this is the only news.
    pub fn taint(&self) -> u64 {
        self.taint
    }

    /// The way to its standard input, for another thread.
    pub fn input(&self) -> Result<AttachedInput, GuestError> {
        let connection = self.connection.try_clone().map_err(GuestError::Lost)?;
        connection.set_write_timeout(None).map_err(GuestError::Lost)?;
        Ok(AttachedInput(connection))
    }

    /// What comes next, for which it waits.
    ///
    /// # Errors
    /// When the connection breaks, as with the machine; [`GuestError::ThreadEnded`] when the kernel has ended
    /// the thread that served it.
    pub fn read(&mut self) -> Result<Attachment, GuestError> {
        self.connection.set_read_timeout(None).map_err(GuestError::Lost)?;
        let mut frame = read_frame(&mut self.connection).map_err(|error| from_frame(error, None))?;
        while let Frame::Taint(news) = frame {
            self.taint |= news.now & !news.before;
            frame = read_frame(&mut self.connection).map_err(|error| from_frame(error, None))?;
        }
        match frame {
            Frame::Data {
                channel: STDOUT,
                bytes,
            } => Ok(Attachment::Stdout(bytes)),
            Frame::Data {
                channel: STDERR,
                bytes,
            } => Ok(Attachment::Stderr(bytes)),
            Frame::Reply(Ok(Response::Process(process))) => match process.ended {
                Some(exited) => Ok(Attachment::Ended(exited)),
                None => Err(GuestError::Protocol(
                    "the last reply of an attached program says that it still runs".to_owned(),
                )),
            },
            Frame::Reply(Ok(Response::ThreadEnded(thread))) => {
                let console = None;
                Err(GuestError::ThreadEnded { thread, console })
            }
            other => Err(GuestError::Protocol(format!(
                "{} came where a program's output was due",
                other.name()
            ))),
        }
    }
}

impl AttachedInput {
    /// Sends these bytes; waits for room.
    ///
    /// # Errors
    /// When the program has ended, or the machine.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_data(&mut self.0, BODY, bytes).map_err(as_io)?;
        self.0.flush()
    }

    /// Sends the end of its input.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn end(mut self) -> io::Result<()> {
        write_frame(&mut self.0, &Frame::End { channel: BODY }).map_err(as_io)?;
        self.0.flush()
    }
}

fn as_io(error: FrameError) -> io::Error {
    match error {
        FrameError::Io(error) => error,
        other => io::Error::other(other),
    }
}
