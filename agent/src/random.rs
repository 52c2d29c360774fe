//! The kernel's random number generator, opened ahead of time.
//!
//! Input: random bytes of the host.
//! Output: a generator that starts anew from them.
//! Not here: when; see `ops::resumed`.

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::errno_of;
use crate::{fds, sys};

/// Path of the generator's device.
pub(crate) const DEVICE: &str = "/dev/urandom";

/// The generator's device, opened once; `None` inside where that failed.
#[derive(Debug, Default)]
pub(crate) struct RandomDevice(OnceLock<Option<File>>);

impl RandomDevice {
    /// Opens it while there is time. In a guest that was restored from a snapshot every page of kernel code
    /// that runs for the first time costs a page fault, and opening a file takes many.
    pub(crate) fn prepare(&self) -> Option<&File> {
        let open = || rustix::fs::openat(CWD, DEVICE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        self.0
            .get_or_init(|| fds::own(open).ok().map(File::from))
            .as_ref()
    }

    /// Adds the bytes to the kernel's pool and makes the generator start anew from it. `ENOENT` where there
    /// is no device.
    pub(crate) fn reseed(&self, entropy: &[u8]) -> Result<(), Errno> {
        let mut device = self.prepare().ok_or(Errno::NOENT)?;
        device.write_all(entropy).map_err(|error| errno_of(&error))?;
        sys::reseed_random(device)
    }
}
