//! A stream on its way to the host.
//!
//! Input: a [`StreamSource`] and the connection.
//! Output: the source's bytes as `Data`, then `End`.
//! Not here: buffering. The connection's own flow control is the only brake: a host that does not read stops
//! the reading here, and nothing is gathered in memory.

use std::fs::File;

use provium_protocol::{BODY, Frame, Response, write_data, write_frame};
use rustix::event::{PollFd, PollFlags, poll};

use super::source::{LOOK, Step, StreamSource};
use crate::connection::SessionError;
use crate::poll::{has_hung_up, timespec};

/// Most bytes taken from a source at once.
const READ: usize = 64 * 1024;

/// Sends what the source gives until it is over or the host hangs up.
pub(crate) fn run(mut connection: &File, source: &mut dyn StreamSource) -> Result<(), SessionError> {
    let mut buffer = vec![0; READ];
    loop {
        match source.next(&mut buffer) {
            Ok(Step::Bytes(count)) => {
                write_data(&mut connection, BODY, &buffer[..count])?;
                if has_hung_up(connection) {
                    return Ok(());
                }
            }
            Ok(Step::Nothing) => {
                if let Some(ended) = source.lost() {
                    let last = Frame::Reply(Ok(Response::ThreadEnded(ended)));
                    return Ok(write_frame(&mut connection, &last)?);
                }
                if wait(connection, source) {
                    return Ok(());
                }
            }
            // A source that cannot be read any more has ended, as far as a reader can tell.
            Ok(Step::Over) | Err(_) => {
                return Ok(write_frame(&mut connection, &Frame::End { channel: BODY })?);
            }
        }
    }
}

/// Waits until there may be more; whether the host has hung up.
fn wait(connection: &File, source: &dyn StreamSource) -> bool {
    let mut fds = vec![PollFd::new(connection, PollFlags::RDHUP)];
    if let Some(readable) = source.readable() {
        fds.push(PollFd::from_borrowed_fd(readable, PollFlags::IN));
    }
    // A failure is an interruption or a lack of memory; both pass.
    let _ = poll(&mut fds, Some(&timespec(LOOK)));
    !fds[0].revents().is_empty()
}
