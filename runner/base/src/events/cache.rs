//! Events about work of the cache that takes its time, whatever it is for.
//!
//! Input: files that are read, images that are made. Output: a [`CacheEvent`], whose `Display` is one line
//! for people. Not here: fixtures, which have events of their own.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::RoughSize;

/// Something that takes long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheEvent {
    /// A file or a folder is being read, for some seconds by now.
    Reading {
        /// The file or folder.
        path: PathBuf,
        /// Bytes that were read.
        done: u64,
        /// Bytes that there are, if that is known.
        of: Option<u64>,
    },
    /// A disk image is being made of a folder.
    MakingImage {
        /// The folder.
        path: PathBuf,
    },
}

impl fmt::Display for CacheEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheEvent::Reading { path, done, of } => {
                write!(f, "reading {} ({}", path.display(), RoughSize(*done))?;
                match of {
                    Some(of) => write!(f, " of {})", RoughSize(*of)),
                    None => f.write_str(" so far)"),
                }
            }
            CacheEvent::MakingImage { path } => write!(f, "making an image of {}", path.display()),
        }
    }
}
