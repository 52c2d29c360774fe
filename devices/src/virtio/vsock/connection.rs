//! One connection's state: what is buffered, what is under way, who has closed which half.
//!
//! Input: headers from the guest, bytes taken and sent by the host. Output: credit, and what is to be told to
//! the guest. Not here: queues and locks. Counters are modulo 2³², as on the wire.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Condvar;

use super::packet::Header;

/// Bytes of a connection's receive buffer on the host's side.
pub(crate) const HOST_BUFFER: u32 = 256 * 1024;

/// The two ports that name a connection; the two context ids are always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ports {
    pub(crate) host: u32,
    pub(crate) guest: u32,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The host has asked; the guest has not answered.
    Connecting,
    /// Bytes may flow.
    Open,
    /// The host has let go of it; the guest has still to confirm.
    Closing,
    /// The guest has ended it in order: what is buffered can be read, then comes end of file.
    Finished,
    /// The guest has killed it, refused it, or is gone.
    Reset,
}

/// One connection, as the host sees it.
pub(crate) struct Connection {
    pub(crate) ports: Ports,
    pub(crate) phase: Phase,
    /// Bytes from the guest that no reader has taken yet.
    pub(crate) received: VecDeque<u8>,
    /// Number of the host's streams that hold it.
    pub(crate) handles: usize,
    /// Woken at every change that a reader, a writer or a connecting caller may wait for.
    pub(crate) changed: Arc<Condvar>,
    /// Whether the guest may still send, as far as it has said.
    pub(crate) guest_sends: bool,
    /// Whether the guest may still receive.
    pub(crate) guest_receives: bool,
    /// Whether the host may still send.
    pub(crate) host_sends: bool,
    /// Whether the host may still receive.
    pub(crate) host_receives: bool,
    /// Whether the guest was asked for credit and has not answered.
    pub(crate) credit_requested: bool,
    /// Bytes that readers have taken.
    pub(super) taken: u32,
    /// The part of `taken` that the guest was told of.
    pub(super) advertised: u32,
    /// Bytes sent to the guest.
    pub(super) sent: u32,
    /// Bytes of the guest's receive buffer.
    pub(super) guest_buffer: u32,
    /// Bytes that the guest says it has taken.
    pub(super) guest_taken: u32,
}

impl Connection {
    pub(crate) fn new(ports: Ports, phase: Phase) -> Self {
        Self {
            ports,
            phase,
            received: VecDeque::new(),
            handles: 0,
            changed: Arc::new(Condvar::new()),
            guest_sends: true,
            guest_receives: true,
            host_sends: true,
            host_receives: true,
            credit_requested: false,
            taken: 0,
            advertised: 0,
            sent: 0,
            guest_buffer: 0,
            guest_taken: 0,
        }
    }

    /// Number of bytes that may be sent to the guest now; none to a guest that counts wrongly.
    pub(crate) fn credit(&self) -> u32 {
        let under_way = self.sent.wrapping_sub(self.guest_taken);
        self.guest_buffer.saturating_sub(under_way)
    }

    /// Counts bytes that have gone to the guest.
    pub(crate) fn count_sent(&mut self, bytes: u32) {
        self.sent = self.sent.wrapping_add(bytes);
    }

    /// Notes what every header from the guest tells about its buffer.
    pub(crate) fn note_guest_buffer(&mut self, header: &Header) {
        self.guest_buffer = header.buf_alloc;
        self.guest_taken = header.fwd_cnt;
        self.credit_requested = false;
    }

