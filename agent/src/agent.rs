//! The agent's state: what all sessions of one process share.
//!
//! Input: where PID 1's root is, which port sessions come in by.
//! Output: tables that every session finds its programs, calls and connections in.
//! Not here: what sessions do with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use provium_protocol::AGENT_PORT;
use rustix::io::Errno;

use crate::estate::KeptEstates;
use crate::parked::ParkedConnections;
use crate::process::table::ProgramTable;
use crate::random::RandomDevice;
use crate::root::InitRoot;
use crate::supervisor::Supervisor;
use crate::syscalls::table::CallTable;
use crate::taint::TaintWatch;
use crate::threads::ThreadWatch;

/// State shared by all sessions.
#[derive(Debug)]
pub struct Agent {
    /// The thread that outlives the sessions.
    pub supervisor: Arc<Supervisor>,
    /// Root of PID 1, where PID 1 may change it.
    pub init_root: Option<InitRoot>,
    /// Programs that sessions have started.
    pub(crate) programs: ProgramTable,
    /// System calls that sessions have started.
    pub(crate) calls: CallTable,
    /// Threads that somebody waits for.
    pub(crate) threads: Arc<ThreadWatch>,
    /// What sessions have left to others.
    pub(crate) kept: KeptEstates,
    /// Connections that wait for a worker.
    pub(crate) parked: ParkedConnections,
    /// The random number generator, for guests that were restored.
    pub(crate) random: RandomDevice,
    /// The kernel's taint, for news of it.
    pub(crate) taint: TaintWatch,
    /// vsock port by which further sessions come in.
    pub(crate) port: u32,
    /// Whether this is a worker's process and not the machine's first agent.
    pub(crate) is_worker: bool,
    sessions: AtomicU64,
}

impl Agent {
    /// An agent whose supervisor has not been started yet.
    pub fn new(init_root: Option<InitRoot>) -> Result<Agent, Errno> {
        Ok(Agent {
            supervisor: Arc::new(Supervisor::new()?),
            init_root,
            programs: ProgramTable::default(),
            calls: CallTable::default(),
            threads: Arc::default(),
            kept: KeptEstates::default(),
            parked: ParkedConnections::default(),
            random: RandomDevice::default(),
            taint: TaintWatch::default(),
            port: AGENT_PORT,
            is_worker: false,
            sessions: AtomicU64::new(0),
        })
    }

    /// The agent of a worker that is a process of its own.
    pub(crate) fn of_worker(init_root: Option<InitRoot>, port: u32) -> Result<Agent, Errno> {
        Ok(Agent {
            port,
            is_worker: true,
            taint: TaintWatch::from_now(),
            ..Agent::new(init_root)?
        })
    }

    /// A number for a new session.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}
