//! What can go wrong with the cache, in words for whoever ran the command.
//!
//! Absent on purpose: a damaged entry. That is no error: it is evicted, named and built again.

use std::io;
use std::path::{Path, PathBuf};

use provium_base::cancel::CancelReason;

/// A fixture that cannot be had, or a cache that cannot be used. What the system said is in the message, so it is no
/// `source`, which would be printed a second time.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// The system refused something in the cache's folder or with an input.
    #[error("{what} {}: {because}{}", path.display(), hint(because))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        because: io::Error,
    },
    /// The folder holds something else.
    #[error(
        "{} is no fixture cache: it has a folder `entries` but no CACHEDIR.TAG; let `cache_dir` name another folder",
        .0.display()
    )]
    NotACache(PathBuf),
    /// The fixture's own source is not there or cannot be read.
    #[error("fixture `{name}`: cannot read {}: {because}", path.display())]
    Source {
        /// The fixture.
        name: String,
        /// Its source.
        path: PathBuf,
        /// Why not.
        because: io::Error,
    },
    /// A fixture starts from itself.
    #[error("fixture cycle: {0}")]
    Cycle(String),
    /// No fixture of that name, or more than one.
    #[error("{0}")]
    Name(String),
    /// The run was told to stop.
    #[error("fixture `{name}`: {reason}")]
    Cancelled {
        /// The fixture that was wanted.
        name: String,
        /// Why.
        reason: CancelReason,
    },
    /// Something changed whenever the fixture was built.
    #[error("fixture `{name}`: {input} changed while the fixture was built, {times} times in a row")]
    Changing {
        /// The fixture.
        name: String,
        /// What changed.
        input: String,
        /// Builds that were thrown away.
        times: u32,
    },
    /// The build left something that the cache does not keep.
    #[error("fixture `{name}`: {what}")]
    Builder {
        /// The fixture.
        name: String,
        /// What it left.
        what: String,
    },
}

impl FixtureError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FixtureError + 'a {
        move |because| FixtureError::Io {
            what,
            path: path.to_owned(),
            because,
        }
    }
}

/// What to do where the system's own words do not say it.
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

/// Why [`Store::obtain`](super::Store::obtain) did not give an entry.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError<E> {
    /// The caller's own build failed.
    #[error("{0}")]
    Build(E),
    /// Everything else.
    #[error(transparent)]
    Store(#[from] FixtureError),
}
