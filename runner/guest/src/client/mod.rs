//! The host's side of a session with the agent: what can be asked of it, and a client that asks.
//!
//! ```text
//! op        one typed operation: request, data, decoder
//! session   the client: handshake, and one operation at a time
//! attach    a session that has become a program's standard streams
//! batch     many operations in one round trip
//! files     operations on files and folders
//! process   operations on programs
//! syscall   raw system calls
//! worker    another process or thread of the guest that answers as the agent does
//! kernel_log  the guest's kernel log
//! follow    a session that has become a stream of bytes
//! ```
//!
//! Input: a connection, then operations. Output: plain data, in types of the protocol where it has them; they
//! are re-exported here, so that nobody above has to know the protocol. Not here: machines.

pub(crate) mod attach;
pub(crate) mod batch;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod kernel_log;
pub(crate) mod op;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod syscall;
pub(crate) mod worker;
