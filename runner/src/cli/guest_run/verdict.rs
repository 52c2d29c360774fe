//! The exit code of `provium run`, and what is said on stderr beside it.
//!
//! Input: how the command ended, or the guest; what its kernel has reported. Output: an exit code; lines of
//! which the last says why it is not the command's own. Not here: finding any of it out.

use std::fmt::Write as _;
use std::time::Duration;

use provium_base::trace;
use provium_guest::{BootError, ExitStatus, FoundSplat, GuestError};
use provium_vmm::{EndReason, Splat, SplatKind};

use crate::config::{SplatPolicy, SplatRules};

/// The kernel panicked, or the machine died otherwise.
pub(super) const DIED: u8 = 120;
/// The kernel reported a fault of its own.
pub(super) const SPLAT: u8 = 121;
/// The guest hung: it did not come up, its kernel said so, or it did not answer when its time was over.
pub(super) const HUNG: u8 = 122;
/// `--timeout` passed while the guest was well.
pub(super) const TIMED_OUT: u8 = 124;
/// The guest could not be run.
pub(super) const NOT_RUN: u8 = 125;
/// The command cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;
/// Lines of a console that are shown of a guest that died.
const LINES: usize = 12;
/// How long the rest of a report may take.
const REST: Duration = Duration::from_millis(500);
/// Reports of something that does not go on.
const HANGS: [SplatKind; 5] = [
    SplatKind::RcuStall,
    SplatKind::SoftLockup,
    SplatKind::HardLockup,
    SplatKind::WorkqueueLockup,
    SplatKind::HungTask,
];

/// An exit code and what is said beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: u8,
    /// Lines without the last line break; empty where the code says it all.
    pub(super) said: String,
}

impl Verdict {
    /// A code alone.
    pub(super) fn code(code: u8) -> Verdict {
        Verdict {
            code,
            said: String::new(),
        }
    }

    /// A code and why.
    pub(super) fn why(code: u8, why: impl std::fmt::Display) -> Verdict {
        Verdict {
            code,
            said: format!("provium: {why}"),
        }
    }

    /// The same below a block of text.
    fn below(self, block: &str) -> Verdict {
        let block = block.trim_end();
        match block.is_empty() {
            true => self,
            false => Verdict {
                said: format!("{block}\n{}", self.said),
                ..self
            },
        }
    }
}

/// The command's own end.
pub(super) fn of_status(status: ExitStatus) -> Verdict {
    match status {
        ExitStatus::Exited(code) => Verdict::code(u8::try_from(code).unwrap_or(u8::MAX)),
        ExitStatus::Signalled(signal) => Verdict::code(of_signal(signal)),
        ExitStatus::TimedOut => Verdict::code(TIMED_OUT),
    }
}

/// 128 and a signal's number.
pub(super) fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}

/// A command that was not started.
pub(super) fn of_refusal(error: &GuestError) -> Verdict {
    let code = match error.errno() {
        Some(libc::ENOENT | libc::ENOTDIR) => NOT_FOUND,
        Some(_) => NOT_EXECUTABLE,
        None => NOT_RUN,
    };
    Verdict::why(code, error)
}

/// A guest that did not come up; `shown` says that its console was shown.
pub(super) fn of_boot(error: &BootError, shown: bool) -> Verdict {
    let code = match error {
        BootError::Ended { .. } => DIED,
        BootError::TimedOut { .. } => HUNG,
        BootError::Machine(_)
        | BootError::Listen(_)
        | BootError::Unfit { .. }
        | BootError::Agent { .. }
        | BootError::Cancelled { .. } => NOT_RUN,
    };
    let text = error.to_string();
    let console = text.split_once('\n').map_or("", |(_, console)| console);
    Verdict::why(code, error.headline()).below(if shown { "" } else { console })
}

/// A machine that ended under the command; `console` is what it has printed, unless that was shown.
pub(super) fn of_end(reason: &EndReason, console: Option<&str>) -> Verdict {
    let code = match reason {
        // As the command wanted it.
        EndReason::PowerOff | EndReason::Reboot => return Verdict::code(0),
        EndReason::Panic(_) | EndReason::TripleFault(_) => DIED,
        EndReason::InternalError(_)
        | EndReason::Killed
        | EndReason::MemoryLost(_)
        | EndReason::Monitor(_) => NOT_RUN,
    };
    let lines: Vec<&str> = console
        .map(|text| trace::readable(text).collect())
        .unwrap_or_default();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    Verdict::why(code, reason).below(&last.join("\n"))
}

