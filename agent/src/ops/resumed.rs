//! What is to be done first in a guest that comes out of a snapshot.
//!
//! Enters: fresh entropy, the time. Leaves: a kernel whose random numbers are its own and whose wall clock is right.
//! Absent on purpose: the monotonic clock, which goes on where it was.

use std::fs::File;
use std::io::Write;

use provium_protocol::{OpError, Response, Resumed};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_settime};

use super::failed;
use crate::sys;

const RANDOM: &str = "/dev/urandom";

pub(super) fn resumed(resumed: &Resumed) -> Result<Response, OpError> {
    if let Some(entropy) = &resumed.entropy {
        let done = File::options().write(true).open(RANDOM).and_then(|mut random| {
            random.write_all(entropy)?;
            Ok(sys::reseed_random(&random)?)
        });
        done.map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
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
