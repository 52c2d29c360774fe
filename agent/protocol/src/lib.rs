//! What the host and the guest agent say to each other.
//!
//! A session is one vsock connection. The agent opens it with [`Hello`]; the host answers [`Welcome`] or
//! [`Refused`]. From then on the host sends one [`Request`] at a time and reads until its [`Reply`]. A
//! request whose [`Request::has_body`] is true is followed by its body: `Data` frames on channel [`BODY`]
//! closed by `End`. A reply may be preceded by `Data` frames on the channel that the request documents; they
//! need no `End`, the reply closes them. A [`Taint`] comes right before the first reply since it has changed.
//!
//! Two requests change what the connection is for. After [`Request::Follow`] and its reply the agent sends
//! `Data` on [`BODY`] until there can be no more, then `End`; the host sends nothing but its hang-up. After
//! [`Request::Park`] the connection is silent until a worker that [`Request::SpawnWorker`] makes answers on
//! it, without another hello.
//!
//! Handles are the agent process's own numbers, valid on all its sessions. What a session started or opened
//! ends with it.
//!
//! The kernel may end the one thread that serves a session, by an oops perhaps. [`Response::ThreadEnded`] is
//! the last that comes on its connection then, whatever was due. A session that is not a worker's and that
//! was the host's first, or has taken over from it, is kept for [`Request::TakeOver`] on another.
//!
//! ```text
//! greeting   ports, version, the first three messages        frame     bytes on the wire
//! request    the list of all requests                        limits, bounded   sizes; lists
//! response   the list of all responses, and the error        listing   entries of a folder
//! program, file, syscall, follow, resumed, ended, taint      what requests and responses are made of
//! ```
//!
//! Input: bytes of a connection, from either side.
//! Output: [`Frame`]s and the typed messages in them.
//! Not here: sockets, threads and policy; both ends bring their own `Read + Write`.

mod bounded;
mod ended;
mod file;
mod follow;
mod frame;
mod greeting;
mod limits;
mod listing;
mod program;
mod request;
mod response;
mod resumed;
mod syscall;
mod taint;

pub use ended::{EndedThread, ThreadEnd};
pub use file::{DirEntry, EntryType, OpenFile, Stat, Whence};
pub use follow::{Follow, FollowStart};
pub use frame::{BODY, Frame, FrameError, STDERR, STDOUT, read_frame, write_data, write_frame};
pub use greeting::{AGENT_PORT, FINGERPRINTS, HOST_PORT, Hello, MAGIC, NO_WAY, Refused, VERSION, Welcome};
pub use limits::{DATA_CHUNK, MAX_FRAME, MAX_LISTING};
pub use listing::{decode_listing, encode_listing};
pub use program::{Attach, Exec, ExitStatus, Exited, Joined, Process, Terminal, TerminalSize, WaitProcess};
pub use request::Request;
pub use response::{OpError, Reply, Response};
pub use resumed::Resumed;
pub use syscall::{Nested, Syscall};
pub use taint::Taint;
