//! Workers: a parked connection on which another process or thread of the guest answers.
//!
//! ```text
//! session A   SpawnWorker{ticket} ─────────────► Worker{pid, tid, port}
//! session B   Park ──► Parked{ticket}   ( silent )   the worker's requests and replies
//! ```
//!
//! Enters: two sessions of one agent process. Leaves: the second one, answered by the worker from then on.

use provium_protocol::{Request, Response};

use super::GuestClient;
use crate::GuestError;

/// A connection that waits for its worker.
#[derive(Debug)]
pub struct Parked {
    client: GuestClient,
    /// By which the agent finds it.
    pub ticket: u64,
}

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spawned {
    /// Its process.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// The vsock port on which its process accepts further sessions.
    pub port: u32,
}

impl GuestClient {
    /// Keeps this session's connection for a worker.
    pub fn park(mut self) -> Result<Parked, GuestError> {
        match self.ask(Request::Park)? {
            Response::Parked { ticket } => Ok(Parked { client: self, ticket }),
            other => Err(self.exchange.unexpected("that the connection is kept", &other)),
        }
    }

    /// Makes a worker, a process of its own or a thread of this one, that answers on the parked connection.
    pub fn spawn_worker(
        &mut self,
        parked: Parked,
        thread: bool,
    ) -> Result<(GuestClient, Spawned), GuestError> {
        let ticket = parked.ticket;
        match self.ask(Request::SpawnWorker { ticket, thread })? {
            Response::Worker { pid, tid, port } => {
                let mut client = parked.client;
                client.pid = pid;
                Ok((client, Spawned { pid, tid, port }))
            }
            other => Err(self.exchange.unexpected("a worker", &other)),
        }
    }
}
