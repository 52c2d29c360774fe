//! The device as the transport sees it, and the handle by which the host uses it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Phase;
use super::state::{Listener, RX, State, TX};
use super::stream::{VsockListener, VsockStream, wait};
use crate::virtio::{Activation, DeviceState, VirtioDevice, read_config_bytes};
use crate::{QueueState, StateError};

/// The device; a clone is another handle on the same one.
#[derive(Clone)]
pub struct Vsock {
    shared: Arc<Mutex<State>>,
    cid: u64,
}

impl Vsock {
    /// A device whose guest has context id `cid` (3 or more).
    pub fn new(cid: u32) -> Self {
        let cid = u64::from(cid);
        Self {
            shared: Arc::new(Mutex::new(State::new(cid))),
            cid,
        }
    }

    /// Connects to a port of the guest.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, `TimedOut` when the guest does not answer (a guest
    /// without driver does not), `ConnectionReset` once the machine has ended, `QuotaExceeded` with 1024
    /// connections alive.
    pub fn connect(&self, port: u32, timeout: Duration) -> io::Result<VsockStream> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
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
                    return Ok(VsockStream::new(Arc::clone(&self.shared), id));
                }
            }
            let changed = Arc::clone(&connection.changed);
            // The count of one keeps the connection while this caller waits.
            connection.handles = 1;
            let (guard, timed_out) = wait(&changed, state, deadline);
            state = guard;
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
        let mut state = self.lock();
        if state.listeners.contains_key(&port) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("host vsock port {port} is taken"),
            ));
        }
        let listener = Listener {
            backlog: Default::default(),
            changed: Default::default(),
        };
        state.listeners.insert(port, listener);
        Ok(VsockListener::new(Arc::clone(&self.shared), port))
    }

    /// Takes the host end of a connection that a restored state brought along: `(host port, guest port)`,
    /// as [`VsockStream::ports`] has told before the save.
    pub fn adopt(&self, ports: (u32, u32)) -> Option<VsockStream> {
        let id = self.lock().adopt(ports)?;
        Some(VsockStream::new(Arc::clone(&self.shared), id))
    }

    /// Ends the connections of a restored state that nobody has adopted.
    pub fn close_unclaimed(&self) {
        self.lock().close_unclaimed();
    }

    /// Connections that are alive and held by streams of the host.
    pub fn held_connections(&self) -> usize {
        self.lock().held_connections()
    }

    /// Ends every connection: the machine is gone.
    pub fn end(&self) {
        self.lock().end();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the machine has ended")
}

fn refused(port: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        format!("nobody listens on the guest's vsock port {port}"),
    )
}

impl VirtioDevice for Vsock {
    fn device_id(&self) -> u32 {
        19
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
        read_config_bytes(&self.cid.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) {
        self.lock().activate(activation);
    }

    fn notify(&mut self, index: u16) {
        match usize::from(index) {
            RX => self.lock().receive_buffers_added(),
            TX => self.lock().receive(),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.lock().deactivate();
    }

    fn queues(&self) -> Option<Vec<QueueState>> {
        self.lock().queue_states()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Vsock(self.lock().save())
    }

    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        match state {
            DeviceState::Vsock(state) => self.lock().restore(state, activation),
            _ => Err(StateError::new("vsock", "it is another device's")),
        }
    }
}
