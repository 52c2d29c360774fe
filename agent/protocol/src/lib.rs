//! The words the host and the guest agent speak.
//!
//! Enters: bytes of a vsock connection, from either side. Leaves: [`Frame`]s and the typed messages in
//! them ([`Hello`], [`Request`], [`Reply`]). Absent on purpose: sockets, threads and any policy — both
//! ends bring their own `Read + Write`.

mod bounded;
mod frame;
mod message;

pub use frame::{FrameError, MAX_FRAME, read_frame, write_data, write_frame};
pub use message::*;
