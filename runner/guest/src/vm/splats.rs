//! What a VM's kernel reports about faults of its own: by its console, and by `/proc/sys/kernel/tainted`
//! where the console is quiet.
//!
//! Input: a listener; a question whether there is news. Output: splats. Not here: what they mean for a test.
//!
//! A console that hides `KERN_WARNING`, as `quiet` makes it, does not show `WARN()`, but the kernel notes it
//! in its taint, and its log has the text. The agent looks at the taint before each answer and says what is
//! new. What is new right after a snapshot may be older than the VM that goes on from it: then the time of
//! each report in the log decides.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_base::cancel::Cancel;
use provium_vmm::cmdline::CommandLine;
use provium_vmm::{Splat, SplatKind, SplatListener, splats_in};

use super::error::{VmError, VmState};
use super::life::Vm;
use crate::client::session::GuestClient;

/// Bits of the taint that stand for a fault of the kernel's own or of the machine, and their words.
const FAULTS: [(u32, &str); 5] = [
    (4, "M (machine check)"),
    (5, "B (bad page)"),
    (7, "D (oops or BUG)"),
    (9, "W (warning)"),
    (14, "L (soft lockup)"),
];
/// The first level of messages that a console does not show where nothing else is said (`KERN_DEBUG`).
const LOGLEVEL: u32 = 7;
/// The level of the messages that `WARN()` prints.
const KERN_WARNING: u32 = 4;
/// Most reports whose texts are kept.
const MOST_FOUND: usize = 20;
/// How old the agent's last answer may be for what it said of the taint to hold.
const FRESH: Duration = Duration::from_millis(5);
/// How far a log's times and the guest's clock may be apart.
const CLOCKS: Duration = Duration::from_millis(300);

/// A report of a kernel's, found in its log or told by its taint alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSplat {
    /// Sort of fault.
    pub kind: SplatKind,
    /// The line that says what happened, without its stamp.
    pub head: String,
    /// All of it, as the log has it; empty where the log has nothing.
    pub text: String,
}

/// Who hears of a VM's splats, and what is known of its taint.
#[derive(Default)]
pub(super) struct SplatWatch {
    listener: Option<SplatListener>,
    /// Whether the agent has answered anything, or the guest has booted, since the taint was looked at.
    asked: bool,
    /// When the agent has answered last.
    answered: Option<Instant>,
    /// Bits of the taint that are new since then.
    taint: u64,
    /// When the guest went on from a snapshot, unless the taint was new since.
    since: Option<Instant>,
    /// Texts of reports that were found before; a guest out of a snapshot has them in its log again.
    found: Vec<String>,
}

