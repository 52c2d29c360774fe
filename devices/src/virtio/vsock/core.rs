//! Everything behind the device's one lock, and what both sides do with it.
//!
//! Input: the driver's queues, connections of either side. Output: packets to the guest, changes that wake
//! who waits. Not here: what the guest's packets do (`guest_side`), what the host asks for (`host_side`),
//! waiting (`stream`).
//!
//! Invariants: a connection is in `by_ports` exactly while it [is alive](Connection::is_alive); control
//! packets are bounded, because past [`MAX_CONTROL`] the guest's transmit queue is left alone until the guest
//! has taken some.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Condvar;

use super::connection::{Connection, Phase, Ports};
use super::packet::{Header, op};
use super::transmit::{RX, TX, control_header, most_held, put_packet, signal_received, signal_sent};
use crate::virtio::chain::next_chain;
use crate::virtio::device::Activation;

/// Most control packets that wait for a receive buffer before the guest's sending is held up.
pub(super) const MAX_CONTROL: usize = 256;
/// Most connections alive at once, both ways together.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// First of the host's own ports for connections it opens.
pub(super) const FIRST_EPHEMERAL: u32 = 0x4000_0000;

/// Number of a connection for as long as anybody holds it, even when its ports are in use again.
pub(crate) type ConnectionId = u64;

/// A port of the host that accepts.
pub(crate) struct PortListener {
    pub(crate) backlog: VecDeque<ConnectionId>,
    pub(crate) changed: Arc<Condvar>,
}

/// What became of an attempt to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The guest has got this many bytes.
    Bytes(usize),
    /// The guest has no room; [`Connection::changed`] tells when to try again.
    Blocked,
}

/// The device's state: its connections and listeners, and the queues while it has them.
pub(crate) struct VsockCore {
    pub(crate) guest_cid: u32,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    pub(super) by_ports: HashMap<Ports, ConnectionId>,
    pub(crate) listeners: HashMap<u32, PortListener>,
    pub(super) control: VecDeque<Header>,
    pub(super) active: Option<Activation>,
    /// Whether the transmit queue may have packets of which no notification will come.
    pub(super) left_unread: bool,
    /// Chains of the transmit queue that have come back without the driver being told.
    pub(super) held: u16,
    /// Whether the driver sends its next packet without a kick: the answer that follows is what counts.
    pub(super) ahead: bool,
    next_id: ConnectionId,
    pub(super) next_port: u32,
    pub(crate) ended: bool,
    /// Room for the payload of a packet, which is used again for the next.
    pub(super) scratch: Vec<u8>,
}

impl VsockCore {
    pub(crate) fn new(guest_cid: u32) -> Self {
        Self {
            guest_cid,
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            listeners: HashMap::new(),
            control: VecDeque::new(),
            active: None,
            left_unread: false,
            held: 0,
            ahead: false,
            next_id: 0,
            next_port: FIRST_EPHEMERAL,
            ended: false,
            scratch: Vec::new(),
        }
    }

    /// Takes the queues: the driver is ready. Once the machine has ended it does not, since streams of the
    /// host outlive that and would keep the guest's memory.
    pub(crate) fn activate(&mut self, activation: Activation) {
        if !self.ended {
            self.active = Some(activation);
            self.flush_control();
        }
    }

    /// Tells the driver of all that came back to it.
    pub(crate) fn settle(&mut self) {
        if let Some(active) = &mut self.active {
            signal_sent(active, &mut self.held, 0);
        }
    }

    /// Tells it of what came back once that is too much for it to miss.
    pub(super) fn count_held(&mut self, active: &mut Activation, came_back: u16) {
        self.held = self.held.saturating_add(came_back);
        let most = most_held(&active.queues[TX]);
        signal_sent(active, &mut self.held, most);
    }

