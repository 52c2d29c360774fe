//! Connections that wait for a worker.
//!
//! Input: connections of sessions that have been parked.
//! Output: the same, each once, by its ticket.
//! Not here: the workers; see `worker`.

use std::collections::BTreeMap;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::fds;
use crate::lock::Mutex;
use crate::poll::has_hung_up;

/// Parked connections by ticket.
#[derive(Debug, Default)]
pub(crate) struct ParkedConnections(Mutex<Tickets>);

#[derive(Debug, Default)]
struct Tickets {
    last: u64,
    connections: BTreeMap<u64, OwnedFd>,
}

impl ParkedConnections {
    /// Stores a copy of a connection and returns its ticket; the original may be closed.
    pub(crate) fn park(&self, connection: impl AsFd) -> Result<u64, Errno> {
        let copy = fds::copy(connection)?;
        let mut tickets = self.0.lock();
        // Whoever has hung up will not be asked for.
        tickets
            .connections
            .retain(|_, connection| !has_hung_up(connection));
        tickets.last += 1;
        let ticket = tickets.last;
        tickets.connections.insert(ticket, copy);
        Ok(ticket)
    }

    /// Takes the connection with this ticket.
    pub(crate) fn take(&self, ticket: u64) -> Option<OwnedFd> {
        self.0.lock().connections.remove(&ticket)
    }
}
