//! The host's end of a kernel's own vsock (vhost), which peers' guests call on; Provium's guests do not need
//! it.
//!
//! Input: a port.
//! Output: connections.
//! Not here: what is said on them.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A port of this host, whoever calls.
struct Address(u32);

// SAFETY: the closure gets a pointer to a whole sockaddr_vm that lives until it returns.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        // SAFETY: a sockaddr_vm of zeros is valid.
        let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
        address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
        address.svm_cid = libc::VMADDR_CID_ANY;
        address.svm_port = self.0;
        let len = size_of::<libc::sockaddr_vm>() as SocketAddrLen;
        f((&raw const address).cast(), len)
    }
}

/// A port that guests of this host's kernel can connect to.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// When the kernel has no vsock, or somebody listens there.
    pub(crate) fn on(port: u32) -> Result<Listener> {
        let listen = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
            rustix::net::bind(&socket, &Address(port))?;
            rustix::net::listen(&socket, 8)?;
            Ok(socket)
        };
        let socket = listen().with_context(|| format!("listen on vsock port {port} of this host"))?;
        Ok(Listener(socket))
    }

    /// The next connection. (The type says Unix; reading, writing and limits are the same for any stream
    /// socket.)
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) fn accept(&self, limit: Duration) -> Result<UnixStream> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).context("a limit")?;
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                Ok(0) => bail!("the guest's agent did not call within {limit:?}"),
                Ok(_) => return Ok(rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)?.into()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