    /// Gives up the queues and every connection: the driver is gone.
    pub(crate) fn deactivate(&mut self) {
        self.active = None;
        self.left_unread = false;
        (self.held, self.ahead) = (0, false);
        self.control.clear();
        self.reset_all();
    }

    /// Ends every connection and wakes everybody: the machine has ended, and nothing comes any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.deactivate();
        for listener in self.listeners.values() {
            listener.changed.notify_all();
        }
    }

    pub(super) fn reset_all(&mut self) {
        let alive: Vec<ConnectionId> = self.by_ports.values().copied().collect();
        for id in alive {
            self.finish(id, Phase::Reset);
        }
    }

    /// Whether there is room for one more connection. One that only waits for the guest to confirm its end
    /// gives way.
    pub(super) fn make_room(&mut self) -> bool {
        if self.by_ports.len() >= MAX_CONNECTIONS {
            let closing = |id: &&ConnectionId| {
                self.connections
                    .get(id)
                    .is_some_and(|c| c.phase == Phase::Closing)
            };
            let oldest = self.by_ports.values().filter(closing).min().copied();
            if let Some(id) = oldest {
                self.kill(id);
            }
        }
        self.by_ports.len() < MAX_CONNECTIONS
    }

    pub(super) fn insert(&mut self, ports: Ports, phase: Phase) -> ConnectionId {
        let id = self.next_id;
        self.next_id += 1;
        self.connections.insert(id, Connection::new(ports, phase));
        self.by_ports.insert(ports, id);
        id
    }

    /// Ends a connection at once and tells the guest.
    pub(super) fn kill(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id)
            && connection.is_alive()
        {
            let ports = connection.ports;
            let unheard = connection.phase == Phase::Connecting && self.take_back_request(ports);
            if !unheard {
                self.send_control(ports, op::RST, 0);
            }
            self.finish(id, Phase::Reset);
            self.flush_control();
        }
    }

    /// Whether a request still waited for a buffer, so that the guest will never hear of it. Were it answered
    /// by a reset, calls to a guest that takes nothing would fill the queue without bound.
    fn take_back_request(&mut self, ports: Ports) -> bool {
        let request = |header: &Header| {
            (header.op, header.src_port, header.dst_port) == (op::REQUEST, ports.host, ports.guest)
        };
        let waiting = self.control.iter().position(request);
        waiting.and_then(|at| self.control.remove(at)).is_some()
    }

    /// Frees a connection's ports; the connection stays for whoever holds it.
    pub(super) fn finish(&mut self, id: ConnectionId, phase: Phase) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        self.by_ports.remove(&connection.ports);
        connection.phase = phase;
        connection.changed.notify_all();
        let accepted_later = self.listeners.values().any(|l| l.backlog.contains(&id));
        if connection.handles == 0 && !accepted_later {
            self.connections.remove(&id);
        }
    }

    /// Queues a packet without payload for the next receive buffer.
    pub(super) fn send_control(&mut self, ports: Ports, op: u16, flags: u32) {
        self.control
            .push_back(control_header(self.guest_cid, ports, op, flags));
    }

    /// Puts waiting control packets into receive buffers; wakes writers, who wait for the same buffers.
    pub(super) fn flush_control(&mut self) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        let mut sent = false;
        while let Some(header) = self.control.front() {
            let Some(chain) = next_chain(&mut active.queues[RX], &active.ram) else {
                break;
            };
            let mut header = *header;
            // The count is that of the moment it leaves.
            let ports = Ports {
                host: header.src_port,
                guest: header.dst_port,
            };
            if let Some(connection) = self
                .by_ports
                .get(&ports)
                .and_then(|id| self.connections.get_mut(id))
            {
                header.fwd_cnt = connection.advertise();
            }
            put_packet(&mut active.queues[RX], &active.ram, chain, header, &[]);
            self.control.pop_front();
            sent = true;
        }
        signal_received(&mut active, &mut self.held, sent);
        self.active = Some(active);
    }
}
