//! Process groups: whether anybody is left in one.
//!
//! Input: a group's number.
//! Output: whether a member runs.
//! Not here: signals; see `child`.

use crate::sys;

/// Whether a process group has a member that runs. One that has ended belongs to its group until its parent
/// has waited for it, which may be never; it takes a look at `/proc` to tell.
pub(super) fn has_running_member(group: i32) -> bool {
    if sys::kill(-group, 0).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    let stats = processes
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let mut groups = stats.filter_map(|stat| running_group(&stat)).peekable();
    // Without itself in it, it is no `/proc`.
    groups.peek().is_none() || groups.any(|of| of == group)
}

/// The process group in a line of `/proc/PID/stat`, if the process has not ended. Its name may be anything,
/// blanks and brackets included.
fn running_group(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(1)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_run_count() {
        assert_eq!(running_group("12 (a) b) S 1 77 12 0"), Some(77));
        assert_eq!(running_group("12 (x) Z 1 77 12 0"), None);
        assert_eq!(running_group("12 (x"), None);
    }

    #[test]
    fn a_has_running_member_while_a_member_does() {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").process_group(0).spawn().expect("a process");
        let group = child.id().cast_signed();
        assert!(has_running_member(group));
        child.kill().expect("killed");
        let start = std::time::Instant::now();
        while has_running_member(group) {
            assert!(
                start.elapsed().as_secs() < 60,
                "it hangs: the process has ended, though nobody has waited for it"
            );
        }
        assert!(sys::kill(-group, 0).is_ok(), "the group is still there");
        child.wait().expect("its status");
    }
}
