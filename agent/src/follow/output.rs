//! The output of a started program.
//!
//! Enters: a program, a byte to begin at. Leaves: what is kept of its output from there on, then what it writes, until
//! its pipe is at its end. What has been taken is kept until the next call, which is made when it has been sent.

use std::sync::Arc;

use provium_protocol::OpError;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use super::{Source, Step};
use crate::ops::failed;
use crate::process::kept::Found;
use crate::process::program::{Program, Reader, Watch};

/// A stream of a program's standard output or error.
pub(crate) fn output(
    program: &Arc<Program>,
    stderr: bool,
    from: u64,
) -> Result<Box<dyn Source + Send>, OpError> {
    let watch = program
        .watch()
        .map_err(|errno| failed(format_args!("follow process {}", program.pid), errno))?;
    Ok(Box::new(Output {
        reader: program.read(usize::from(stderr), from),
        watch,
        taken: 0,
    }))
}

struct Output {
    reader: Reader,
    watch: Watch,
    /// Bytes of the last step.
    taken: usize,
}

impl Source for Output {
    fn offset(&self) -> u64 {
        self.reader.from
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno> {
        self.watch.bell.silence();
        self.reader.delivered(std::mem::take(&mut self.taken));
        Ok(match self.reader.look(buffer) {
            Found::Bytes(count) => {
                self.taken = count;
                Step::Bytes(count)
            }
            Found::Nothing => Step::Nothing,
            Found::End => Step::Over,
        })
    }

    fn bell(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.bell.as_fd())
    }
}