    /// Whether the guest keeps within the buffer it was told of when it sends `bytes` more.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.received.len() + bytes <= HOST_BUFFER as usize
    }

    /// Moves received bytes to a reader; gives their number.
    pub(crate) fn take(&mut self, into: &mut [u8]) -> usize {
        let len = into.len().min(self.received.len());
        let (front, back) = self.received.as_slices();
        let from_front = len.min(front.len());
        into[..from_front].copy_from_slice(&front[..from_front]);
        into[from_front..len].copy_from_slice(&back[..len - from_front]);
        self.received.drain(..len);
        self.taken = self.taken.wrapping_add(len as u32);
        len
    }

    /// Whether the guest believes that much less room is left than there is, and should be told.
    pub(crate) fn owes_credit_update(&self) -> bool {
        self.taken.wrapping_sub(self.advertised) >= HOST_BUFFER / 4
    }

    /// The count of taken bytes for the next header, which tells the guest.
    pub(crate) fn advertise(&mut self) -> u32 {
        self.advertised = self.taken;
        self.taken
    }

    /// Whether the guest has nothing more to say or hear.
    pub(crate) fn guest_is_done(&self) -> bool {
        !self.guest_sends && !self.guest_receives
    }

    /// Whether packets may still name the connection's ports.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open | Phase::Closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Connection {
        Connection::new(Ports { host: 1, guest: 2 }, Phase::Open)
    }

    fn tell(connection: &mut Connection, buf_alloc: u32, fwd_cnt: u32) {
        connection.note_guest_buffer(&Header {
            buf_alloc,
            fwd_cnt,
            ..Header::default()
        });
    }

    #[test]
    fn credit_is_the_buffer_less_what_is_under_way_across_the_wrap() {
        let mut c = open();
        assert_eq!(c.credit(), 0);
        c.sent = u32::MAX - 9;
        tell(&mut c, 100, u32::MAX - 9);
        assert_eq!(c.credit(), 100);
        c.count_sent(30);
        assert_eq!(c.credit(), 70);
        tell(&mut c, 100, 10);
        assert_eq!(c.credit(), 90);
    }

    #[test]
    fn a_guest_that_counts_wrongly_or_shrinks_its_buffer_gets_nothing() {
        let mut c = open();
        tell(&mut c, 100, 50);
        assert_eq!(c.credit(), 0, "more taken than sent");
        tell(&mut c, 100, 0);
        c.count_sent(80);
        tell(&mut c, 10, 0);
        assert_eq!(c.credit(), 0, "the buffer shrank below what is under way");
    }

    #[test]
    fn taking_a_quarter_of_the_buffer_owes_an_update() {
        let mut c = open();
        c.received.extend(vec![1; HOST_BUFFER as usize]);
        assert!(!c.has_room(1));
        let mut buf = vec![0; HOST_BUFFER as usize / 4 - 1];
        c.take(&mut buf);
        assert!(!c.owes_credit_update());
        c.take(&mut [0]);
        assert!(c.owes_credit_update());
        c.advertise();
        assert!(!c.owes_credit_update());
        assert!(c.has_room(1));
    }

    /// What both sides know, in numbers that do not wrap.
    #[derive(Clone, Copy)]
    struct Truth {
        buffer: u64,
        sent: u64,
        taken: u64,
    }

    /// Tries every sequence of steps: bytes sent as far as there is credit, bytes taken, other buffers.
    fn try_all(connection: &mut Connection, first: u64, truth: Truth, depth: u32) {
        let room = truth.buffer.saturating_sub(truth.sent - truth.taken);
        assert_eq!(u64::from(connection.credit()), room);
        if depth == 0 {
            return;
        }
        let sizes = (1..=room.min(3)).map(|more| Truth {
            sent: truth.sent + more,
            ..truth
        });
        let taken = (1..=(truth.sent - truth.taken).min(3)).map(|more| Truth {
            taken: truth.taken + more,
            ..truth
        });
        let buffers = [0, 1, 3].map(|buffer| Truth { buffer, ..truth });
        for next in sizes.chain(taken).chain(buffers) {
            let before = (connection.sent, connection.guest_buffer, connection.guest_taken);
            match next.sent > truth.sent {
                true => connection.count_sent((next.sent - truth.sent) as u32),
                false => tell(connection, next.buffer as u32, (first + next.taken) as u32),
            }
            try_all(connection, first, next, depth - 1);
            (connection.sent, connection.guest_buffer, connection.guest_taken) = before;
        }
    }

    #[test]
    fn the_credit_is_what_it_would_be_if_counters_had_no_end() {
        for first in [0, u64::from(u32::MAX) - 2, u64::from(u32::MAX)] {
            let mut connection = open();
            connection.sent = first as u32;
            connection.guest_taken = first as u32;
            let truth = Truth {
                buffer: 0,
                sent: 0,
                taken: 0,
            };
            try_all(&mut connection, first, truth, 6);
        }
    }
}
