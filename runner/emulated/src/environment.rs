//! How a command learns that it runs in an emulated host.
//!
//! Input: this process's environment, the kernel's command line. Output: the names of variables, and whether
//! this process is inside. Not here: setting them (`plan`, `qemu`).

use std::env;
use std::fs;

/// Set to `1` for commands in the emulated host.
pub const INSIDE: &str = "PROVIUM_EMULATED_HOST";
/// Number of the start that a command in the emulated host belongs to: `1`, and more after the emulated host
/// froze.
pub const ATTEMPT: &str = "PROVIUM_HOST_ATTEMPT";

/// Option of the emulated host's kernel with the path of `provium`, two hexadecimal digits a byte.
pub(crate) const EXE: &str = "provium.exe=";

/// Whether this process runs in an emulated host: the variable may have come from elsewhere, the kernel's
/// command line cannot.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some_and(|value| value == "1")
        && fs::read_to_string("/proc/cmdline").is_ok_and(|line| is_of_emulated_host(&line))
}

/// Whether a kernel with this command line is an emulated host's.
fn is_of_emulated_host(line: &str) -> bool {
    line.split_whitespace().any(|word| word.starts_with(EXE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_emulated_hosts_kernel_is_taken_for_one() {
        assert!(is_of_emulated_host(
            "console=ttyS0 tsc_early_khz=1 provium.exe=2f70\n"
        ));
        assert!(!is_of_emulated_host(
            "root=/dev/sda1 quiet PROVIUM_EMULATED_HOST=1"
        ));
    }
}
