//! What every floor of the runner stands on.
//!
//! Input and output: plain values. Not here: guests, Lua, configuration and anything else that would tie the crates
//! above to each other.

pub mod cancel;
pub mod initramfs;
pub mod nearest;
pub mod units;
pub mod walk;
