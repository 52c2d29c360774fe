//! Looking at descriptors without waiting, and limits of a wait in the form the kernel takes.
//!
//! Input: descriptors, events, durations.
//! Output: whether something has happened.
//! Not here: loops; who waits for several things knows what each of them means.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

/// A duration as the kernel takes it.
pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Events of a descriptor that are there now, errors and hang-up among them; none when the kernel cannot say.
pub(crate) fn events_now(fd: impl AsFd, wanted: PollFlags) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), wanted)];
    match poll(&mut fds, Some(&timespec(Duration::ZERO))) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}

/// Whether the other side of a connection has hung up, or will send nothing more.
pub(crate) fn has_hung_up(connection: impl AsFd) -> bool {
    !events_now(connection, PollFlags::RDHUP).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn events_are_those_of_this_moment() {
        let (one, other) = UnixStream::pair().expect("a socket pair");
        assert_eq!(events_now(&one, PollFlags::IN), PollFlags::empty());
        rustix::io::write(&other, b"x").expect("written");
        assert_eq!(events_now(&one, PollFlags::IN), PollFlags::IN);
        assert!(!has_hung_up(&one));
        drop(other);
        assert!(has_hung_up(&one));
    }
}
