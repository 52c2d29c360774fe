//! Memory and processors of the host, as files share them.
//!
//! Input: bytes and numbers of virtual processors. Output: an [`Amount`]. Not here: who has how much.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::DisplaySize;

/// An amount of memory and processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
}

impl Amount {
    /// The memory alone, in words.
    pub fn shown_memory(&self) -> String {
        // To the mebibyte, where there is one: the host's memory is an odd number.
        let memory = match self.memory >> 20 {
            0 => self.memory,
            mib => mib << 20,
        };
        format!("{} of memory", DisplaySize(memory))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} CPUs", self.shown_memory(), self.cpus)
    }
}
