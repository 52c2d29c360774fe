//! What can be wrong with the configuration, in the words its author reads.

use std::io;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A mistake in the file.
    #[error("{file}:{line}: {message}")]
    Mistake {
        /// The file, as shown to the user.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn read(file: &Path, source: io::Error) -> Self {
        ConfigError::Read {
            file: file.to_owned(),
            source,
        }
    }

    pub(super) fn at(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        ConfigError::Mistake {
            file: file.to_owned(),
            line: line.unwrap_or(1),
            message: message.into(),
        }
    }
}
