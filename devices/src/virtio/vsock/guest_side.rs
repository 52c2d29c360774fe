//! What the guest's packets do: requests, answers, bytes, ends.
//!
//! Input: packets of a driver that is not trusted. Output: connections changed, answers that wait for a
//! buffer. Not here: what the host asks for (`host_side`).

use std::io::Read;

use virtio_queue::QueueT;

use super::connection::{Phase, Ports};
use super::core::{MAX_CONTROL, VsockCore};
use super::packet::{
    HEADER_SIZE, HOST_CID, Header, MAX_PAYLOAD, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM, op,
};
use super::transmit::TX;
use crate::virtio::chain::{Batch, Chain};
use crate::virtio::device::Activation;

/// Most connections of a listener that nobody has accepted yet.
const MAX_BACKLOG: usize = 128;

impl VsockCore {
    /// Handles the packets that the driver has sent, as many as its queue has room for; whether there may be
    /// more that can be handled now.
    pub(crate) fn receive(&mut self) -> bool {
        let Some(mut active) = self.active.take() else {
            return false;
        };
        // A look at the queue asks for a kick at the next packet.
        self.ahead = false;
        let mut batch = Batch::of(&active.queues[TX]);
        let mut given_back = 0;
        while self.control.len() < MAX_CONTROL {
            let Some(chain) = batch.next(&mut active.queues[TX], &active.ram) else {
                break;
            };
            let head = chain.head_index();
            self.receive_chain(&active, chain);
            given_back += u16::from(active.queues[TX].add_used(&active.ram, head, 0).is_ok());
        }
        self.count_held(&mut active, given_back);
        self.active = Some(active);
        let held_up = self.control.len() >= MAX_CONTROL;
        self.flush_control();
        self.left_unread = batch.is_over() || held_up;
        self.left_unread && self.control.len() < MAX_CONTROL
    }

    /// Handles packets that came without a kick; where there are too many for one call, the next reader looks
    /// again.
    pub(crate) fn look(&mut self) {
        self.ahead = self.receive();
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
        if header.src_cid != u64::from(self.guest_cid) || header.dst_cid != HOST_CID {
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

    /// Uses the receive buffers that the driver has added, and goes on with its packets where they were held
    /// up; whether there may be more of them that can be handled now.
    pub(crate) fn receive_buffers_added(&mut self) -> bool {
        self.flush_control();
        for connection in self.connections.values() {
            connection.changed.notify_all();
        }
        self.left_unread && self.control.len() < MAX_CONTROL && self.receive()
    }
}
