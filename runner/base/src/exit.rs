//! The exit codes of `provium`, for every command.
//!
//! Input: how a command ended. Output: one of these numbers. Not here: the exit codes of programs that
//! `provium host` runs, which are passed on as they are.

/// Every test passed or was skipped; the command did what was asked.
pub const SUCCESS: u8 = 0;
/// A test failed or timed out, or a fixture could not be built.
pub const FAILED: u8 = 1;
/// The command could not be carried out: usage, configuration, a host that cannot run guests.
pub const HARNESS: u8 = 2;
/// SIGINT or SIGTERM ended it.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a program as this process's; a number that does not fit is a failure of the harness.
pub fn of_program(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(HARNESS)
}
