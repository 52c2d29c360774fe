//! Reading much of the host's disk: what ends it, and who hears of it.
//!
//! Input: the pieces that were read. Output: an error once the token is cancelled; an event after some
//! seconds, and again. Not here: the reading itself.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_base::cancel::Cancel;
use provium_base::events::{CacheEvent, Discard, Sink};

/// Time after which reading is said to go on, and then again.
const PATIENCE: Duration = Duration::from_secs(3);

/// What ends reading, and who hears of it.
#[derive(Clone)]
pub struct Reading {
    cancel: Arc<Cancel>,
    sink: Arc<dyn Sink>,
}

impl Reading {
    /// Reading that ends with `cancel`; `sink` hears of what takes long.
    pub fn new(cancel: &Arc<Cancel>, sink: &Arc<dyn Sink>) -> Reading {
        Reading {
            cancel: Arc::clone(cancel),
            sink: Arc::clone(sink),
        }
    }

    /// Reading that nothing ends and nobody hears of.
    pub fn undisturbed() -> Reading {
        Reading::new(&Cancel::new(), &(Arc::new(Discard) as Arc<dyn Sink>))
    }

    /// The token that ends it.
    pub(crate) fn cancel(&self) -> &Arc<Cancel> {
        &self.cancel
    }

    /// Tells of something.
    pub(crate) fn say(&self, event: CacheEvent) {
        self.sink.emit(event);
    }

    /// Begins to read `path`, which has `of` bytes if that is known.
    pub(crate) fn of<'a>(&'a self, path: &'a Path, of: Option<u64>) -> Progress<'a> {
        Progress {
            reading: self,
            path,
            of,
            done: 0,
            said: Instant::now(),
        }
    }
}

/// How far the reading of one file or folder is.
pub(crate) struct Progress<'a> {
    reading: &'a Reading,
    path: &'a Path,
    of: Option<u64>,
    done: u64,
    said: Instant,
}

impl Progress<'_> {
    /// Notes that `bytes` more were read.
    ///
    /// # Errors
    /// Once the token is cancelled, with its reason.
    pub(crate) fn add(&mut self, bytes: u64) -> io::Result<()> {
        self.done += bytes;
        if let Some(reason) = self.reading.cancel.is_cancelled() {
            return Err(io::Error::other(reason.to_string()));
        }
        if self.said.elapsed() >= PATIENCE {
            self.said = Instant::now();
            self.reading.say(CacheEvent::Reading {
                path: self.path.to_owned(),
                done: self.done,
                of: self.of,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use provium_base::cancel::CancelReason;

    use super::*;
    use crate::digest_cache::DigestCache;
    use crate::rootfs;

    #[test]
    fn a_cancelled_token_ends_the_reading_of_a_file_and_of_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("root")).expect("a folder");
        std::fs::write(at("root/file"), vec![7; 1 << 20]).expect("a file");
        let digests = DigestCache::open(at("digests.json"), at("staging"));
        let cancel = Cancel::new();
        let reading = Reading::new(&cancel, &(Arc::new(Discard) as Arc<dyn Sink>));
        assert!(digests.digest(&at("root/file"), &reading).is_ok());
        std::fs::write(at("root/file"), vec![8; 1 << 20]).expect("a file");
        cancel.cancel(CancelReason::Interrupted);
        for path in [at("root/file"), at("root")] {
            let error = digests.digest(&path, &reading).expect_err("cancelled");
            assert_eq!(error.to_string(), "interrupted");
        }
        let error = rootfs::image(&at("root"), &at("cache"), &digests, &reading).expect_err("cancelled");
        assert!(error.ends_with("root: interrupted"), "{error}");
    }
}
