//! Errors of the cache, in words for the user of the command.
//!
//! Input: what was tried, and what the system said. Output: [`FixtureError`]. Not here: a damaged entry,
//! which is no error; it is evicted, reported and built again.

use std::io;
use std::path::{Path, PathBuf};

use provium_base::cancel::CancelReason;

/// Why a fixture cannot be obtained, or the cache cannot be used. The system's error is in the message and
/// not a `source`, which would be printed a second time.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// The system refused an operation in the cache's folder or on an input.
    #[error("{what} {}: {because}{}", path.display(), hint(because))]
    Io {
        /// What was tried, such as `writing`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        because: io::Error,
    },
    /// The folder holds something other than a cache.
    #[error(
        "{} is no fixture cache: it has a folder `entries` but no CACHEDIR.TAG; let `cache_dir` name another folder",
        .0.display()
    )]
    NotACache(PathBuf),
    /// The folder is somebody else's, who could put anything into it.
    #[error(
        "the fixture cache {} belongs to user {owner}, and this is user {user}: let `cache_dir` name another folder, \
         or give this one to user {user}",
        path.display()
    )]
    Foreign {
        /// The cache's folder.
        path: PathBuf,
        /// Number of the user it belongs to.
        owner: u32,
        /// Number of the user who runs this.
        user: u32,
    },
    /// The fixture's own source is not there or cannot be read.
    #[error("fixture `{name}`: cannot read {}: {because}", path.display())]
    Source {
        /// The fixture.
        name: String,
        /// Its source.
        path: PathBuf,
        /// What the system said.
        because: io::Error,
    },
    /// A fixture starts from itself, directly or not; the names on the way.
    #[error("fixture cycle: {0}")]
    Cycle(String),
    /// There is no fixture of that name, or more than one; the whole message.
    #[error("{0}")]
    Name(String),
    /// The run was cancelled while it waited for the fixture or built it.
    #[error("fixture `{name}`: {reason}")]
    Cancelled {
        /// The fixture that was wanted.
        name: String,
        /// Why the run was cancelled.
        reason: CancelReason,
    },
    /// An input changed during each of several builds.
    #[error("fixture `{name}`: {input} changed while the fixture was built, {times} times in a row")]
    Changing {
        /// The fixture.
        name: String,
        /// The input that changed last, in words.
        input: String,
        /// Number of builds that were discarded.
        times: u32,
    },
    /// The build wrote or recorded something that the cache does not accept.
    #[error("fixture `{name}`: {what}")]
    Builder {
        /// The fixture.
        name: String,
        /// What that is, in words.
        what: String,
    },
}

impl FixtureError {
    /// Function for `map_err`: adds what was tried on which path.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FixtureError + 'a {
        move |because| FixtureError::Io {
            what,
            path: path.to_owned(),
            because,
        }
    }
}

/// What to do about a system error, where its own words do not say it; empty for all others.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, run `provium fixture clean` or lower `cache_max_size`"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; `cache_dir` in provium.toml names the cache's folder"
        }
        _ => "",
    }
}

/// Why [`Store::obtain`](crate::Store::obtain) did not give an entry.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError<E> {
    /// The caller's own build failed.
    #[error("{0}")]
    Build(E),
    /// The cache could not give or keep the entry.
    #[error(transparent)]
    Store(#[from] FixtureError),
}
