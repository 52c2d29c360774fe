//! The environment variables by which a command learns that it runs in an emulated host.
//!
//! Input: this process's environment. Output: their names, and whether this process is inside. Not here:
//! setting them (`plan`).

use std::env;

/// Set to `1` for commands in the emulated host.
pub const INSIDE: &str = "PROVIUM_EMULATED_HOST";
/// Number of the start that a command in the emulated host belongs to: `1`, and more after the emulated host
/// froze.
pub const ATTEMPT: &str = "PROVIUM_HOST_ATTEMPT";

/// Whether this process runs in an emulated host.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some_and(|value| value == "1")
}
