//! What a session has started and opened, and what becomes of that when the kernel ends its thread.
//!
//! Everybody else's session ends with its thread. The host's own is kept, with all that it has, until another
//! session takes over from it: a test on a kernel that has just oopsed still wants its files and programs. A
//! worker that is a process ends.
//!
//! Input: a session whose thread is watched.
//! Output: the last words on its connection, and what it held, ended or kept.
//! Not here: how the end is noticed (`threads`); sessions that end as they should (`session`).

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use provium_protocol::{EndedThread, Frame, OpError, Response, write_frame};
use rustix::net::Shutdown;

use crate::agent::Agent;
use crate::failure::impossible;
use crate::lock::Mutex;
use crate::open_files::OpenFiles;
use crate::session::Session;
use crate::sys;
use crate::threads::Watched;

/// What a session has started and opened.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Number by which the tables know what is the session's.
    id: AtomicU64,
    /// Descriptors it has opened for the test.
    pub(crate) files: OpenFiles,
    /// Kept for a session that takes over, should the thread be ended.
    is_kept: AtomicBool,
}

impl Estate {
    /// The estate of a new session.
    pub(crate) fn new(id: u64) -> Estate {
        Estate {
            id: AtomicU64::new(id),
            files: OpenFiles::default(),
            is_kept: AtomicBool::new(false),
        }
    }

    /// The session's number.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// Has it kept for another session, should the thread be ended.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Ends what was started and closes what was opened.
    pub(crate) fn end(&self, agent: &Agent) {
        agent.programs.end_all_of(self.id());
        self.files.close_all();
        agent.calls.forget_all_of(self.id());
    }
}

/// Estates that wait for another session, by the thread that had them.
#[derive(Debug, Default)]
pub(crate) struct KeptEstates(Mutex<BTreeMap<u32, Arc<Estate>>>);

/// Gives a session what one had whose thread the kernel has ended.
pub(crate) fn take_over(session: &Session, tid: u32) -> Result<Response, OpError> {
    let kept = session.agent.kept.0.lock().remove(&tid);
    let kept =
        kept.ok_or_else(|| impossible(format!("there is no session to take over from thread {tid}")))?;
    let own = &session.estate;
    // What it has started itself, if anything, ends as with its session.
    own.end(&session.agent);
    own.id.store(kept.id(), Ordering::Relaxed);
    own.files.take_over(&kept.files);
    own.keep();
    Ok(Response::Done)
}

/// Watches the calling thread as the one that serves a session.
pub(crate) fn watch(session: &Session) -> Watched {
    let agent = session.agent.clone();
    let (connection, estate) = (session.stream.clone(), session.estate.clone());
    let threads = agent.threads.clone();
    threads.watch(move |ended| settle(&agent, &connection, &estate, ended))
}

/// Does what is left to do for a session without a thread.
fn settle(agent: &Agent, connection: &Arc<File>, estate: &Arc<Estate>, ended: EndedThread) {
    let is_kept = estate.is_kept.load(Ordering::Relaxed);
    if is_kept {
        // First: whoever hears of the end may ask at once.
        agent.kept.0.lock().insert(ended.tid, estate.clone());
    }
    let last = Response::ThreadEnded(EndedThread {
        served: true,
        ..ended
    });
    // A host that has gone needs to hear nothing.
    let _ = write_frame(&mut &**connection, &Frame::Reply(Ok(last)));
    // Not closed: the thread may have left the kernel with a hold on it that is never given back.
    let _ = rustix::net::shutdown(connection, Shutdown::Both);
    if !is_kept {
        estate.end(agent);
    }
    if agent.is_worker && ended.tid == std::process::id() {
        sys::exit_at_once(0);
    }
}
