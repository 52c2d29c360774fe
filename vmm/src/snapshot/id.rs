//! The name of a snapshot's content.
//!
//! Input: the host's random numbers. Output: a [`SnapshotId`]. Not here: names that people give snapshots.

use std::fmt;
use std::io;

/// Names a snapshot's content: 128 random bits, drawn anew at every save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SnapshotId(pub u64, pub u64);

impl SnapshotId {
    /// A new id.
    ///
    /// # Errors
    /// When the host has no random numbers.
    pub(crate) fn fresh() -> io::Result<Self> {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
        let (high, low) = (u128::from_le_bytes(bytes) >> 64, u128::from_le_bytes(bytes));
        Ok(Self(high as u64, low as u64))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}
