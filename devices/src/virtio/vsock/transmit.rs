//! Puts packets into the guest's receive buffers, and interrupts it.
//!
//! Input: a header, payload, a buffer of the guest's. Output: the buffer filled and given back, the driver
//! told of what came back. Not here: which packet is next, and credit.

use std::io::Write;
use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueT};
use vm_memory::{Address, Bytes, GuestAddress};

use super::connection::{HOST_BUFFER, Ports};
use super::packet::{HEADER_SIZE, HOST_CID, Header, MAX_PAYLOAD, TYPE_STREAM};
use crate::GuestRam;
use crate::virtio::chain::Chain;
use crate::virtio::device::Activation;

/// Index of the queue whose buffers the device fills.
pub(crate) const RX: usize = 0;
/// Index of the queue whose buffers the driver fills.
pub(crate) const TX: usize = 1;

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

/// Interrupts the driver if `anything` came back on the receive queue and it wants to know. It looks at the
/// transmit queue then, too.
pub(super) fn signal_received(active: &mut Activation, held: &mut u16, anything: bool) {
    if anything && needs_notification(&mut active.queues[RX], &active.ram) {
        *held = 0;
        let _ = active.queues[TX].needs_notification(&active.ram);
        active.interrupt.used_buffer();
    }
}

/// Interrupts the driver if as many chains of the transmit queue as it may miss have come back without its
/// knowledge, `held` of them, and it wants to know.
pub(super) fn signal_sent(active: &mut Activation, held: &mut u16, most: u16) {
    if *held > most {
        *held = 0;
        if needs_notification(&mut active.queues[TX], &active.ram) {
            active.interrupt.used_buffer();
        }
    }
}

/// Chains of the transmit queue that may have come back without the driver being told. It only frees their
/// buffers then, and all it could wait for is room in the ring, of which this leaves the most part: Linux
/// takes 19 descriptors for a packet where it has no memory for a table.
pub(super) fn most_held(queue: &Queue) -> u16 {
    (queue.size() / 32).saturating_sub(1)
}

/// Lets the driver send one packet before it kicks.
pub(super) fn expect_two(queue: &Queue, ram: &GuestRam) {
    let event = GuestAddress(queue.used_ring()).checked_add(4 + 8 * u64::from(queue.size()));
    let ahead = queue.next_avail().wrapping_add(1);
    if let Some(event) = event {
        // A ring that is not in memory has no driver that could be kicked by it.
        let _ = ram.store(ahead.to_le(), event, Ordering::SeqCst);
    }
}

fn needs_notification(queue: &mut Queue, ram: &GuestRam) -> bool {
    // A ring that cannot be read is the driver's fault; an interrupt more does no harm.
    queue.needs_notification(ram).unwrap_or(true)
}
