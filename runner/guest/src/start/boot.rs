//! From a machine's configuration to a guest whose agent has answered, or the reason why not.
//!
//! Input: a [`MachineConfig`], the time it may take and a [`Cancel`]. Output: a [`Guest`], or a [`BootError`]
//! that tells apart a machine that cannot be made, a guest that ended, one that hangs and one whose agent is
//! of another version, each with the last console lines. Not here: profiles and options; whoever calls has
//! resolved them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_base::cancel::{Cancel, CancelGuard, CancelReason};
use provium_base::trace;
use provium_base::units::{DisplayLimit, LONGEST};
use provium_protocol::{HOST_PORT, NO_WAY};
use provium_vmm::{EndReason, Machine, MachineConfig, MachineError, VcpuPlace, VsockStream};

use crate::client::session::GuestClient;
use crate::error::{GuestError, beginning};
use crate::start::kernel_check::KernelCheck;

/// Time for which the vCPUs of a guest that hangs are looked for, before it is ended.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// How long the agent is waited for before it is looked whether it can come at all, which may mean that the
/// kernel is unpacked: longer than boots take that go well, in an emulated host too. Then how often.
const LOOK_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long after a broken connection the machine's own reason is waited for.
const END_GRACE: Duration = Duration::from_secs(2);

/// A machine whose agent has answered.
#[derive(Debug)]
pub struct Guest {
    /// The machine, shared with whatever may have to kill it from another thread.
    pub machine: Arc<Machine>,
    /// The session the agent opened when it was ready.
    pub client: GuestClient,
}

/// Why a boot did not end with an agent's answer.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The machine could not be made or started.
    #[error("{0}")]
    Machine(#[from] MachineError),
    /// The port for the agent could not be opened.
    #[error("cannot listen for the agent: {0}")]
    Listen(#[source] std::io::Error),
    /// The guest ended first.
    #[error(
        "the guest ended before its agent answered: {}{reason}{}{}",
        said(.console, "", "; then "), lacks(.kernel), console_block(.console)
    )]
    Ended {
        /// How it ended.
        reason: EndReason,
        /// What its kernel lacks, if anything.
        kernel: Option<String>,
        /// All that its console has printed.
        console: String,
    },
    /// The time is over and the guest still runs.
    #[error(
        "the guest's agent did not answer within {} (boot_timeout); the guest still ran{}{}{}",
        DisplayLimit(*limit), said(.console, "; the console says: ", ""), lacks(.kernel), console_block(.console)
    )]
    TimedOut {
        /// The time it had.
        limit: Duration,
        /// What its kernel lacks, if anything.
        kernel: Option<String>,
        /// All that its console has printed.
        console: String,
        /// Where its vCPUs stood.
        places: Vec<VcpuPlace>,
    },
    /// The kernel cannot be a guest's: its agent or its configuration says so.
    #[error("the guest's agent cannot reach the host: {why}{}", console_block(.console))]
    Unfit {
        /// What is missing.
        why: String,
        /// All that its console has printed.
        console: String,
    },
    /// What answered cannot be worked with.
    #[error("{error}{}", console_block(.console))]
    Agent {
        /// Why.
        error: GuestError,
        /// All that the console has printed.
        console: String,
    },
    /// The run was ended from outside.
    #[error("the boot was given up: {reason}")]
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// Where the guest's vCPUs stood, if it was a limit of time.
        places: Vec<VcpuPlace>,
    },
}

impl BootError {
    /// The message without the console.
    pub fn headline(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }

    /// All that the console has printed, where there was a console.
    pub fn console(&self) -> &str {
        match self {
            BootError::Ended { console, .. }
            | BootError::TimedOut { console, .. }
            | BootError::Unfit { console, .. }
            | BootError::Agent { console, .. } => console,
            BootError::Machine(_) | BootError::Listen(_) | BootError::Cancelled { .. } => "",
        }
    }

    /// Where the vCPUs of a guest stood that hung.
    pub fn places(&self) -> &[VcpuPlace] {
        match self {
            BootError::TimedOut { places, .. } | BootError::Cancelled { places, .. } => places,
            _ => &[],
        }
    }
}

/// Why the guest did not come up, as its agent or its kernel said on the console, between these words.
fn said(console: &str, before: &str, behind: &str) -> String {
    match trace::boot_failure(console) {
        Some(why) => format!("{before}{}{behind}", beginning(why, 200)),
        None => String::new(),
    }
}

/// What the kernel lacks, behind another reason.
fn lacks(kernel: &Option<String>) -> String {
    kernel
        .as_ref()
        .map(|lacks| format!("; {lacks}"))
        .unwrap_or_default()
}

