//! The host's ends: [`VsockStream`], a plain `Read + Write`, and [`VsockListener`].
//!
//! Input: calls that may block. Output: bytes and connections. Not here: what is sent to the guest (`core`).

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::connection::Phase;
use super::core::{ConnectionId, SendOutcome, VsockCore};

/// Time that a writer waits for room before it asks the guest about it.
const CREDIT_PATIENCE: Duration = Duration::from_millis(500);

/// Time after which a reader looks for an answer for which the guest may not have kicked. It is longer than a
/// round trip where an exit is dear, and shorter than anybody notices.
const ANSWER_PATIENCE: Duration = Duration::from_millis(2);
/// Time after which a reader has the driver told which of its buffers came back, for one that sends no more
/// before it knows.
const HELD_PATIENCE: Duration = Duration::from_millis(20);

/// One connection's host end.
///
/// Reads and writes block, for ever or for the set timeout (`TimedOut`). Once the guest has reset the
/// connection or the machine has ended, both fail with `ConnectionReset`; after an orderly close a read
/// returns what is left and then end of file, a write fails with `BrokenPipe`. Dropping the last handle
/// closes the connection.
pub struct VsockStream {
    core: Arc<Mutex<VsockCore>>,
    id: ConnectionId,
    read_timeout: Timeout,
    write_timeout: Timeout,
    /// Whether what is written next is answered at once, with one packet.
    asks: AtomicBool,
}

impl std::fmt::Debug for VsockStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VsockStream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A timeout in nanoseconds, `u64::MAX` for none; set while others block.
struct Timeout(AtomicU64);

impl Timeout {
    fn never() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    fn set(&self, timeout: Option<Duration>) {
        let nanos = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
        self.0.store(nanos, Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        match self.0.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Instant::now().checked_add(Duration::from_nanos(nanos)),
        }
    }
}

/// Waits for a change; whether the deadline has passed without one.
pub(super) fn wait(
    changed: &Condvar,
    core: &mut MutexGuard<'_, VsockCore>,
    deadline: Option<Instant>,
) -> bool {
    match deadline {
        None => {
            changed.wait(core);
            false
        }
        Some(deadline) => changed.wait_until(core, deadline).timed_out(),
    }
}

/// The error of every call on a machine that has ended.
pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the machine has ended")
}

impl VsockStream {
    /// A stream that takes over one count of the connection's handles.
    pub(super) fn new(core: Arc<Mutex<VsockCore>>, id: ConnectionId) -> Self {
        Self {
            core,
            id,
            read_timeout: Timeout::never(),
            write_timeout: Timeout::never(),
            asks: AtomicBool::new(false),
        }
    }

    /// Says that the next write is a whole request, answered at once and with one packet, which is read next.
    /// It only makes that quicker.
    pub fn ask(&self) {
        self.asks.store(true, Ordering::Relaxed);
    }

    /// The connection's two ports, host's first; `None` once it is over.
    pub fn ports(&self) -> Option<(u32, u32)> {
        let state = self.core.lock();
        let connection = state.connections.get(&self.id)?;
        connection
            .is_alive()
            .then_some((connection.ports.host, connection.ports.guest))
    }

    /// Limits how long this handle's reads block; `None` is for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.read_timeout.set(timeout);
    }

    /// Limits how long this handle's writes block; `None` is for ever.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.write_timeout.set(timeout);
    }

    /// Another handle on the same connection, with timeouts of its own.
    pub fn try_clone(&self) -> io::Result<VsockStream> {
        if let Some(connection) = self.core.lock().connections.get_mut(&self.id) {
            connection.handles += 1;
        }
        Ok(Self::new(Arc::clone(&self.core), self.id))
    }

    /// Tells the guest that this side sends no more, wants no more, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let (sends, receives) = match how {
            Shutdown::Write => (true, false),
            Shutdown::Read => (false, true),
            Shutdown::Both => (true, true),
        };
        self.core.lock().shut_down(self.id, sends, receives);
        Ok(())
    }
}

fn reset(state: &VsockCore) -> io::Error {
    if state.ended {
        ended()
    } else {
        io::Error::new(
            io::ErrorKind::ConnectionReset,
            "the guest has reset the vsock connection",
        )
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the guest did not {what} in time"),
    )
}

