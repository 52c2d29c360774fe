//! The space that guests' writes take on the host, of all disks of a process together.
//!
//! Input: a limit in bytes. Output: an error where a write would go beyond it; the guest's request fails
//! then, as it does where the host's own disk is full. Not here: the files.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// What may be taken, and what is.
#[derive(Debug)]
pub(super) struct Ledger {
    most: AtomicU64,
    taken: AtomicU64,
}

/// That of the process; without a limit until somebody sets one.
static ALL: Ledger = Ledger::new(u64::MAX);

/// Limits the bytes that overlays and undo logs of all disks take together. Undo logs hold what a power cut
/// would bring back. What is taken already stays.
pub fn limit_overlays(most: u64) {
    ALL.most.store(most, Ordering::Relaxed);
}

/// Bytes that are taken until they are given back, or this is dropped.
#[derive(Debug)]
pub(super) struct Space {
    ledger: &'static Ledger,
    bytes: u64,
}

impl Ledger {
    const fn new(most: u64) -> Ledger {
        Ledger {
            most: AtomicU64::new(most),
            taken: AtomicU64::new(0),
        }
    }
}

impl Default for Space {
    fn default() -> Space {
        Space::of(&ALL)
    }
}

impl Space {
    pub(super) fn of(ledger: &'static Ledger) -> Space {
        Space { ledger, bytes: 0 }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] beyond the limit; nothing is taken then.
    pub(super) fn take(&mut self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let most = self.ledger.most.load(Ordering::Relaxed);
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= most);
        let taken = &self.ledger.taken;
        let taken = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|taken| {
            let why = format!(
                "what guests have written takes {} MiB, and may take {} MiB (`disk_max` in provium.toml)",
                taken >> 20,
                most >> 20
            );
            io::Error::new(io::ErrorKind::StorageFull, why)
        })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives bytes back that were taken.
    pub(super) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.ledger.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_disks_share_one_limit_and_give_back_what_they_took() {
        static TEN: Ledger = Ledger::new(10 << 20);
        let (mut one, mut other) = (Space::of(&TEN), Space::of(&TEN));
        one.take(6 << 20).unwrap();
        other.take(4 << 20).unwrap();
        let error = one.take(1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            error.to_string(),
            "what guests have written takes 10 MiB, and may take 10 MiB (`disk_max` in provium.toml)"
        );
        other.give_back(1);
        one.take(1).unwrap();
        drop(one);
        other.take(6 << 20).unwrap();
        assert!(other.take(u64::MAX).is_err());
    }
}
