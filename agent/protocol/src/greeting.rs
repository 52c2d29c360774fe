//! The greeting: who speaks first, on which port, and in which version.
//!
//! Input: the numbers and texts of both sides.
//! Output: the three messages that begin a session.
//! Not here: what is said once both have agreed ([`crate::Request`]).

use serde::{Deserialize, Serialize};

/// Version of everything in this crate; both sides must agree exactly. Any change of a message's encoding
/// raises it and adds a line to `FINGERPRINTS`. [`Hello`], [`Welcome`], [`Refused`] and the frame header
/// never change: they are what two versions need to tell each other that they differ.
pub const VERSION: u32 = 7;
/// `(version, hash)`: the hash of one encoded example of every message of that version. A test fails when the
/// messages change and the version does not; see `tests/fingerprint.rs`.
#[doc(hidden)]
pub const FINGERPRINTS: &[(u32, u64)] = &[
    (1, 0x4655_9804_6718_47c4),
    (2, 0x726b_294d_3685_d446),
    (3, 0x8813_380c_3af5_982f),
    (4, 0xa8d6_d9b9_f8dd_d1ec),
    (5, 0x6dbc_2180_9417_49d0),
    (6, 0xbfa8_22ae_4f8a_bb7b),
    (7, 0xceb3_f2f5_afd5_1b9d),
];
/// The host's vsock port on which the agent announces itself after boot.
pub const HOST_PORT: u32 = 5252;
/// The guest's vsock port on which the agent accepts further sessions from the host.
pub const AGENT_PORT: u32 = 5252;
/// What an agent says on the console, behind its name, when it will never reach the host: nobody in the guest
/// loads what is missing.
pub const NO_WAY: &str = "there is no way to the host: ";
/// First field of every [`Hello`], by which a stranger on the port is told apart from an old agent.
pub const MAGIC: &str = "provium-agent";

/// Agent → host, the first message of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`MAGIC`].
    pub magic: String,
    /// The agent's [`VERSION`].
    pub version: u32,
    /// The agent's package version, for the message of a refusal.
    pub build: String,
    /// Process id in which the session's requests run.
    pub pid: u32,
}

/// Host → agent: the session may go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The host's [`VERSION`].
    pub version: u32,
}

/// Host → agent: the session is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// One sentence for the agent's log on the guest's console.
    pub reason: String,
}
