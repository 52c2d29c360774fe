//! Everything behind the device's one lock: connections, listeners, queues, and what to do with a packet.
//!
//! Input: packets of the guest, calls of the host's ends. Output: packets to the guest, changes that wake who
//! waits. Not here: waiting (`stream`).
//!
//! Invariants: a connection is in `by_ports` exactly while it [is alive](Connection::is_alive); control
//! packets are bounded, because past [`MAX_CONTROL`] the guest's transmit queue is left alone until the guest
//! has taken some.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::sync::Arc;

use parking_lot::Condvar;
use virtio_queue::{Queue, QueueT};

use super::connection::{Connection, HOST_BUFFER, Phase, Ports};
use super::packet::{HEADER_SIZE, HOST_CID, Header, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM, op};
use crate::GuestRam;
use crate::virtio::chain::{Chain, next_chain};
use crate::virtio::device::Activation;

/// Index of the queue whose buffers the device fills.
pub(crate) const RX: usize = 0;
/// Index of the queue whose buffers the driver fills.
pub(crate) const TX: usize = 1;

/// Most control packets that wait for a receive buffer before the guest's sending is held up.
pub(super) const MAX_CONTROL: usize = 256;
/// Most connections alive at once, both ways together.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// Most connections of a listener that nobody has accepted yet.
const MAX_BACKLOG: usize = 128;
/// Most bytes of payload in one packet; Linux's limit is the same.
const MAX_PAYLOAD: usize = 64 * 1024;
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
    pub(crate) guest_cid: u64,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    pub(super) by_ports: HashMap<Ports, ConnectionId>,
    pub(crate) listeners: HashMap<u32, PortListener>,
    pub(super) control: VecDeque<Header>,
    pub(super) active: Option<Activation>,
    next_id: ConnectionId,
    pub(super) next_port: u32,
    pub(crate) ended: bool,
    scratch: Vec<u8>,
}

impl VsockCore {
    pub(crate) fn new(guest_cid: u64) -> Self {
        Self {
            guest_cid,
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            listeners: HashMap::new(),
            control: VecDeque::new(),
            active: None,
            next_id: 0,
            next_port: FIRST_EPHEMERAL,
            ended: false,
            scratch: Vec::new(),
        }
    }

    // ---- the guest's side --------------------------------------------------------------------------

    /// Takes the queues: the driver is ready.
    pub(crate) fn activate(&mut self, activation: Activation) {
        self.active = Some(activation);
        self.flush_control();
    }

    /// Gives up the queues and every connection: the driver is gone.
    pub(crate) fn deactivate(&mut self) {
        self.active = None;
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

    /// Handles the packets that the driver has sent.
    pub(crate) fn receive(&mut self) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        let mut given_back = false;
        while self.control.len() < MAX_CONTROL {
            let Some(chain) = next_chain(&mut active.queues[TX], &active.ram) else {
                break;
            };
            let head = chain.head_index();
            self.receive_chain(&active, chain);
            given_back |= active.queues[TX].add_used(&active.ram, head, 0).is_ok();
        }
        signal(&mut active, TX, given_back);
        self.active = Some(active);
        self.flush_control();
    }

