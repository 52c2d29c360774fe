//! A thread that no guest reaches, for the little that threads of machines may not do themselves.
//!
//! Input: jobs, each of them short. Output: what they do, one after the other. Not here: what threads of
//! machines may do (`confine`).

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

static JOBS: OnceLock<Result<Mutex<Sender<Job>>, String>> = OnceLock::new();

/// Starts the thread, if that was not done before; a thread that is confined cannot.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start() -> io::Result<()> {
    jobs().map(|_| ())
}

fn jobs() -> io::Result<&'static Mutex<Sender<Job>>> {
    let jobs = JOBS.get_or_init(|| {
        let (jobs, given) = channel::<Job>();
        let thread = std::thread::Builder::new().name("provium-helper".to_owned());
        let spawned = thread.spawn(move || given.into_iter().for_each(|job| job()));
        spawned
            .map(|_| Mutex::new(jobs))
            .map_err(|error| error.to_string())
    });
    jobs.as_ref().map_err(|error| io::Error::other(error.clone()))
}

/// Has the job done, some time soon, by a thread that may open files and start threads. The calling thread
/// may be one of a machine.
///
/// # Errors
/// When there is no such thread.
pub fn elsewhere(job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let sent = jobs()?.lock().send(Box::new(job));
    sent.map_err(|_| io::Error::other("the thread that helps those of machines has ended"))
}
