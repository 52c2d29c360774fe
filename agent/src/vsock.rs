//! AF_VSOCK sockets: the way to the host and the port it comes in by.
//!
//! Input: port numbers.
//! Output: connected or listening stream sockets.
//! Not here: retries; the daemon knows how long to wait for what.

use std::mem::size_of;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::fds;

/// The host's context id.
const HOST_CID: u32 = libc::VMADDR_CID_HOST;

/// Port number for [`listen`] that lets the kernel pick one.
pub(crate) const ANY_PORT: u32 = libc::VMADDR_PORT_ANY;

/// A vsock address.
struct Address {
    cid: u32,
    port: u32,
}

// SAFETY: the closure gets a pointer to a whole sockaddr_vm that lives until it returns.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        // SAFETY: a sockaddr_vm of zeros is valid.
        let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
        address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
        address.svm_cid = self.cid;
        address.svm_port = self.port;
        f(
            (&raw const address).cast(),
            size_of::<libc::sockaddr_vm>() as SocketAddrLen,
        )
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    fds::own(|| {
        rustix::net::socket_with(
            AddressFamily::VSOCK,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
    })
}

/// Connects to the host's port; `AFNOSUPPORT` where the kernel has no vsock yet, `NODEV` where it has no
/// device.
pub fn connect(port: u32) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    rustix::net::connect(&socket, &Address { cid: HOST_CID, port })?;
    Ok(socket)
}

/// Listens on a port, whoever connects.
pub(crate) fn listen(port: u32) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    rustix::net::bind(
        &socket,
        &Address {
            cid: libc::VMADDR_CID_ANY,
            port,
        },
    )?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Accepts a connection; `None` for one that does not come from the host: whoever talks to the agent is root.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    // One is there, or the supervisor would not have come here; it does not block.
    fds::own(|| {
        let (connection, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC)?;
        let from_host = peer.is_some_and(|peer| cid(&peer) == Some(HOST_CID));
        Ok(from_host.then_some(connection))
    })
}

/// Number of the port a socket listens on; 0 where the kernel does not say.
pub(crate) fn port_of(listener: &OwnedFd) -> u32 {
    let address = rustix::net::getsockname(listener).ok();
    address
        .and_then(|address| vsock_address(&address))
        .map_or(0, |address| address.svm_port)
}

fn cid(peer: &rustix::net::SocketAddrAny) -> Option<u32> {
    vsock_address(peer).map(|address| address.svm_cid)
}

fn vsock_address(address: &rustix::net::SocketAddrAny) -> Option<libc::sockaddr_vm> {
    let whole = address.address_family() == AddressFamily::VSOCK
        && address.addr_len() as usize >= size_of::<libc::sockaddr_vm>();
    // SAFETY: the kernel filled in a whole sockaddr_vm, as family and length say; the read needs no
    // alignment.
    whole.then(|| unsafe { address.as_ptr().cast::<libc::sockaddr_vm>().read_unaligned() })
}
