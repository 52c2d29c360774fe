//! Resumed: what is to be done first in a guest that was restored from a snapshot.
//!
//! Input: fresh entropy, the time.
//! Output: a kernel whose random numbers are its own and whose wall clock is right.
//! Not here: the monotonic clock, which goes on where it was.

use provium_protocol::{OpError, Response, Resumed};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::failure::failed;
use crate::random::{self, RandomDevice};

pub(crate) fn resumed(random: &RandomDevice, resumed: &Resumed) -> Result<Response, OpError> {
    if let Some(entropy) = &resumed.entropy {
        let what = format_args!("reseed the random numbers through {}", random::DEVICE);
        random.reseed(entropy).map_err(|errno| failed(what, errno))?;
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