/// The console's last lines as they stand under a message, without what only a debugger reads; the whole
/// text is in [`BootError::console`].
fn console_block(console: &str) -> String {
    const LINES: usize = 12;
    if console.trim().is_empty() {
        return "\nthe console is empty (`quiet` hides most of it, and without `console=ttyS0` all is elsewhere)"
            .to_owned();
    }
    let lines: Vec<&str> = trace::readable(console.trim_end()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    format!("\nlast console lines:\n{}", last.join("\n"))
}

/// Creates and starts the machine and waits until its agent has answered.
///
/// On an error the machine is gone when this returns.
pub fn boot(config: MachineConfig, limit: Duration, cancel: &Arc<Cancel>) -> Result<Guest, BootError> {
    boot_watched(config, limit, cancel, None, |_| ())
}

/// The same; `made` gets the machine before its kernel's first line, to listen to it. With `check`, a boot
/// that takes long is given up where it cannot succeed, and one that fails is explained by what its kernel
/// lacks.
///
/// # Errors
/// Those of [`boot`].
pub fn boot_watched(
    config: MachineConfig,
    limit: Duration,
    cancel: &Arc<Cancel>,
    check: Option<&KernelCheck>,
    made: impl FnOnce(&Arc<Machine>),
) -> Result<Guest, BootError> {
    let machine = Arc::new(Machine::create(config)?);
    made(&machine);
    let result = first_session(&machine, limit, cancel, check);
    if result.is_err() {
        machine.kill();
    }
    result.map(|client| Guest { machine, client })
}

fn first_session(
    machine: &Arc<Machine>,
    limit: Duration,
    cancel: &Arc<Cancel>,
    check: Option<&KernelCheck>,
) -> Result<GuestClient, BootError> {
    let deadline = Instant::now() + limit.min(LONGEST);
    let _end_on_cancel = kill_on_cancel(machine, cancel);
    let listener = machine.listen(HOST_PORT).map_err(BootError::Listen)?;
    machine.start()?;
    let mut look = Look::new(machine, check);
    let accepted: Result<VsockStream, GuestError> = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match listener.accept(Some(left.min(look.pause()))) {
            Ok(stream) => break Ok(stream),
            Err(error) if error.kind() != ErrorKind::TimedOut => break Err(GuestError::Lost(error)),
            Err(_) if left.is_zero() => break Err(GuestError::Silent(limit)),
            Err(_) => {
                if let Some(why) = look.hopeless() {
                    let console = console_of(machine);
                    return Err(BootError::Unfit { why, console });
                }
            }
        }
    };
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_secs(1));
    accepted
        .and_then(|stream| GuestClient::handshake(Box::new(stream), left))
        // The hello comes as early as can be. The first answer comes when the guest is set up.
        .and_then(|mut client| client.ping_within(left).map(|()| client))
        .map_err(|error| {
            if let Some(reason) = cancel.is_cancelled() {
                let places = machine.last_places();
                return BootError::Cancelled { reason, places };
            }
            // A guest that ends takes its connections with it; its reason may be a moment behind them.
            let grace = if matches!(error, GuestError::Silent(_)) {
                Duration::ZERO
            } else {
                END_GRACE
            };
            let ended = machine.wait_end(Some(grace));
            let console = console_of(machine);
            let kernel = check.and_then(KernelCheck::explains);
            match (ended, error) {
                (Some(reason), _) => BootError::Ended {
                    reason,
                    kernel,
                    console,
                },
                (None, GuestError::Silent(_)) => BootError::TimedOut {
                    limit,
                    kernel,
                    console,
                    places: machine.vcpu_places(LOOK_LIMIT),
                },
                (None, error) => BootError::Agent { error, console },
            }
        })
}

/// All that the console has printed.
fn console_of(machine: &Machine) -> String {
    String::from_utf8_lossy(&machine.console_log()).replace('\r', "")
}

/// Looks now and then whether an agent can come at all.
struct Look<'a> {
    machine: &'a Machine,
    check: Option<&'a KernelCheck>,
    begun: bool,
}

impl<'a> Look<'a> {
    fn new(machine: &'a Machine, check: Option<&'a KernelCheck>) -> Look<'a> {
        Look {
            machine,
            check,
            begun: false,
        }
    }

    /// The time until the next look.
    fn pause(&self) -> Duration {
        if self.begun { LOOK_EVERY } else { LOOK_AFTER }
    }

    /// Why none will come.
    fn hopeless(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(why) = self.check.and_then(KernelCheck::refuses)
        {
            return Some(why);
        }
        let console = console_of(self.machine);
        let said = trace::boot_failure(&console)?.split_once(NO_WAY)?.1;
        let known = lacks(&self.check.and_then(KernelCheck::explains));
        Some(format!("{}{known}", beginning(said, 200)))
    }
}

/// Kills the machine when `cancel` fires, for as long as the guard lives. Where a limit of time is the
/// reason, it is first looked where the vCPUs of the guest stand that did not answer.
pub(crate) fn kill_on_cancel(machine: &Arc<Machine>, cancel: &Arc<Cancel>) -> CancelGuard {
    let (machine, token) = (Arc::clone(machine), Arc::downgrade(cancel));
    cancel.on_cancel(Box::new(move || {
        kill_for(&machine, token.upgrade().and_then(|token| token.is_cancelled()));
    }))
}

/// Kills the machine for this reason, as [`kill_on_cancel`] does.
pub(crate) fn kill_for(machine: &Machine, reason: Option<CancelReason>) {
    match reason.is_some_and(CancelReason::is_limit) {
        true => machine.kill_with_look(LOOK_LIMIT),
        false => machine.kill(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_boot_says_what_the_console_knows_of_it() {
        let said = |console: &str| {
            let reason = EndReason::Panic("Attempted to kill init!".into());
            let (console, kernel) = (console.to_owned(), None);
            BootError::Ended {
                reason,
                kernel,
                console,
            }
            .headline()
        };
        assert_eq!(
            said("[    0.3] Initramfs unpacking failed: invalid magic\n[    0.5] Kernel panic\n"),
            "the guest ended before its agent answered: Initramfs unpacking failed: invalid magic; then the \
             guest's kernel panicked: Attempted to kill init!"
        );
        assert_eq!(
            said("[    0.5] Kernel panic\n"),
            "the guest ended before its agent answered: the guest's kernel panicked: Attempted to kill init!"
        );
        let silent = BootError::TimedOut {
            limit: Duration::from_millis(50),
            kernel: Some("the kernel x lacks channel: CONFIG_NET".to_owned()),
            console: "provium-agent: there is no vsock\n".into(),
            places: Vec::new(),
        };
        assert_eq!(
            silent.headline(),
            "the guest's agent did not answer within 50 ms (boot_timeout); the guest still ran; the console \
             says: provium-agent: there is no vsock; the kernel x lacks channel: CONFIG_NET"
        );
    }
}
