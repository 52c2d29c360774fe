//! Events about profiles' `build` commands.
//!
//! Input: a command that starts or has ended well. Output: a [`ProfileEvent`], whose `Display` is one line
//! for people. Not here: a build that fails, which ends the run with an error.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::DisplayDuration;

/// Something that happened to a profile's build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileEvent {
    /// The command starts.
    BuildStarted {
        /// The profile.
        profile: String,
        /// The command, for `/bin/sh`.
        command: String,
    },
    /// The command has succeeded.
    Built {
        /// The profile.
        profile: String,
        /// How long it took.
        took: Duration,
    },
}

impl fmt::Display for ProfileEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProfileEvent::BuildStarted { profile, command } => {
                write!(f, "building profile {profile}: {command}")
            }
            ProfileEvent::Built { profile, took } => {
                write!(f, "built profile {profile} in {}", DisplayDuration(*took))
            }
        }
    }
}