/// A kernel's report of a fault of its own.
pub(super) struct Report {
    kind: SplatKind,
    head: String,
    text: String,
}

impl Report {
    /// What the console shows, whole.
    pub(super) fn shown(splat: &Splat) -> Report {
        splat.settle(REST);
        Report {
            kind: splat.kind,
            head: splat.head.clone(),
            text: splat.text(),
        }
    }

    /// What the kernel's log has and the console has not.
    pub(super) fn found(found: FoundSplat) -> Report {
        Report {
            kind: found.kind,
            head: found.head,
            text: found.text,
        }
    }
}

/// What reports make of a command's end; `shown` says that the console was shown.
pub(super) fn with_reports(own: Verdict, reports: Vec<Report>, rules: &SplatRules, shown: bool) -> Verdict {
    let counts = |report: &Report| {
        let text = format!("{}\n{}", report.head, report.text);
        !rules.ignored.iter().any(|part| text.contains(part.as_str()))
    };
    let reports: Vec<Report> = reports.into_iter().filter(counts).collect();
    let Some(first) = reports.first().filter(|_| rules.policy != SplatPolicy::Ignore) else {
        return own;
    };
    let mut said = own.said;
    for report in reports.iter().filter(|_| !shown) {
        let _ = writeln!(
            said,
            "{}",
            trace::readable(&report.text).collect::<Vec<_>>().join("\n")
        );
    }
    let _ = write!(said, "provium: the guest's kernel reported: {}", first.head);
    Verdict {
        code: match rules.policy {
            SplatPolicy::Fail if HANGS.contains(&first.kind) => HUNG,
            SplatPolicy::Fail => SPLAT,
            SplatPolicy::Warn | SplatPolicy::Ignore => own.code,
        },
        said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: SplatKind, head: &str) -> Report {
        Report {
            kind,
            head: head.to_owned(),
            text: format!("[    1.0] {head}\n[    1.0] RAX: 0000000000000000\n[    1.0] ? guess\n"),
        }
    }

    fn rules(policy: SplatPolicy, ignored: &[&str]) -> SplatRules {
        SplatRules {
            policy,
            ignored: ignored.iter().map(|&part| part.to_owned()).collect(),
        }
    }

    #[test]
    fn a_command_s_end_is_the_exit_code() {
        for (status, code) in [
            (ExitStatus::Exited(0), 0),
            (ExitStatus::Exited(255), 255),
            (ExitStatus::Signalled(15), 143),
        ] {
            assert_eq!(of_status(status), Verdict::code(code));
        }
    }

    #[test]
    fn a_guest_s_own_end_is_told_from_its_death() {
        assert_eq!(of_end(&EndReason::PowerOff, Some("lines")), Verdict::code(0));
        let died = of_end(
            &EndReason::Panic("sysrq".into()),
            Some("[    1.0] one\n[    1.0] two\n"),
        );
        assert_eq!(died.code, DIED);
        assert_eq!(
            died.said,
            "[    1.0] one\n[    1.0] two\nprovium: the guest's kernel panicked: sysrq"
        );
    }

    #[test]
    fn a_report_counts_as_the_project_says() {
        let bug = || {
            vec![
                report(SplatKind::Oops, "BUG: bad thing"),
                report(SplatKind::Warning, "WARNING: w"),
            ]
        };
        let failed = with_reports(Verdict::code(0), bug(), &rules(SplatPolicy::Fail, &[]), false);
        assert_eq!(failed.code, SPLAT);
        assert!(
            failed
                .said
                .starts_with("[    1.0] BUG: bad thing\n[    1.0] WARNING: w\n")
        );
        assert!(
            failed
                .said
                .ends_with("\nprovium: the guest's kernel reported: BUG: bad thing")
        );
        let shown = with_reports(Verdict::code(3), bug(), &rules(SplatPolicy::Warn, &[]), true);
        assert_eq!(
            shown,
            Verdict::why(3, "the guest's kernel reported: BUG: bad thing")
        );
        for rules in [
            rules(SplatPolicy::Ignore, &[]),
            rules(SplatPolicy::Fail, &["bad thing", "WARNING: w"]),
        ] {
            assert_eq!(
                with_reports(Verdict::code(3), bug(), &rules, false),
                Verdict::code(3)
            );
        }
        let hang = vec![report(SplatKind::SoftLockup, "watchdog: BUG: soft lockup")];
        assert_eq!(
            with_reports(Verdict::code(0), hang, &rules(SplatPolicy::Fail, &[]), false).code,
            HUNG
        );
    }
}