impl fmt::Debug for SplatWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplatWatch")
            .field("listener", &self.listener.is_some())
            .field("taint", &self.taint)
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// Calls `listener` with each splat on the consoles of its machines, from a boot's first line on.
    pub fn on_splat(&mut self, listener: SplatListener) {
        if let Some(machine) = self.running_machine() {
            machine.on_splat(Some(Arc::clone(&listener)));
        }
        self.splats.listener = Some(listener);
    }

    /// Who listens.
    pub(super) fn splat_listener(&self) -> Option<SplatListener> {
        self.splats.listener.clone()
    }

    /// Notes that the agent has answered, on whichever session, and which bits of the taint it said are new.
    pub fn note_answer(&mut self, taint: u64) {
        self.splats.asked = true;
        self.splats.answered = Some(Instant::now());
        self.splats.taint |= taint & faults();
    }

    /// Notes a boot, whose own splats nobody has been told of.
    pub(super) fn note_boot(&mut self) {
        self.splats.asked = true;
        self.splats.answered = None;
        self.splats.taint = 0;
        self.splats.since = None;
    }

    /// Notes that it goes on from a snapshot.
    pub(super) fn note_resume(&mut self) {
        self.splats.asked = false;
        self.splats.taint = 0;
        self.splats.since = Some(Instant::now());
    }

    /// Whether its console does not show what `WARN()` prints.
    pub fn console_is_quiet(&self) -> bool {
        hides_warnings(&self.config.cmdline)
    }

    /// What its kernel has reported and its console has not shown since this was asked last. Only if its
    /// console is quiet, it runs, and the agent has answered anything since. Answers say whether the taint is
    /// new; where the last is old, the guest is asked again, by one round trip.
    ///
    /// # Errors
    /// Those of [`call`](Self::call); a guest that does not say is none.
    pub fn unseen_splats(&mut self, cancel: &Arc<Cancel>) -> Result<Vec<FoundSplat>, VmError> {
        if !self.splats.asked || self.state() != VmState::Booted || !self.console_is_quiet() {
            return Ok(Vec::new());
        }
        let is_fresh = |answered: Instant| answered.elapsed() < FRESH;
        if !self.splats.answered.is_some_and(is_fresh) {
            self.call(cancel, GuestClient::ping)?;
        }
        self.splats.asked = false;
        let new = std::mem::take(&mut self.splats.taint);
        if new == 0 {
            return Ok(Vec::new());
        }
        let resumed = self.splats.since.take();
        let from = match resumed {
            None => 0.0,
            Some(moment) => {
                let up = self.uptime(cancel)?;
                up - (moment.elapsed() + CLOCKS).as_secs_f64()
            }
        };
        let log = self.call(cancel, |client| client.kernel_log());
        self.splats.asked = false;
        let log = match log {
            Ok(log) => log.unwrap_or_default(),
            Err(VmError::Guest(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let shown: Vec<Arc<Splat>> = self
            .running_machine()
            .map(|machine| machine.splats(0).0)
            .unwrap_or_default();
        let all = splats_in(&log).into_iter();
        let tainting: Vec<_> = all.filter(|splat| taints(splat.kind)).collect();
        let is_new = |splat: &&Arc<Splat>| splat.time.is_none_or(|time| time >= from);
        let unseen = tainting.iter().filter(is_new);
        let unseen = unseen.filter(|splat| !shown.iter().any(|other| other.head == splat.head));
        let unseen = unseen.filter(|splat| !self.splats.found.contains(&splat.text()));
        let found: Vec<FoundSplat> = unseen
            .map(|splat| FoundSplat {
                kind: splat.kind,
                head: splat.head.clone(),
                text: splat.text(),
            })
            .collect();
        let room = MOST_FOUND.saturating_sub(self.splats.found.len());
        let texts = found.iter().take(room).map(|splat| splat.text.clone());
        self.splats.found.extend(texts);
        // Where the log explains the taint, by what the console has shown or by what is older, that is all.
        if !found.is_empty() || !tainting.is_empty() || (resumed.is_some() && !log.is_empty()) {
            return Ok(found);
        }
        Ok(vec![by_taint(new)])
    }
}

/// What can be said of new bits that the log does not explain.
fn by_taint(new: u64) -> FoundSplat {
    let words = FAULTS.iter().filter(|(bit, _)| new & (1 << bit) != 0);
    let words: Vec<&str> = words.map(|(_, words)| *words).collect();
    FoundSplat {
        kind: match new & (1 << 7) {
            0 => SplatKind::Warning,
            _ => SplatKind::Oops,
        },
        head: format!("the kernel's taint has become {}", words.join(", ")),
        text: String::new(),
    }
}

/// The bits of a taint that stand for faults.
fn faults() -> u64 {
    FAULTS.iter().fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// Whether a kernel notes a report of this kind in its taint.
fn taints(kind: SplatKind) -> bool {
    matches!(
        kind,
        SplatKind::Oops
            | SplatKind::Bug
            | SplatKind::Warning
            | SplatKind::Refcount
            | SplatKind::BadPage
            | SplatKind::Slab
            | SplatKind::Kasan
            | SplatKind::Kfence
            | SplatKind::SoftLockup
            | SplatKind::HardLockup
            | SplatKind::SchedulingWhileAtomic
    )
}

/// Whether a kernel with this command line shows no message of `KERN_WARNING` on its serial console.
fn hides_warnings(cmdline: &str) -> bool {
    let line = CommandLine::parse(cmdline);
    let (mut level, mut shown) = (LOGLEVEL, false);
    for word in &line.kernel {
        match word.name_and_value() {
            ("quiet", None) => level = 4,
            ("debug", None) => level = 10,
            ("loglevel", Some(value)) => level = value.parse().unwrap_or(level),
            ("console", Some(value)) => shown |= value.starts_with("ttyS0") || value.starts_with("uart"),
            _ => {}
        }
    }
    let all = line
        .kernel
        .iter()
        .any(|word| word.name_and_value().0 == "ignore_loglevel");
    !shown || (level <= KERN_WARNING && !all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_tells_whether_warnings_are_shown() {
        for (cmdline, hides) in [
            ("console=ttyS0", false),
            ("console=ttyS0,115200 ro", false),
            ("console=ttyS0 quiet", true),
            ("console=ttyS0 quiet loglevel=5", false),
            ("console=ttyS0 loglevel=7 quiet", true),
            ("console=ttyS0 loglevel=3", true),
            ("console=ttyS0 loglevel=4", true),
            ("console=ttyS0 quiet debug", false),
            ("console=ttyS0 quiet ignore_loglevel", false),
            ("console=ttyS0 -- quiet", false),
            ("", true),
            ("console=hvc0", true),
        ] {
            assert_eq!(hides_warnings(cmdline), hides, "{cmdline}");
        }
    }

    #[test]
    fn of_a_taint_only_faults_count() {
        // P, O and E: modules; W; D; L.
        assert_eq!(12289 & faults(), 0);
        assert_eq!(512 & faults(), 1 << 9);
        assert_eq!(4224 & faults(), 1 << 7);
        let said = by_taint(1 << 9 | 1 << 14);
        assert_eq!(said.kind, SplatKind::Warning);
        assert_eq!(
            said.head,
            "the kernel's taint has become W (warning), L (soft lockup)"
        );
    }
}
