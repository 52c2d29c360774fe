//! Workers: a parked connection on which another process or thread of the guest answers.
//!
//! ```text
//! session A   SpawnWorker{ticket} ─────────────► Worker{pid, tid, port}
//! session B   Park ──► Parked{ticket}   ( silent )   the worker's requests and replies
//! ```
//!
//! Input: two sessions of one agent process. Output: the second one, answered by the worker from then on; it
//! is a client like any other. Not here: what is asked of a worker, and when it ends.

use provium_protocol::{Request, Response};

use super::op::Op;
use super::session::GuestClient;
use crate::error::GuestError;
use crate::wire::answer::mismatch;

/// A session whose connection waits for its worker.
#[derive(Debug)]
pub struct ParkedSession {
    client: GuestClient,
    /// The agent's number for it, by which it finds the connection.
    pub ticket: u64,
}

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerAddress {
    /// Process id in the guest.
    pub pid: u32,
    /// Thread id in the guest.
    pub tid: u32,
    /// The vsock port on which its process accepts further sessions.
    pub port: u32,
}

impl GuestClient {
    /// Keeps this session's connection for a worker.
    pub fn park(mut self) -> Result<ParkedSession, GuestError> {
        let op = Op::new(Request::Park, |answer| match answer.response {
            Response::Parked { ticket } => Ok(ticket),
            other => Err(mismatch("that the connection is kept", &other)),
        });
        let ticket = self.ask(op)?;
        Ok(ParkedSession { client: self, ticket })
    }

    /// Makes a worker, a process of its own or a thread of this one, that answers on the parked connection.
    pub fn spawn_worker(
        &mut self,
        parked: ParkedSession,
        thread: bool,
    ) -> Result<(GuestClient, WorkerAddress), GuestError> {
        let ticket = parked.ticket;
        let op = Op::new(Request::SpawnWorker { ticket, thread }, |answer| {
            match answer.response {
                Response::Worker { pid, tid, port } => Ok(WorkerAddress { pid, tid, port }),
                other => Err(mismatch("a worker", &other)),
            }
        });
        let spawned = self.ask(op)?;
        let mut client = parked.client;
        client.pid = spawned.pid;
        Ok((client, spawned))
    }
}
