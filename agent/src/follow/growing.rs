//! A regular file that grows, through truncation, renaming and replacement.
//!
//! When another file takes its name, the old one is read to its end once the new one has content: a writer
//! that has moved on writes no more to the old one. A second longer late writes to it are still delivered. A
//! truncated file is read from its beginning.
//!
//! Input: an open file, where to begin, and perhaps the path at which others may come to be.
//! Output: every byte that is written to it and not truncated before it was read.
//! Not here: an end; a log may go on at any time.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_protocol::EndedThread;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::source::{Step, StreamSource};
use super::watch::{Followed, Watch};
use crate::sys::errno_of;
use crate::threads::ThreadWatch;

/// How long a file that has lost its name is looked at for late writes.
const LATE: Duration = Duration::from_secs(1);

/// A file and how far it was read.
#[derive(Debug)]
struct Place {
    of: Arc<Followed>,
    position: u64,
    truncations: u64,
}

impl Place {
    fn new(of: Arc<Followed>, position: u64) -> Place {
        let truncations = of.look().1;
        Place {
            of,
            position,
            truncations,
        }
    }

    /// Reads on: number of bytes, 0 at the present end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let (_, truncations) = self.of.look();
        if truncations != self.truncations {
            (self.truncations, self.position) = (truncations, 0);
        }
        let count = self.of.file.read_at(buffer, self.position);
        let count = count.map_err(|error| errno_of(&error))?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A regular file that grows.
#[derive(Debug)]
pub(super) struct Growing {
    offset: u64,
    now: Place,
    /// Files that have lost the name, each with the time until which it is looked at.
    late: Vec<(Place, Instant)>,
    watch: Watch,
}

impl Growing {
    /// Follows a file from the offset that `start` returns for its size; with a path, also files that come to
    /// be there.
    pub(super) fn new(
        file: std::fs::File,
        path: Option<&Path>,
        start: impl FnOnce(u64) -> u64,
        threads: &Arc<ThreadWatch>,
    ) -> Result<Growing, Errno> {
        let of = Arc::new(Followed::new(file)?);
        let watch = Watch::start(&of, path, threads)?;
        let offset = start(of.look().0);
        Ok(Growing {
            offset,
            now: Place::new(of, offset),
            late: Vec::new(),
            watch,
        })
    }
}

impl StreamSource for Growing {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno> {
        self.watch.clear();
        let now = Instant::now();
        self.late.retain(|(_, until)| now < *until);
        for (place, _) in &mut self.late {
            if let count @ 1.. = place.read(buffer)? {
                return Ok(Step::Bytes(count));
            }
        }
        loop {
            // Asked before the reading: what was written before the next file had content is read first.
            let moves_on = self.watch.has_next();
            match self.now.read(buffer)? {
                0 if moves_on => {}
                0 => return Ok(Step::Nothing),
                count => return Ok(Step::Bytes(count)),
            }
            let Some(next) = self.watch.take_next() else {
                return Ok(Step::Nothing);
            };
            let old = std::mem::replace(&mut self.now, Place::new(next, 0));
            self.late.push((old, Instant::now() + LATE));
        }
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.readable())
    }

    fn lost(&self) -> Option<EndedThread> {
        self.watch.lost()
    }
}
