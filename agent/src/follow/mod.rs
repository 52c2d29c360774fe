//! Connections that have become streams: what grows in the guest, pushed to the host as it grows.
//!
//! ```text
//! file ──► growing ─► watch     a file by its path; through truncation, renaming and replacement
//! fd ───┴► channel              a descriptor; a pipe, socket, terminal or device is a channel
//! output                        what a program writes
//! all ─► source ─► send         what a stream can be made of, and its way to the host
//! ```
//!
//! Input: a path, a descriptor or a program, and the connection.
//! Output: its bytes as `Data`, each once and in order, then `End` where there can be no more.
//! Not here: looking for text in what comes; the host does that.

mod channel;
pub(crate) mod fd;
pub(crate) mod file;
mod growing;
pub(crate) mod output;
pub(crate) mod send;
pub(crate) mod source;
mod watch;
