//! The kernel's taint, opened ahead of time and looked at before each reply.
//!
//! Input: `/proc/sys/kernel/tainted`.
//! Output: news of it for the host, once each.
//! Not here: when; see `serve`.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use provium_protocol::Taint;
use rustix::fs::{CWD, Mode, OFlags};

use crate::fds;

/// Where the kernel says what has happened to it, as a decimal number.
const TAINTED: &str = "/proc/sys/kernel/tainted";
/// Room for 20 digits and the end of the line.
const LONGEST: usize = 24;

/// The taint that this process has told of, and the file that it is read from.
#[derive(Debug, Default)]
pub(crate) struct TaintWatch {
    file: OnceLock<File>,
    told: AtomicU64,
}

impl TaintWatch {
    /// A watch that begins with what is set already, of which others have told.
    pub(crate) fn from_now() -> TaintWatch {
        let watch = TaintWatch::default();
        watch.told.store(watch.read().unwrap_or(0), Ordering::Relaxed);
        watch
    }

    /// Opens the file while there is time; `None` as long as `/proc` is not there.
    pub(crate) fn prepare(&self) -> Option<&File> {
        if self.file.get().is_none() {
            let open = || rustix::fs::openat(CWD, TAINTED, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            // Another session may have been quicker.
            let _ = self.file.set(File::from(fds::own(open).ok()?));
        }
        self.file.get()
    }

    /// What has changed since this was asked last, by any session.
    pub(crate) fn news(&self) -> Option<Taint> {
        let now = self.read()?;
        let before = self.told.swap(now, Ordering::Relaxed);
        (before != now).then_some(Taint { before, now })
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; LONGEST];
        let length = rustix::io::pread(self.prepare()?, &mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim_end().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_is_told_once() {
        let watch = TaintWatch::default();
        let first = watch.news().map_or(0, |news| news.now);
        assert_eq!(watch.news(), None);
        assert_eq!(TaintWatch::from_now().news(), None);
        watch.told.store(first ^ 1, Ordering::Relaxed);
        let (before, now) = (first ^ 1, first);
        assert_eq!(watch.news(), Some(Taint { before, now }));
    }
}
