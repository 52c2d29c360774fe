//! The output of a started program.
//!
//! Input: a program, a byte to begin at.
//! Output: what is buffered of its output from there on, then what it writes, until its pipe is at its end.
//! What has been taken stays in the buffer until the next call, which is made when it has been sent.
//! Not here: the buffer; see `process::output`.

use std::sync::Arc;

use provium_protocol::OpError;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use super::source::{Step, StreamSource};
use crate::failure::failed;
use crate::process::output::Fetched;
use crate::process::program::{OutputReader, Program, ProgramWatch};

/// A stream of a program's standard output or error.
pub(crate) fn open(
    program: &Arc<Program>,
    stderr: bool,
    from: u64,
) -> Result<Box<dyn StreamSource + Send>, OpError> {
    let watch = program
        .watch()
        .map_err(|errno| failed(format_args!("follow process {}", program.pid), errno))?;
    Ok(Box::new(ProgramOutput {
        reader: program.read(usize::from(stderr), from),
        watch,
        taken: 0,
    }))
}

struct ProgramOutput {
    reader: OutputReader,
    watch: ProgramWatch,
    /// Number of bytes of the last step.
    taken: usize,
}

impl StreamSource for ProgramOutput {
    fn offset(&self) -> u64 {
        self.reader.from
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno> {
        self.watch.wakeup.clear();
        self.reader.delivered(std::mem::take(&mut self.taken));
        Ok(match self.reader.look(buffer) {
            Fetched::Bytes(count) => {
                self.taken = count;
                Step::Bytes(count)
            }
            Fetched::Nothing => Step::Nothing,
            Fetched::End => Step::Over,
        })
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.wakeup.as_fd())
    }
}
