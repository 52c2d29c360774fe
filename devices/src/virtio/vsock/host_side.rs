//! What the host asks for: connections, bytes sent and taken, ends.
//!
//! Input: calls of the host's ends. Output: packets to the guest, connections changed. Not here: what the
//! guest's packets do (`guest_side`), and waiting (`stream`).

use std::collections::VecDeque;

use super::connection::{Phase, Ports};
use super::core::{ConnectionId, FIRST_EPHEMERAL, SendOutcome, VsockCore};
use super::packet::{SHUTDOWN_RECEIVE, SHUTDOWN_SEND, op};
use super::transmit::{RX, TX, control_header, expect_two, put_packet, signal_received};
use crate::virtio::chain::Batch;
use crate::virtio::device::F_EVENT_IDX;

impl VsockCore {
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

    /// Puts as much of `bytes` as fits into the guest's receive buffers, of which it takes no more than the
    /// queue has room for. `asks` says that the whole is answered at once, with one packet: then the guest
    /// need not kick for what its kernel sends before that, and whoever reads the answer looks by himself
    /// after a while, in case nothing more comes.
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8], asks: bool) -> SendOutcome {
        self.flush_control();
        let Some(mut active) = self.active.take() else {
            return SendOutcome::Blocked;
        };
        let mut batch = Batch::of(&active.queues[RX]);
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
            let Some(chain) = batch.next(&mut active.queues[RX], &active.ram) else {
                break;
            };
            let mut header = control_header(self.guest_cid, connection.ports, op::RW, 0);
            header.fwd_cnt = connection.advertise();
            let rest = &bytes[sent..bytes.len().min(sent + credit)];
            let put = put_packet(&mut active.queues[RX], &active.ram, chain, header, rest);
            connection.count_sent(put as u32);
            sent += put;
        }
        if asks && sent == bytes.len() && active.features & F_EVENT_IDX != 0 {
            expect_two(&active.queues[TX], &active.ram);
            self.ahead = true;
        }
        signal_received(&mut active, &mut self.held, sent > 0);
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
        if self.ahead {
            // It may have been the one who was to look.
            self.look();
        }
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
}
