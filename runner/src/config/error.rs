//! What can be wrong with the configuration, in the words its author reads.
//!
//! Input: mistakes and their places. Output: [`ConfigError`]. Not here: finding them.

use std::io;
use std::path::{Path, PathBuf};

use provium_base::cause::Cause;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {why}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A flag asks for what the file does not have.
    #[error("{flag}: {message}")]
    Flag {
        /// The flag, or the variable that stands for it.
        flag: &'static str,
        /// What is wrong and what to do.
        message: String,
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
        let dangling = source.kind() == io::ErrorKind::NotFound && file.is_symlink();
        ConfigError::Read {
            file: file.to_owned(),
            why: match dangling {
                true => "it is a link to what does not exist".to_owned(),
                false => Cause(&source).to_string(),
            },
        }
    }

    pub(super) fn not_a_file(file: &Path, folder: bool) -> Self {
        let what = if folder { "a folder" } else { "not a regular file" };
        ConfigError::Read {
            file: file.to_owned(),
            why: format!("it is {what}"),
        }
    }

    pub(super) fn flag(flag: &'static str, message: impl Into<String>) -> Self {
        ConfigError::Flag {
            flag,
            message: message.into(),
        }
    }

    /// A mistake in the file of that name, at a line.
    pub(crate) fn at(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        ConfigError::Mistake {
            file: file.to_owned(),
            line: line.unwrap_or(1),
            message: message.into(),
        }
    }
}
