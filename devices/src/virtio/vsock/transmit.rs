//! Puts packets into the guest's receive buffers.
//!
//! Input: a header, payload, a buffer of the guest's. Output: the buffer filled and given back. Not here:
//! which packet is next, and credit.

use std::io::Write;

use virtio_queue::{Queue, QueueT};

use super::connection::{HOST_BUFFER, Ports};
use super::packet::{HEADER_SIZE, HOST_CID, Header, MAX_PAYLOAD, TYPE_STREAM};
use crate::GuestRam;
use crate::virtio::chain::Chain;
use crate::virtio::device::Activation;

/// The header of a packet without payload, its count of taken bytes still to be filled in.
pub(super) fn control_header(guest_cid: u32, ports: Ports, op: u16, flags: u32) -> Header {
    Header {
        src_cid: HOST_CID,
        dst_cid: u64::from(guest_cid),
        src_port: ports.host,
        dst_port: ports.guest,
        len: 0,
        socket_type: TYPE_STREAM,
        op,
        flags,
        buf_alloc: HOST_BUFFER,
        fwd_cnt: 0,
    }
}

/// Fills one receive buffer; gives the number of bytes of the payload that fitted. A buffer that cannot even
/// take a header is the driver's loss: it comes back empty and the packet is gone.
pub(super) fn put_packet(
    queue: &mut Queue,
    ram: &GuestRam,
    chain: Chain<'_>,
    mut header: Header,
    payload: &[u8],
) -> usize {
    let head = chain.head_index();
    let (written, put) = match chain.writer(ram) {
        Ok(mut writer) if writer.available_bytes() >= HEADER_SIZE => {
            let put = payload
                .len()
                .min(writer.available_bytes() - HEADER_SIZE)
                .min(MAX_PAYLOAD);
            header.len = put as u32;
            match writer
                .write_all(&header.to_bytes())
                .and_then(|()| writer.write_all(&payload[..put]))
            {
                Ok(()) => (HEADER_SIZE + put, put),
                Err(_) => (0, 0),
            }
        }
        _ => (0, 0),
    };
    let _ = queue.add_used(ram, head, written as u32);
    put
}

/// Interrupts the driver if `anything` came back on `queue` and it wants to know.
pub(super) fn signal(active: &mut Activation, queue: usize, anything: bool) {
    if anything && needs_notification(&mut active.queues[queue], &active.ram) {
        active.interrupt.used_buffer();
    }
}

fn needs_notification(queue: &mut Queue, ram: &GuestRam) -> bool {
    // A ring that cannot be read is the driver's fault; an interrupt more does no harm.
    queue.needs_notification(ram).unwrap_or(true)
}
