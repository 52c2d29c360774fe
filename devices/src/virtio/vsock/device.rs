//! The device as the transport sees it, and the handle by which the host uses it.
//!
//! Input: a driver's queues, calls of the host. Output: streams and listeners. Not here: what a packet does
//! (`core`).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

use super::connection::Phase;
use super::core::{PortListener, VsockCore};
use super::stream::{VsockListener, VsockStream, ended, wait};
use super::transmit::{RX, TX};
use crate::virtio::device::{Activation, VirtioDevice, read_config_bytes};
use crate::virtio::saved::DeviceState;
use crate::{QueueState, StateError};

/// The vsock device; a clone is another handle on the same one.
#[derive(Clone)]
pub struct Vsock {
    core: Arc<Mutex<VsockCore>>,
}

impl Vsock {
    /// A device for a guest with context id `cid`, one of [`GUEST_CIDS`](super::GUEST_CIDS).
    pub fn new(cid: u32) -> Self {
        Self {
            core: Arc::new(Mutex::new(VsockCore::new(cid))),
        }
    }

    /// The guest's context id: the one it was made with, until a restored state brings along the one that its
    /// guest knows.
    pub fn cid(&self) -> u32 {
        self.core.lock().guest_cid
    }

    /// Connects to a port of the guest.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, `TimedOut` when the guest does not answer (a guest
    /// without driver does not), `ConnectionReset` once the machine has ended, `QuotaExceeded` with 1024
    /// connections alive.
    pub fn connect(&self, port: u32, timeout: Duration) -> io::Result<VsockStream> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.core.lock();
        if state.ended {
            return Err(ended());
        }
        let Some(id) = state.request(port) else {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "1024 vsock connections are open already",
            ));
        };
        loop {
            let connection = state
                .connections
                .get_mut(&id)
                .expect("a connecting connection stays");
            match connection.phase {
                Phase::Connecting => {}
                Phase::Reset => {
                    let machine_ended = state.ended;
                    state.connections.remove(&id);
                    return Err(if machine_ended { ended() } else { refused(port) });
                }
                Phase::Open | Phase::Closing | Phase::Finished => {
                    connection.handles += 1;
                    return Ok(VsockStream::new(Arc::clone(&self.core), id));
                }
            }
            let changed = Arc::clone(&connection.changed);
            // The count of one keeps the connection while this caller waits.
            connection.handles = 1;
            let timed_out = wait(&changed, &mut state, deadline);
            if let Some(connection) = state.connections.get_mut(&id) {
                connection.handles = 0;
                if timed_out && connection.phase == Phase::Connecting {
                    state.release(id);
                    state.connections.remove(&id);
                    let message = format!("the guest did not answer on vsock port {port} within {timeout:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            }
        }
    }

    /// Accepts connections that the guest opens to a port of the host.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there already.
    pub fn listen(&self, port: u32) -> io::Result<VsockListener> {
        let mut state = self.core.lock();
        if state.listeners.contains_key(&port) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("host vsock port {port} is taken"),
            ));
        }
        let listener = PortListener {
            backlog: Default::default(),
            changed: Default::default(),
        };
        state.listeners.insert(port, listener);
        Ok(VsockListener::new(Arc::clone(&self.core), port))
    }

    /// Takes the host end of a connection that a restored state brought along: `(host port, guest port)`,
    /// as [`VsockStream::ports`] has told before the save.
    pub fn adopt(&self, ports: (u32, u32)) -> Option<VsockStream> {
        let id = self.core.lock().adopt(ports)?;
        Some(VsockStream::new(Arc::clone(&self.core), id))
    }

    /// Ends the connections of a restored state that nobody has adopted.
    pub fn close_unclaimed(&self) {
        self.core.lock().close_unclaimed();
    }

    /// Number of connections that are alive and held by streams of the host.
    pub fn held_connections(&self) -> usize {
        self.core.lock().held_connections()
    }

    /// Ends every connection: the machine is gone.
    pub fn end(&self) {
        self.core.lock().end();
    }
}

fn refused(port: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        format!("nobody listens on the guest's vsock port {port}"),
    )
}

impl VirtioDevice for Vsock {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        // Receive, transmit, event. The event queue tells a guest that its transport was reset, which
        // never happens here: connections outlive a snapshot.
        &[256, 256, 16]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&u64::from(self.cid()).to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) {
        self.core.lock().activate(activation);
    }

    fn notify(&mut self, index: u16) -> bool {
        match usize::from(index) {
            RX => self.core.lock().receive_buffers_added(),
            TX => self.core.lock().receive(),
            _ => false,
        }
    }

    fn settle(&mut self) {
        self.core.lock().settle();
    }

    fn reset(&mut self) {
        self.core.lock().deactivate();
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        self.core.lock().queue_states()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Vsock(self.core.lock().save())
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        match state {
            DeviceState::Vsock(state) => self.core.lock().restore(state, activation),
            _ => Err(StateError::new("vsock", "it is another device's")),
        }
    }
}