impl Read for &VsockStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let deadline = self.read_timeout.deadline();
        let begun = Instant::now();
        let mut state = self.core.lock();
        let mut late = false;
        loop {
            let Some(connection) = state.connections.get(&self.id) else {
                return Err(reset(&state));
            };
            if !connection.received.is_empty() {
                return Ok(state.take(self.id, buf));
            }
            match connection.phase {
                Phase::Finished => return Ok(0),
                Phase::Reset => return Err(reset(&state)),
                _ if !connection.guest_sends || !connection.host_receives => return Ok(0),
                _ if late => return Err(timed_out("send")),
                _ => {}
            }
            let changed = Arc::clone(&connection.changed);
            let Some(look) = Look::due(&state, begun) else {
                late = wait(&changed, &mut state, deadline);
                continue;
            };
            let until = deadline.map_or(look.at, |deadline| deadline.min(look.at));
            if wait(&changed, &mut state, Some(until)) {
                look.take(&mut state);
                late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            }
        }
    }
}

/// Something that a reader sees to when nothing comes for a while.
struct Look {
    at: Instant,
    /// Whether it is for packets that came without a kick; else for the driver to be told what came back.
    for_packets: bool,
}

impl Look {
    /// The next that is due for a reader that has waited since `begun`; `None` when there is nothing to see
    /// to.
    fn due(state: &VsockCore, begun: Instant) -> Option<Look> {
        let for_packets = state.ahead;
        let after = if for_packets {
            ANSWER_PATIENCE
        } else {
            HELD_PATIENCE
        };
        (for_packets || state.held > 0).then(|| Look {
            at: begun + after,
            for_packets,
        })
    }

    fn take(&self, state: &mut VsockCore) {
        if self.for_packets {
            state.look();
        } else {
            state.settle();
        }
    }
}

impl Write for &VsockStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let deadline = self.write_timeout.deadline();
        let asks = self.asks.swap(false, Ordering::Relaxed);
        let mut state = self.core.lock();
        let mut late = false;
        loop {
            let Some(connection) = state.connections.get(&self.id) else {
                return Err(reset(&state));
            };
            let closed = !connection.guest_receives || !connection.host_sends;
            match connection.phase {
                Phase::Reset => return Err(reset(&state)),
                Phase::Finished => return Err(broken_pipe()),
                _ if closed => return Err(broken_pipe()),
                _ => {}
            }
            let changed = Arc::clone(&connection.changed);
            if let SendOutcome::Bytes(bytes) = state.send(self.id, buf, asks) {
                return Ok(bytes);
            }
            if late {
                return Err(timed_out("take what was sent"));
            }
            let patience = Instant::now() + CREDIT_PATIENCE;
            let until = deadline.map_or(patience, |deadline| deadline.min(patience));
            let stalled = wait(&changed, &mut state, Some(until));
            late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if stalled {
                state.ask_for_credit(self.id);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken_pipe() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the vsock connection is closed for writing",
    )
}

impl Read for VsockStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for VsockStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for VsockStream {
    fn drop(&mut self) {
        self.core.lock().release(self.id);
    }
}

/// A port of the host that accepts what the guest opens. Dropping it refuses who still waits.
pub struct VsockListener {
    core: Arc<Mutex<VsockCore>>,
    port: u32,
}

impl std::fmt::Debug for VsockListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VsockListener")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl VsockListener {
    pub(super) fn new(core: Arc<Mutex<VsockCore>>, port: u32) -> Self {
        Self { core, port }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `TimedOut`, or `ConnectionReset` once the machine has ended.
    pub fn accept(&self, timeout: Option<Duration>) -> io::Result<VsockStream> {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut state = self.core.lock();
        let mut late = false;
        loop {
            let ended_now = state.ended;
            let Some(listener) = state.listeners.get_mut(&self.port) else {
                return Err(ended());
            };
            if let Some(id) = listener.backlog.pop_front() {
                if let Some(connection) = state.connections.get_mut(&id) {
                    connection.handles += 1;
                }
                drop(state);
                return Ok(VsockStream::new(Arc::clone(&self.core), id));
            }
            if ended_now {
                return Err(ended());
            }
            if late {
                return Err(timed_out(&format!("connect to host vsock port {}", self.port)));
            }
            let changed = Arc::clone(&listener.changed);
            late = wait(&changed, &mut state, deadline);
        }
    }
}

impl Drop for VsockListener {
    fn drop(&mut self) {
        self.core.lock().close_listener(self.port);
    }
}
