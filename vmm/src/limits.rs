//! How much of everything a machine can have, and the checks of it.
//!
//! Input: numbers from a configuration, a command line, a test or a snapshot. Output: the same, or a
//! [`LimitError`] in words. Not here: where things lie in guest memory and on the buses, which `layout` and
//! `slots` have, and sizes of single disks, which are `disk`'s.

use std::ops::RangeInclusive;

/// Least memory of a machine that boots a kernel, in bytes.
pub const MIN_MEMORY: u64 = 64 << 20;
/// Most memory of a machine, in bytes.
pub const MAX_MEMORY: u64 = 64 << 30;
/// Least memory of a machine that only ever runs a snapshot, such as a payload of a few instructions, in
/// bytes.
pub const MIN_SNAPSHOT_MEMORY: u64 = 2 << 20;
/// Memory is a multiple of this many bytes: a page.
pub const MEMORY_GRANULARITY: u64 = 4096;
/// Most vCPUs of a machine.
pub const MAX_CPUS: u8 = 32;
/// Disks that a machine can have.
pub const MAX_DISKS: u8 = 8;
/// Network interfaces that the slot table has room for; no machine has one yet.
pub const MAX_NICS: u8 = 8;

/// A number that is beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The number of vCPUs is out of range.
    #[error("{0} vCPUs: a machine has 1 to {MAX_CPUS}")]
    Cpus(u8),
    /// The memory, in bytes, is out of range or not in whole pages.
    #[error(
        "{0} bytes of memory: a machine has 64 MiB to 64 GiB, in whole pages of {MEMORY_GRANULARITY} bytes"
    )]
    Memory(u64),
    /// There are too many disks.
    #[error("{0} disks: a machine has {MAX_DISKS} at most")]
    Disks(usize),
}

/// Checks the memory, in bytes, of a machine that boots a kernel.
///
/// # Errors
/// [`LimitError::Memory`].
pub fn check_memory(bytes: u64) -> Result<(), LimitError> {
    check_memory_within(MIN_MEMORY..=MAX_MEMORY, bytes)
}

/// Checks the memory, in bytes, of a machine that is given its content by a snapshot.
///
/// # Errors
/// [`LimitError::Memory`].
pub fn check_snapshot_memory(bytes: u64) -> Result<(), LimitError> {
    check_memory_within(MIN_SNAPSHOT_MEMORY..=MAX_MEMORY, bytes)
}

fn check_memory_within(range: RangeInclusive<u64>, bytes: u64) -> Result<(), LimitError> {
    match range.contains(&bytes) && bytes.is_multiple_of(MEMORY_GRANULARITY) {
        true => Ok(()),
        false => Err(LimitError::Memory(bytes)),
    }
}

/// Checks a number of vCPUs.
///
/// # Errors
/// [`LimitError::Cpus`].
pub fn check_cpus(cpus: u8) -> Result<(), LimitError> {
    match cpus {
        1..=MAX_CPUS => Ok(()),
        _ => Err(LimitError::Cpus(cpus)),
    }
}

/// Checks a number of disks.
///
/// # Errors
/// [`LimitError::Disks`].
pub fn check_disks(disks: usize) -> Result<(), LimitError> {
    match disks <= usize::from(MAX_DISKS) {
        true => Ok(()),
        false => Err(LimitError::Disks(disks)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_named() {
        for cpus in [0, 33, 255] {
            let error = check_cpus(cpus).unwrap_err().to_string();
            assert_eq!(error, format!("{cpus} vCPUs: a machine has 1 to 32"));
        }
        for memory in [0, MIN_MEMORY - 4096, MAX_MEMORY + 4096, MIN_MEMORY + 1] {
            let error = check_memory(memory).unwrap_err().to_string();
            let expected = "a machine has 64 MiB to 64 GiB, in whole pages of 4096 bytes";
            assert_eq!(error, format!("{memory} bytes of memory: {expected}"));
        }
        for (cpus, memory) in [(1, MIN_MEMORY), (32, MAX_MEMORY), (3, MIN_MEMORY + 4096)] {
            check_cpus(cpus).unwrap();
            check_memory(memory).unwrap();
        }
        check_disks(8).unwrap();
        let error = check_disks(9).unwrap_err().to_string();
        assert_eq!(error, "9 disks: a machine has 8 at most");
    }

    #[test]
    fn a_snapshot_may_be_of_a_machine_too_small_for_a_kernel() {
        check_snapshot_memory(MIN_SNAPSHOT_MEMORY).unwrap();
        for memory in [
            MIN_SNAPSHOT_MEMORY - 4096,
            MIN_SNAPSHOT_MEMORY + 1,
            MAX_MEMORY + 4096,
        ] {
            assert_eq!(check_snapshot_memory(memory), Err(LimitError::Memory(memory)));
        }
    }
}
