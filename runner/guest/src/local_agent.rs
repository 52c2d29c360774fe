//! The guest's agent in this process, for tests of what talks to it: its sessions need no more than a socket.
//!
//! Input: nothing. Output: clients. Not here: a guest; what the agent does, it does to this machine.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use provium_agent::{Agent, Session};

use crate::client::session::GuestClient;

const LIMIT: Duration = Duration::from_secs(60);

/// A real agent in this process, with any number of sessions.
#[derive(Clone)]
pub struct LocalAgent(Arc<Agent>);

impl std::fmt::Debug for LocalAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAgent").finish_non_exhaustive()
    }
}

impl Default for LocalAgent {
    fn default() -> LocalAgent {
        LocalAgent(Arc::new(Agent::new(None).expect("an agent")))
    }
}

impl LocalAgent {
    /// A further session, on a thread that ends with the client. Each is kept for one that takes over, as a
    /// VM's own is.
    pub fn session(&self) -> GuestClient {
        let (host, guest) = UnixStream::pair().expect("a pair of sockets");
        let agent = Arc::clone(&self.0);
        thread::spawn(move || {
            // The client's end closing the session is no failure; anything else shows in the client's test.
            let _ = Session::open(guest.into(), &agent)
                .map(Session::kept)
                .and_then(Session::run);
        });
        GuestClient::handshake(Box::new(host), LIMIT).expect("a welcome")
    }
}
