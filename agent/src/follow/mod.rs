//! Connections that have become streams: what grows in the guest, pushed to the host as it grows.
//!
//! Enters: a [`Source`] and the connection. Leaves: its bytes as `Data`, each once and in order, then `End` where there
//! can be no more. The connection's own flow control is the only brake: a host that does not read stops the reading here,
//! and nothing is gathered in memory. Absent on purpose: looking for text in what comes; the host does that.

mod fd;
mod file;
mod output;
mod watch;

use std::fs::File;
use std::time::Duration;

use provium_protocol::{BODY, Frame, write_data, write_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

pub(crate) use fd::fd;
pub(crate) use file::file;
pub(crate) use output::output;

use crate::session::SessionError;

/// Most bytes taken from a source at once.
const READ: usize = 64 * 1024;
/// How often a source is looked at without having rung.
const LOOK: Duration = Duration::from_millis(250);

/// What a connection can be a stream of.
pub(crate) trait Source {
    /// Where its first byte lies in the file or output; 0 where there is no such thing.
    fn offset(&self) -> u64;

    /// Takes what there is, as much as fits; does not wait.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno>;

    /// What becomes readable when there may be more.
    fn bell(&self) -> Option<BorrowedFd<'_>>;
}

/// What taking from a source came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now; more may come.
    Nothing,
    /// Nothing, and nothing more can come.
    Over,
}

/// Sends what the source gives until it is over or the host hangs up.
pub(crate) fn run(connection: &mut File, source: &mut dyn Source) -> Result<(), SessionError> {
    let mut buffer = vec![0; READ];
    loop {
        match source.next(&mut buffer) {
            Ok(Step::Bytes(count)) => {
                write_data(connection, BODY, &buffer[..count])?;
                if has_hung_up(&*connection) {
                    return Ok(());
                }
            }
            Ok(Step::Nothing) => {
                if wait(connection, source) {
                    return Ok(());
                }
            }
            // A source that cannot be read any more has ended, as far as a reader can tell.
            Ok(Step::Over) | Err(_) => return Ok(write_frame(connection, &Frame::End { channel: BODY })?),
        }
    }
}

/// Waits until there may be more; whether the host has hung up.
fn wait(connection: &File, source: &dyn Source) -> bool {
    let mut fds = vec![PollFd::new(connection, PollFlags::RDHUP)];
    if let Some(bell) = source.bell() {
        fds.push(PollFd::from_borrowed_fd(bell, PollFlags::IN));
    }
    let look = Timespec {
        tv_sec: 0,
        tv_nsec: LOOK.subsec_nanos().into(),
    };
    // A failure is an interruption or a lack of memory; both pass.
    let _ = poll(&mut fds, Some(&look));
    !fds[0].revents().is_empty()
}

/// Whether the host wants no more.
fn has_hung_up(connection: impl AsFd) -> bool {
    ready(connection, PollFlags::RDHUP)
}

/// Whether a descriptor has something to read, or its end.
fn has_something(fd: impl AsFd) -> bool {
    ready(fd, PollFlags::IN)
}

fn ready(fd: impl AsFd, what: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), what)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
