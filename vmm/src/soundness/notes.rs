//! What a probe has seen of a host's KVM.
//!
//! Input: the probe's vCPU. Output: plain data for the judgement. Not here: opinions.

use std::time::Duration;

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Notes {
    /// Names of the capabilities that are missing.
    pub(super) lacks: Vec<&'static str>,
    /// Time that KVM_CREATE_VM took.
    pub(super) create_vm: Duration,
    /// Best rate of the loop in ring 0, in millions of instructions a second.
    pub(super) ring0_mips: Option<f64>,
    /// The same in ring 3.
    pub(super) ring3_mips: Option<f64>,
    /// The way through the rings.
    pub(super) rings: Trace,
    /// Name of each instruction that was tried, and how it went.
    pub(super) instructions: Vec<(&'static str, Trace)>,
}

/// What the guest did from one entry point on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trace {
    /// What the guest said: step, value, and the privilege level KVM reports at that moment.
    pub(super) said: Vec<(u16, u32, u8)>,
    /// Why the guest did not go on.
    pub(super) end: StopCause,
}

/// Why a guest did not go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum StopCause {
    /// It said the last thing it has to say.
    #[default]
    Done,
    /// It halted early.
    Halted,
    /// KVM gave up; the text names the exit.
    Exit(String),
    /// It was out of time.
    Stopped,
}
