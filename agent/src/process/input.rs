//! A program's standard input: what was given for it and how far it has been taken.
//!
//! Input: bytes.
//! Output: the same in a pipe that does not block, in order.
//! Not here: waiting; whoever has a poll loop calls [`Input::flush`] when the pipe takes more.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::pty;
use crate::poll::events_now;

/// Bytes on their way into a pipe.
#[derive(Debug)]
pub(crate) struct Input {
    /// `None` when nothing can be written any more.
    pipe: Option<Arc<OwnedFd>>,
    pieces: VecDeque<Vec<u8>>,
    /// Number of bytes of the first piece that have been written.
    written: usize,
    /// Number of bytes in `pieces` that have not.
    queued: usize,
    /// Close the pipe behind the last piece.
    closing: bool,
    /// It is a terminal, where a character stands for the end.
    typed: bool,
}

/// Why a program's standard input takes nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NoInput {
    /// The host has closed it.
    Closed,
    /// Nobody has it open for reading.
    Broken,
}

impl Input {
    pub(crate) fn new(pipe: OwnedFd) -> Input {
        Input {
            pipe: Some(Arc::new(pipe)),
            pieces: VecDeque::new(),
            written: 0,
            queued: 0,
            closing: false,
            typed: false,
        }
    }

    /// The same for the agent's end of a terminal.
    pub(crate) fn typed(terminal: OwnedFd) -> Input {
        Input {
            typed: true,
            ..Input::new(terminal)
        }
    }

    /// Takes bytes behind those it has, and writes what the pipe takes at once.
    pub(crate) fn push(&mut self, piece: Vec<u8>) -> Result<(), NoInput> {
        self.state()?;
        if !piece.is_empty() {
            self.queued += piece.len();
            self.pieces.push_back(piece);
        }
        self.flush();
        match self.pipe {
            Some(_) => Ok(()),
            None => Err(NoInput::Broken),
        }
    }

    /// Whether it can still be written to.
    pub(crate) fn state(&mut self) -> Result<(), NoInput> {
        if self.closing {
            return Err(NoInput::Closed);
        }
        let Some(pipe) = &self.pipe else {
            return Err(NoInput::Broken);
        };
        if events_now(pipe, PollFlags::OUT).contains(PollFlags::ERR) {
            self.abandon();
            return Err(NoInput::Broken);
        }
        Ok(())
    }

    /// Writes what the pipe takes.
    pub(crate) fn flush(&mut self) {
        let Some(pipe) = self.pipe.clone() else { return };
        while let Some(piece) = self.pieces.front() {
            match rustix::io::write(&pipe, &piece[self.written..]) {
                Ok(n) => {
                    self.written += n;
                    self.queued -= n;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.abandon(),
            }
            if self.written == piece.len() {
                self.pieces.pop_front();
                self.written = 0;
            }
        }
        if self.closing {
            self.pipe = None;
        }
    }

    /// Closes the pipe when all that was pushed has been written.
    pub(crate) fn close(&mut self) {
        let end = self.pipe.as_ref().filter(|_| self.typed && !self.closing);
        if let Some(end) = end.and_then(pty::end_of_typing) {
            self.queued += 1;
            self.pieces.push_back(vec![end]);
        }
        self.closing = true;
        self.flush();
    }

    /// Closes the pipe and drops the bytes that wait: nobody reads them any more.
    pub(crate) fn abandon(&mut self) {
        self.pipe = None;
        self.pieces.clear();
        (self.written, self.queued) = (0, 0);
    }

    /// Number of bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// The pipe, while bytes wait for it.
    pub(crate) fn waiting(&self) -> Option<Arc<OwnedFd>> {
        self.pipe.clone().filter(|_| !self.pieces.is_empty())
    }
}
