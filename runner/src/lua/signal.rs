//! Signals by number, in words.
//!
//! Enters: a number of x86-64 Linux. Leaves: its name. Absent on purpose: sending any.

/// Names of the signals from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `SIGTERM` for 15; `signal 40` for what has no name.
pub(crate) fn name(number: i32) -> String {
    let known = usize::try_from(number)
        .ok()
        .and_then(|number| NAMES.get(number.checked_sub(1)?));
    known.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn numbers_have_names() {
        for (number, expected) in [
            (1, "SIGHUP"),
            (9, "SIGKILL"),
            (15, "SIGTERM"),
            (17, "SIGCHLD"),
            (28, "SIGWINCH"),
            (31, "SIGSYS"),
        ] {
            assert_eq!(name(number), expected);
        }
        assert_eq!(name(34), "signal 34");
        assert_eq!(name(0), "signal 0");
        assert_eq!(name(-1), "signal -1");
    }
}
