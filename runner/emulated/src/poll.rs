//! Waiting for file descriptors.
//!
//! Input: descriptors, each with a token and what it is watched for. Output: the tokens of those that are
//! ready. Not here: what is done with them.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits, at most for `timeout`, until descriptors are ready; gives none when a signal came first.
///
/// # Errors
/// Those of poll.
pub(crate) fn ready<T: Copy>(
    watched: &[(T, BorrowedFd<'_>, PollFlags)],
    timeout: Duration,
) -> io::Result<Vec<T>> {
    let mut fds: Vec<_> = watched
        .iter()
        .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
        .collect();
    let timeout = Timespec::try_from(timeout).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    match poll(&mut fds, Some(&timeout)) {
        Err(Errno::INTR) => return Ok(Vec::new()),
        result => result?,
    };
    let ready = fds.iter().zip(watched).filter(|(fd, _)| !fd.revents().is_empty());
    Ok(ready.map(|(_, (token, ..))| *token).collect())
}
