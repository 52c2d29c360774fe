//! What is to be done first in a guest that comes out of a snapshot.
//!
//! Enters: fresh entropy, the time. Leaves: a kernel whose random numbers are its own and whose wall clock is right.
//! Absent on purpose: the monotonic clock, which goes on where it was.

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

use provium_protocol::{OpError, Response, Resumed};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_settime};

use super::failed;
use crate::{fds, sys};

const RANDOM: &str = "/dev/urandom";

/// The way to the kernel's random number generator.
#[derive(Debug, Default)]
pub(crate) struct Random(OnceLock<Option<File>>);

impl Random {
    /// Opens it while there is time. In a guest that comes out of a snapshot every page of kernel code that is run for
    /// the first time costs a page fault, and opening a file takes many.
    pub(crate) fn prepare(&self) -> Option<&File> {
        let open = || rustix::fs::openat(CWD, RANDOM, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        self.0
            .get_or_init(|| fds::own(open).ok().map(File::from))
            .as_ref()
    }
}

pub(super) fn resumed(random: &Random, resumed: &Resumed) -> Result<Response, OpError> {
    if let Some(entropy) = &resumed.entropy {
        let reseed = |mut random: &File| {
            random.write_all(entropy)?;
            Ok(sys::reseed_random(random)?)
        };
        let done = random
            .prepare()
            .map_or(Err(std::io::ErrorKind::NotFound.into()), reseed);
        done.map_err(|error: std::io::Error| {
            let errno = error
                .raw_os_error()
                .map_or(Errno::NOENT, Errno::from_raw_os_error);
            failed(format_args!("reseed the random numbers through {RANDOM}"), errno)
        })?;
    }
    if let Some(now) = resumed.wall_clock_ns {
        let time = Timespec {
            tv_sec: (now / 1_000_000_000).cast_signed(),
            tv_nsec: (now % 1_000_000_000).cast_signed(),
        };
        clock_settime(ClockId::Realtime, time).map_err(|errno| failed("set the wall clock", errno))?;
    }
    Ok(Response::Done)
}