    fn receive_chain(&mut self, active: &Activation, chain: Chain<'_>) {
        let Ok(mut reader) = chain.reader(&active.ram) else {
            return;
        };
        let mut bytes = [0; HEADER_SIZE];
        if reader.read_exact(&mut bytes).is_err() {
            return;
        }
        let header = Header::parse(&bytes);
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            // Not the guest's own address, or not ours: there is nobody to answer.
            return;
        }
        let ports = Ports {
            host: header.dst_port,
            guest: header.src_port,
        };
        if header.socket_type != TYPE_STREAM {
            self.refuse(ports, &header);
            return;
        }
        let mut payload = std::mem::take(&mut self.scratch);
        let len = header.len as usize;
        let whole = len <= MAX_PAYLOAD && {
            payload.resize(len, 0);
            reader.read_exact(&mut payload).is_ok()
        };
        self.handle(ports, &header, whole.then_some(&payload[..]));
        self.scratch = payload;
    }

    fn handle(&mut self, ports: Ports, header: &Header, payload: Option<&[u8]>) {
        if header.op == op::REQUEST {
            self.accept_request(ports, header);
            return;
        }
        let Some(&id) = self.by_ports.get(&ports) else {
            self.refuse(ports, header);
            return;
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.note_guest_buffer(header);
        match (header.op, connection.phase) {
            (op::RST, Phase::Closing) => self.finish(id, Phase::Finished),
            (op::RST, _) => self.finish(id, Phase::Reset),
            (op::RESPONSE, Phase::Connecting) => {
                connection.phase = Phase::Open;
                connection.changed.notify_all();
            }
            (op::RW, Phase::Open) => match payload {
                Some(bytes) if connection.guest_sends && connection.has_room(bytes.len()) => {
                    if connection.host_receives {
                        connection.received.extend(bytes);
                        connection.changed.notify_all();
                    }
                }
                // More than its credit, after its own shutdown, or less than its header says.
                _ => self.kill(id),
            },
            // What still comes for a stream nobody holds any more is dropped.
            (op::RW, Phase::Closing) => {}
            (op::SHUTDOWN, Phase::Open | Phase::Closing) => {
                connection.guest_sends &= header.flags & SHUTDOWN_SEND == 0;
                connection.guest_receives &= header.flags & SHUTDOWN_RECEIVE == 0;
                connection.changed.notify_all();
                if connection.guest_is_done() {
                    self.send_control(ports, op::RST, 0);
                    self.finish(id, Phase::Finished);
                }
            }
            (op::CREDIT_UPDATE, _) => {
                connection.changed.notify_all();
            }
            (op::CREDIT_REQUEST, Phase::Open) => self.send_control(ports, op::CREDIT_UPDATE, 0),
            (op::CREDIT_REQUEST, Phase::Closing) => {}
            _ => self.kill(id),
        }
    }

    fn accept_request(&mut self, ports: Ports, header: &Header) {
        let acceptable = !self.ended
            && !self.by_ports.contains_key(&ports)
            && self
                .listeners
                .get(&ports.host)
                .is_some_and(|l| l.backlog.len() < MAX_BACKLOG)
            && self.make_room();
        if !acceptable {
            self.refuse(ports, header);
            return;
        }
        let id = self.insert(ports, Phase::Open);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.note_guest_buffer(header);
        }
        self.send_control(ports, op::RESPONSE, 0);
        if let Some(listener) = self.listeners.get_mut(&ports.host) {
            listener.backlog.push_back(id);
            listener.changed.notify_all();
        }
    }

    fn refuse(&mut self, ports: Ports, header: &Header) {
        if header.op != op::RST {
            self.send_control(ports, op::RST, 0);
            if let Some(answer) = self.control.back_mut() {
                answer.socket_type = header.socket_type;
            }
        }
    }

    // ---- the host's side ---------------------------------------------------------------------------

    /// Asks the guest for a connection; `None` when too many are alive.
    pub(crate) fn request(&mut self, guest_port: u32) -> Option<ConnectionId> {
        if !self.make_room() {
            return None;
        }
        let ports = loop {
            let ports = Ports {
                host: self.next_port,
                guest: guest_port,
            };
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
            if !self.by_ports.contains_key(&ports) && !self.listeners.contains_key(&ports.host) {
                break ports;
            }
        };
        let id = self.insert(ports, Phase::Connecting);
        self.send_control(ports, op::REQUEST, 0);
        self.flush_control();
        Some(id)
    }

    /// Puts as much of `bytes` as fits into the guest's receive buffers.
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> SendOutcome {
        self.flush_control();
        let Some(mut active) = self.active.take() else {
            return SendOutcome::Blocked;
        };
        let mut sent = 0;
        // Whatever was said before goes first, or a RESPONSE could follow its own connection's bytes.
        while self.control.is_empty() && sent < bytes.len() {
            let Some(connection) = self.connections.get_mut(&id) else {
                break;
            };
            let credit = connection.credit() as usize;
            if credit == 0 {
                break;
            }
            let Some(chain) = next_chain(&mut active.queues[RX], &active.ram) else {
                break;
            };
            let mut header = control_header(self.guest_cid, connection.ports, op::RW, 0);
            header.fwd_cnt = connection.advertise();
            let rest = &bytes[sent..bytes.len().min(sent + credit)];
            let put = put_packet(&mut active.queues[RX], &active.ram, chain, header, rest);
            connection.count_sent(put as u32);
            sent += put;
        }
        signal(&mut active, RX, sent > 0);
        self.active = Some(active);
        self.flush_control();
        if sent > 0 {
            SendOutcome::Bytes(sent)
        } else {
            SendOutcome::Blocked
        }
    }

    /// Asks a guest that has no room to say when it has. Guests tell on their own when their reader
    /// follows, so this is for one that has stood still; asked at every stall, it would answer after each
    /// packet it reads, and all would go at the pace of single packets.
    pub(crate) fn ask_for_credit(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.phase == Phase::Open && connection.credit() == 0 && !connection.credit_requested {
            connection.credit_requested = true;
            let ports = connection.ports;
            self.send_control(ports, op::CREDIT_REQUEST, 0);
            self.flush_control();
        }
    }

    /// Moves received bytes to a reader, and tells the guest when that made much room; gives their number.
    pub(crate) fn take(&mut self, id: ConnectionId, into: &mut [u8]) -> usize {
        let Some(connection) = self.connections.get_mut(&id) else {
            return 0;
        };
        let taken = connection.take(into);
        if connection.phase == Phase::Open && connection.owes_credit_update() {
            let ports = connection.ports;
            self.send_control(ports, op::CREDIT_UPDATE, 0);
            self.flush_control();
        }
        taken
    }

    /// Ends the host's half, or both.
    pub(crate) fn shut_down(&mut self, id: ConnectionId, sends: bool, receives: bool) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let flags = if sends { SHUTDOWN_SEND } else { 0 } | if receives { SHUTDOWN_RECEIVE } else { 0 };
        connection.host_sends &= !sends;
        connection.host_receives &= !receives;
        if receives {
            connection.received.clear();
        }
        connection.changed.notify_all();
        if connection.phase == Phase::Open {
            let ports = connection.ports;
            self.send_control(ports, op::SHUTDOWN, flags);
            self.flush_control();
        }
    }

    /// Counts one stream less that holds the connection, which ends with the last.
    pub(crate) fn release(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.handles = connection.handles.saturating_sub(1);
        if connection.handles > 0 {
            return;
        }
        match connection.phase {
            Phase::Open => {
                connection.phase = Phase::Closing;
                connection.received = VecDeque::new();
                let ports = connection.ports;
                self.send_control(ports, op::SHUTDOWN, SHUTDOWN_SEND | SHUTDOWN_RECEIVE);
                self.flush_control();
            }
            Phase::Connecting => self.kill(id),
            Phase::Closing => {}
            Phase::Finished | Phase::Reset => {
                self.connections.remove(&id);
            }
        }
    }

    /// Stops accepting on a port and refuses who is still waiting there.
    pub(crate) fn close_listener(&mut self, port: u32) {
        if let Some(listener) = self.listeners.remove(&port) {
            for id in listener.backlog {
                self.kill(id);
                self.connections.remove(&id);
            }
        }
    }

    // ---- both sides --------------------------------------------------------------------------------

    /// Whether there is room for one more connection. One that only waits for the guest to confirm its end
    /// gives way.
    fn make_room(&mut self) -> bool {
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
    fn finish(&mut self, id: ConnectionId, phase: Phase) {
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

    fn send_control(&mut self, ports: Ports, op: u16, flags: u32) {
        self.control
            .push_back(control_header(self.guest_cid, ports, op, flags));
    }

    /// Puts waiting control packets into receive buffers; wakes writers, who wait for the same buffers.
    fn flush_control(&mut self) {
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
        signal(&mut active, RX, sent);
        self.active = Some(active);
    }

    /// Uses the receive buffers that the driver has added.
    pub(crate) fn receive_buffers_added(&mut self) {
        let held_up = self.control.len() >= MAX_CONTROL;
        self.flush_control();
        for connection in self.connections.values() {
            connection.changed.notify_all();
        }
        if held_up {
            self.receive();
        }
    }
}

fn control_header(guest_cid: u64, ports: Ports, op: u16, flags: u32) -> Header {
    Header {
        src_cid: HOST_CID,
        dst_cid: guest_cid,
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
fn put_packet(
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

fn signal(active: &mut Activation, queue: usize, anything: bool) {
    if anything && needs_notification(&mut active.queues[queue], &active.ram) {
        active.interrupt.used_buffer();
    }
}

fn needs_notification(queue: &mut Queue, ram: &GuestRam) -> bool {
    // A ring that cannot be read is the driver's fault; an interrupt more does no harm.
    queue.needs_notification(ram).unwrap_or(true)
}
