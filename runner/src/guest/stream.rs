//! What a session with the agent runs over: any duplex byte stream with a read limit and a second handle.
//!
//! Enters: the monitor's [`VsockStream`], or a Unix socket where the agent lives in another process of this
//! host. Leaves: [`Stream`], the little the client asks of them. Absent on purpose: how a connection comes to be.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use provium_vmm::VsockStream;

/// A duplex byte stream to an agent.
pub trait Stream: Read + Write + Send {
    /// Limits how long one read blocks; `None` is for ever. A read past it fails with
    /// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::WouldBlock`].
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// A second handle on the same connection, so that one thread writes while another reads.
    fn try_clone(&self) -> io::Result<Box<dyn Stream>>;

    /// What names the connection across a snapshot, where it can live on in one: the host's port and the guest's.
    fn ports(&self) -> Option<(u32, u32)>;

    /// Tells the other side that nothing more will be sent to it; what it sends still comes.
    fn finish(&self);

    /// Ends both directions, so that a thread blocked on the other handle comes back with an error.
    fn hang_up(&self);
}

impl Stream for VsockStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        VsockStream::set_read_timeout(self, timeout);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(VsockStream::try_clone(self)?))
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

impl Stream for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, timeout)
    }

    fn try_clone(&self) -> io::Result<Box<dyn Stream>> {
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
