//! The fixture cache: keeps what a fixture's build wrote until one of the build's inputs changes.
//!
//! Input: a fixture's source and a function that builds it. Output: an [`Entry`], a folder with what the
//! build wrote, verified and protected from eviction. The cache knows files, keys and locks. Not here: Lua,
//! KVM and the meaning of a snapshot; the caller of [`Store::obtain`] brings the build and the check of large
//! files.
//!
//! ```text
//! source                   which file a fixture's name means
//! input, input_log, world  what a fixture is made from, the digests of that now, and the key that follows
//! manifest, current        what the last build used, so that the key is known before a build
//! request, obtain          look up, wait for another builder, look up again, build
//! install                  turns a folder into an entry in one step
//! stamp, entry             whether an entry's files are the installed ones; an entry in use
//! holder, builder_lock     one builder at a time, and who it is
//! store, listing           the cache's folder and the entries in it
//! tidy, evict, rootfs      the size limit: entries and disk images, the least recently used go first
//! reading                  what ends the reading of large files, and who hears of it
//! status                   what is cached, and why something is not
//! ```

mod builder_lock;
mod current;
mod digest;
mod digest_cache;
mod disk;
mod entry;
mod error;
mod evict;
mod file_id;
mod holder;
mod input;
mod input_log;
mod install;
mod listing;
mod lock;
mod manifest;
mod obtain;
mod reading;
mod request;
pub mod rootfs;
mod sealed;
mod source;
mod staging;
mod stamp;
mod status;
mod store;
mod tidy;
mod world;

pub use builder_lock::Chain;
pub use digest::Digest;
pub use digest_cache::DigestCache;
pub use entry::Entry;
pub use error::{FixtureError, ObtainError};
pub use input::{ENTRY_FORMAT, Input, Key};
pub use input_log::InputLog;
pub use reading::Reading;
pub use request::{Building, Request};
pub use source::{FixtureSource, SUFFIX, Sources};
pub use staging::Stage;
pub use stamp::Verify;
pub use status::{CacheState, Change, Cleaned, Other, Status, Why};
pub use store::Store;
pub use world::{HostIdentity, ProfileInputs, ProjectFiles, ProjectWorld, World};

#[cfg(test)]
mod tests;
