//! Events about VMs and claims of test files, and about what files found before the run has.
//!
//! Input: facts from the files of a run. Output: plain data. Not here: what a VM may take, which the pool
//! decides.

use serde::{Deserialize, Serialize};

use super::Amount;

/// A file of a run, before the first of them begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    /// The file as reports name it.
    pub path: String,
    /// Names of fixtures that are written out in it.
    pub fixtures: Vec<String>,
    /// What it claims, if that is written out in it.
    pub claim: Option<Amount>,
}

/// A VM of a file began or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmEvent {
    /// The file.
    pub path: String,
    /// The VM.
    pub vm: String,
    /// What became of it.
    pub what: VmChange,
}

/// What became of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmChange {
    /// It runs.
    Began {
        /// Its profile.
        profile: String,
        /// Bytes of memory.
        memory: u64,
        /// Its vsock context id.
        cid: u32,
        /// How it came to run.
        how: VmStart,
    },
    /// It runs no more.
    Ended {
        /// Why, if nobody had asked it to.
        died: Option<String>,
    },
}

/// How a VM came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmStart {
    /// Its kernel booted.
    Boot,
    /// A snapshot was mapped into a machine that had run nothing.
    Resume,
    /// It was put back to a snapshot in place.
    Reset,
}

/// A file's claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimEvent {
    /// The file has it.
    Acquired {
        /// The file.
        path: String,
        /// How much.
        amount: Amount,
    },
    /// The file has given it back.
    Released {
        /// The file.
        path: String,
        /// How much.
        amount: Amount,
    },
}
