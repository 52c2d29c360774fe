//! What a probe has seen of a host's KVM.

use std::time::Duration;

/// What was seen; input of the judgement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Notes {
    /// Capabilities that are missing.
    pub(super) lacks: Vec<&'static str>,
    /// KVM_CREATE_VM.
    pub(super) create_vm: Duration,
    /// Best rate of the loop in ring 0 and ring 3, in millions of instructions a second.
    pub(super) ring0_mips: Option<f64>,
    pub(super) ring3_mips: Option<f64>,
    /// The way through the rings.
    pub(super) rings: Trace,
    /// Each instruction tried, and how it went.
    pub(super) instructions: Vec<(&'static str, Trace)>,
}

/// What one entry did.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trace {
    /// What the guest said: step, value, and the privilege level KVM reports at that moment.
    pub(super) said: Vec<(u16, u32, u8)>,
    /// Why it did not go on.
    pub(super) end: End,
}

/// Why a guest did not go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum End {
    /// It said the last thing it has to say.
    #[default]
    Done,
    /// It halted early.
    Halted,
    /// KVM gave up; the exit's name.
    Exit(String),
    /// It was out of time.
    Stopped,
}
