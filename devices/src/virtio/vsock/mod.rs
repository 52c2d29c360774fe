//! virtio-vsock (virtio 1.2 section 5.10) whose host end is in this process.
//!
//! Input: packets from the guest's queues; calls of [`Vsock::connect`], [`Vsock::listen`] and of the streams
//! they give. Output: packets into the guest's queues; bytes out of [`VsockStream`]s. Not here: vhost,
//! sockets of the host, datagrams, and any thread: packets are handled where they arise, on the vCPU thread
//! that notifies or on the caller's that writes.
//!
//! # The protocol in a paragraph
//!
//! A packet is a 44-byte header and at most some payload. REQUEST asks for a connection between two ports,
//! RESPONSE grants it, RST refuses or kills it, SHUTDOWN ends one or both directions. RW carries bytes of a
//! stream. Every header tells how large its sender's receive buffer is (`buf_alloc`) and how many bytes have
//! been taken from it so far (`fwd_cnt`, modulo 2³²); who sends keeps what is under way within that.
//! CREDIT_UPDATE tells the same with nothing else to say, CREDIT_REQUEST asks for it.
//!
//! # Who waits for what
//!
//! Bytes to the guest are never buffered here: a writer puts them into the guest's own receive buffers and
//! blocks while there is no credit or no buffer. Bytes from the guest wait in their connection's buffer,
//! which the credit bounds. So one reader that stalls holds up its own connection and no other.
//!
//! # Snapshots
//!
//! Both ends of a connection's bookkeeping are here or in guest memory, so connections live on in a restored
//! machine ([`VsockState`](super::saved::VsockState)). Its host ends are new: whoever knows a connection's
//! ports takes it with
//! [`Vsock::adopt`], and [`Vsock::close_unclaimed`] ends the others. Streams of before a reset fail.
//!
//! ```text
//! device      the device for the transport, and the host's handle
//! stream      the host's ends: VsockStream, VsockListener
//! guest_side  what the guest's packets do
//! host_side   what the host asks for
//! core        everything behind the device's one lock, and what both sides need
//! transmit    packets into the guest's receive buffers
//! connection  one connection: credit, buffer, phase
//! packet      the header on the wire
//! saved       the connections as a snapshot holds them
//! ```

mod connection;
mod core;
mod device;
mod guest_side;
mod host_side;
mod packet;
mod saved;
mod stream;
#[cfg(test)]
mod tests;
mod transmit;

pub use device::Vsock;
pub use stream::{VsockListener, VsockStream};

/// The context ids that a guest can have: 0 to 2 are the hypervisor's, the guest's own and the host's, and
/// the last stands for any (virtio 1.2 section 5.10.4).
pub const GUEST_CIDS: std::ops::RangeInclusive<u32> = 3..=u32::MAX - 1;
