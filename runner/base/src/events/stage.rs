//! What a file waits for between its own lines of Lua.
//!
//! Input: a call that takes time. Output: a [`Stage`], whose `Display` is what the call is about. Not here:
//! which test makes the call; the events of tests say so.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a file does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It runs: Lua, or calls of guests.
    Runs,
    /// It obtains a fixture, which may have to be built.
    Fixture {
        /// Name of the fixture.
        fixture: String,
    },
    /// It boots a VM.
    Boots {
        /// Name of the VM.
        vm: String,
    },
    /// It starts a VM from a snapshot.
    Resumes {
        /// Name of the VM.
        vm: String,
    },
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Runs => Ok(()),
            Stage::Fixture { fixture } => write!(f, "fixture `{fixture}`"),
            Stage::Boots { vm } | Stage::Resumes { vm } => write!(f, "VM `{vm}`"),
        }
    }
}
