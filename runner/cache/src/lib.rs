//! The fixture cache: what a fixture's build left, kept until one of its inputs is another.
//!
//! Enters: a fixture's source and a way to build it. Leaves: an [`Entry`], a folder with what the build wrote,
//! sound and in use. It knows files, keys and locks. Absent on purpose: Lua, KVM and the meaning of a snapshot; who
//! calls [`Store::obtain`] brings the build and the check of large files.
//!
//! ```text
//! source        which file a name means
//! input, world  what a fixture is made from, what that is now, and the key that follows
//! manifest      what the last build took in, so that the key is known before a build
//! obtain        a look, a wait, a second look, a build
//! install       a folder becomes an entry in one step
//! stamp, entry  whether an entry is still what was installed, and its use
//! holder, lock  one builder at a time; who it is
//! tidy, status  room; what there is and why
//! ```

mod digest;
mod digest_cache;
mod entry;
mod error;
mod event;
mod file_id;
mod holder;
mod input;
mod install;
mod lock;
mod manifest;
mod obtain;
pub mod rootfs;
mod sealed;
mod source;
mod staging;
mod stamp;
mod status;
mod store;
mod tidy;
mod world;

pub use digest::Digest;
pub use digest_cache::DigestCache;
pub use entry::Entry;
pub use error::{FixtureError, ObtainError};
pub use event::Event;
pub use holder::{Chain, Holder};
pub use input::{ENTRY_FORMAT, Input, InputLog, Key};
pub use obtain::{Building, Request};
pub use source::{FixtureSource, SUFFIX, Sources};
pub use status::{Change, Cleaned, Other, State, Status, Why};
pub use store::Store;
pub use world::{Machine, ProfileInputs, ProjectFiles, ProjectWorld, World};

/// Says what is wrong with the large files in an entry's folder, if anything; it must read them to know.
pub type Verify<'a> = &'a dyn Fn(&std::path::Path) -> Result<(), String>;

#[cfg(test)]
mod tests;
