//! The device's connections as a snapshot holds them.
//!
//! Input: the living [`VsockCore`], or a [`VsockState`] that is not trusted. Output: the other. Not here:
//! listeners and streams, which belong to the process; connections that are over, of which the guest knows
//! nothing more.

use std::collections::HashSet;

use super::GUEST_CIDS;
use super::connection::{Connection, HOST_BUFFER, Phase, Ports};
use super::core::{ConnectionId, FIRST_EPHEMERAL, MAX_CONNECTIONS, MAX_CONTROL, VsockCore};
use super::packet::{HEADER_SIZE, Header};
use crate::virtio::device::Activation;
use crate::virtio::saved::{ConnectionState, OpenDirections, PhaseState, VsockState};
use crate::{QueueState, StateError};

const WHO: &str = "vsock";
/// Control packets that one packet of the guest, or one call of the host, may add past the limit; generous.
const CONTROL_SLACK: usize = 2 * MAX_CONNECTIONS;

impl VsockCore {
    pub(super) fn queue_states(&self) -> Option<Vec<QueueState>> {
        let active = self.active.as_ref()?;
        Some(active.queues.iter().map(QueueState::of).collect())
    }

    /// The state as it stands.
    pub(super) fn save(&self) -> VsockState {
        let alive = self.by_ports.values().filter_map(|id| self.connections.get(id));
        let mut connections: Vec<_> = alive.filter_map(save_connection).collect();
        connections.sort_by_key(|connection| (connection.host_port, connection.guest_port));
        let control = self
            .control
            .iter()
            .map(|header| header.to_bytes().to_vec().into());
        VsockState {
            guest_cid: u64::from(self.guest_cid),
            next_port: self.next_port,
            control: control.collect(),
            connections,
        }
    }

    /// Takes over a saved state; every stream held so far fails from now on.
    pub(super) fn restore(
        &mut self,
        state: &VsockState,
        activation: Option<Activation>,
    ) -> Result<(), StateError> {
        let (guest_cid, control) = check(state)?;
        self.guest_cid = guest_cid;
        self.active = None;
        // Every queue is looked at once the machine is whole.
        self.left_unread = false;
        (self.held, self.ahead) = (0, false);
        self.control.clear();
        // Who has called and was not accepted has not called in what the guest now remembers.
        for listener in self.listeners.values_mut() {
            listener.backlog.clear();
        }
        self.reset_all();
        self.connections.retain(|_, connection| connection.handles > 0);
        self.next_port = state.next_port;
        for saved in &state.connections {
            let ports = Ports {
                host: saved.host_port,
                guest: saved.guest_port,
            };
            let phase = match saved.phase {
                PhaseState::Connecting => Phase::Connecting,
                PhaseState::Open => Phase::Open,
                PhaseState::Closing => Phase::Closing,
            };
            let id = self.insert(ports, phase);
            if let Some(connection) = self.connections.get_mut(&id) {
                restore_connection(connection, saved);
            }
        }
        self.control.extend(control);
        self.active = activation;
        Ok(())
    }

    /// Takes hold of a restored connection that is open.
    pub(super) fn adopt(&mut self, (host, guest): (u32, u32)) -> Option<ConnectionId> {
        let id = *self.by_ports.get(&Ports { host, guest })?;
        let connection = self.connections.get_mut(&id)?;
        if connection.handles > 0 || connection.phase != Phase::Open {
            return None;
        }
        connection.handles = 1;
        Some(id)
    }

    /// Ends what nobody holds and nobody can come to hold.
    pub(super) fn close_unclaimed(&mut self) {
        let unclaimed = |id: &&ConnectionId| {
            let connection = self.connections.get(id);
            connection.is_some_and(|c| c.handles == 0 && c.phase != Phase::Closing)
                && !self
                    .listeners
                    .values()
                    .any(|listener| listener.backlog.contains(id))
        };
        let ids: Vec<ConnectionId> = self.by_ports.values().filter(unclaimed).copied().collect();
        for id in ids {
            self.kill(id);
        }
    }

    /// Living connections that streams hold.
    pub(super) fn held_connections(&self) -> usize {
        let alive = self.by_ports.values().filter_map(|id| self.connections.get(id));
        alive.filter(|connection| connection.handles > 0).count()
    }
}

fn save_connection(connection: &Connection) -> Option<ConnectionState> {
    let phase = match connection.phase {
        Phase::Connecting => PhaseState::Connecting,
        Phase::Open => PhaseState::Open,
        Phase::Closing => PhaseState::Closing,
        Phase::Finished | Phase::Reset => return None,
    };
    Some(ConnectionState {
        host_port: connection.ports.host,
        guest_port: connection.ports.guest,
        phase,
        received: connection.received.iter().copied().collect(),
        guest: OpenDirections {
            sends: connection.guest_sends,
            receives: connection.guest_receives,
        },
        host: OpenDirections {
            sends: connection.host_sends,
            receives: connection.host_receives,
        },
        credit_requested: connection.credit_requested,
        taken: connection.taken,
        advertised: connection.advertised,
        sent: connection.sent,
        guest_buffer: connection.guest_buffer,
        guest_taken: connection.guest_taken,
    })
}

fn restore_connection(connection: &mut Connection, saved: &ConnectionState) {
    connection.received.extend(&saved.received);
    connection.guest_sends = saved.guest.sends;
    connection.guest_receives = saved.guest.receives;
    connection.host_sends = saved.host.sends;
    connection.host_receives = saved.host.receives;
    connection.credit_requested = saved.credit_requested;
    connection.taken = saved.taken;
    connection.advertised = saved.advertised;
    connection.sent = saved.sent;
    connection.guest_buffer = saved.guest_buffer;
    connection.guest_taken = saved.guest_taken;
}

/// Refuses what this device cannot have saved; returns the guest's context id and the control packets.
fn check(state: &VsockState) -> Result<(u32, Vec<Header>), StateError> {
    let refuse = |what: String| Err(StateError::new(WHO, what));
    let guest_cid = match u32::try_from(state.guest_cid) {
        Ok(cid) if GUEST_CIDS.contains(&cid) => cid,
        _ => return refuse(format!("context id {}, which is no guest's", state.guest_cid)),
    };
    if state.connections.len() > MAX_CONNECTIONS {
        return refuse(format!(
            "{} connections, at most {MAX_CONNECTIONS}",
            state.connections.len()
        ));
    }
    if state.control.len() > MAX_CONTROL + CONTROL_SLACK {
        return refuse(format!("{} packets that wait", state.control.len()));
    }
    if state.next_port < FIRST_EPHEMERAL {
        return refuse(format!("next port {}", state.next_port));
    }
    let mut seen = HashSet::new();
    for connection in &state.connections {
        let ports = (connection.host_port, connection.guest_port);
        if !seen.insert(ports) {
            return refuse(format!(
                "two connections between ports {} and {}",
                ports.0, ports.1
            ));
        }
        if connection.received.len() > HOST_BUFFER as usize {
            return refuse(format!(
                "{} bytes received, at most {HOST_BUFFER}",
                connection.received.len()
            ));
        }
    }
    let headers = state.control.iter().map(|bytes| {
        let bytes: Result<&[u8; HEADER_SIZE], _> = bytes.as_slice().try_into();
        bytes.map(Header::parse)
    });
    match headers.collect() {
        Ok(headers) => Ok((guest_cid, headers)),
        Err(_) => refuse(format!("a packet header that has not {HEADER_SIZE} bytes")),
    }
}
