//! What a session with the agent runs over: any duplex byte stream with a read limit and a second handle.
//!
//! Input: the monitor's [`VsockStream`], or a Unix socket where the agent lives in another process of this
//! host. Output: [`Connection`], the little that a session asks of them, and [`DeadlineReader`], reads with a
//! common deadline. Not here: how a connection comes to be.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use provium_vmm::VsockStream;

/// A duplex byte stream to an agent.
pub trait Connection: Read + Write + Send {
    /// Limits how long one read blocks; `None` is for ever. A read past it fails with
    /// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::WouldBlock`].
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Limits how long one write blocks, as the other does for reads.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Says that the next write is a whole request, answered at once and in one go, which is read next. It
    /// only makes that quicker, where it can.
    fn ask(&self) {}

    /// A second handle on the same connection, so that one thread writes while another reads.
    fn try_clone(&self) -> io::Result<Box<dyn Connection>>;

    /// What names the connection across a snapshot, where it can live on in one: the host's port and the
    /// guest's.
    fn ports(&self) -> Option<(u32, u32)>;

    /// Tells the other side that nothing more will be sent to it; what it sends still comes.
    fn finish(&self);

    /// Ends both directions, so that a thread blocked on the other handle comes back with an error.
    fn hang_up(&self);
}

/// Reads that all together end by a deadline, however slowly the bytes drip.
pub(crate) struct DeadlineReader<'a> {
    stream: &'a mut dyn Connection,
    until: Option<Instant>,
}

impl<'a> DeadlineReader<'a> {
    /// Reads of `stream` up to `until`, or without an end.
    pub(crate) fn new(
        stream: &'a mut dyn Connection,
        until: Option<Instant>,
    ) -> io::Result<DeadlineReader<'a>> {
        if until.is_none() {
            stream.set_read_timeout(None)?;
        }
        Ok(DeadlineReader { stream, until })
    }
}

impl Read for DeadlineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            // Whole microseconds are what a socket can wait for; none of them would be for ever.
            if left < Duration::from_micros(1) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(buffer)
    }
}

impl Connection for VsockStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        VsockStream::set_read_timeout(self, timeout);
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        VsockStream::set_write_timeout(self, timeout);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new(VsockStream::try_clone(self)?))
    }

    fn ask(&self) {
        VsockStream::ask(self);
    }

    fn ports(&self) -> Option<(u32, u32)> {
        VsockStream::ports(self)
    }

    fn finish(&self) {
        // Fails only where the connection is gone already.
        let _ = VsockStream::shutdown(self, Shutdown::Write);
    }

    fn hang_up(&self) {
        // Fails only where the connection is gone already, which is what is wanted.
        let _ = VsockStream::shutdown(self, Shutdown::Both);
    }
}

impl Connection for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_write_timeout(self, timeout)
    }

    fn try_clone(&self) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new(UnixStream::try_clone(self)?))
    }

    fn ports(&self) -> Option<(u32, u32)> {
        None
    }

    fn finish(&self) {
        // As above.
        let _ = UnixStream::shutdown(self, Shutdown::Write);
    }

    fn hang_up(&self) {
        // As above.
        let _ = UnixStream::shutdown(self, Shutdown::Both);
    }
}
