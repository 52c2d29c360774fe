//! The processes of a run: one that runs files, and one that outlives it, whatever kills it.
//!
//! Input: a run that is about to begin, in a process that has started no thread yet. Output: the same
//! function goes on in each process and is told which it is. Not here: what is run and what is reported.
//!
//! ```text
//! reporter    has the reports and the user's signals; forks ─┐
//! supervisor  forks ─┐ and waits; where that dies, notes in the journal what it was in, and forks again
//! worker      runs files: guests, Lua, everything that can go wrong
//! ```
//!
//! A worker that a signal kills was in some files. If it was one, that file has failed and the rest goes on;
//! if there were several, they run again one at a time, so that the next death tells. In the emulated host
//! the reporter is outside, and the supervisor is the first process.
//!
//! All are forked before there is a second thread, so that none has a lock that nobody will open. The worker
//! ends with the two others, and what its tests have started on the host with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use provium_base::cancel::Cancel;
use provium_base::events::Event;
use provium_base::outcome::FileResult;
use provium_base::{exit, group};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, waitpid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::interrupt::SignalWatch;
use super::print::complain;
use super::relay::{self, say, tell};
use super::screen::Screen;
use crate::session::journal::Journal;

/// Which process this is.
pub(super) enum Process {
    /// The one that has the reports.
    Reporter(Worker),
    /// The one that runs files, with the run's journal.
    Worker(PathBuf, Option<Control>),
    /// The one between, whose work is done; the exit code of the last worker.
    Supervisor(u8),
}

/// What the reporter says: begin, and a signal.
const BEGIN: u8 = b'b';
const SIGNAL: u8 = b's';
/// How many signals the worker is told of before it is killed.
const PATIENCE: usize = 2;

/// The worker's end of what the reporter says.
pub(super) struct Control(File);

/// The reporter's end of a worker.
pub(super) struct Worker {
    supervisor: Pid,
    control: File,
    events: OwnedFd,
    /// What the worker writes to its stderr, if that is not this process's own.
    said: Option<OwnedFd>,
}

/// Forks a supervisor for this process, which has the reports. With `own_stderr` the worker's stderr comes
/// here too.
///
/// # Errors
/// The system's.
pub(super) fn split(own_stderr: bool) -> anyhow::Result<Process> {
    let (events, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (mut orders, control) = pipe_with(PipeFlags::CLOEXEC)?;
    let stderr = own_stderr.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose()?;
    let journal = memfd_create(c"provium-journal", MemfdFlags::CLOEXEC)?;
    if let Some(supervisor) = fork(None)? {
        return Ok(Process::Reporter(Worker {
            supervisor,
            control: control.into(),
            events,
            said: stderr.map(|(said, _)| said),
        }));
    }
    drop((events, control));
    rustix::stdio::dup2_stdout(stdout)?;
    if let Some((_, stderr)) = stderr {
        rustix::stdio::dup2_stderr(stderr)?;
    }
    let mut order = [0];
    if rustix::io::read(&mut orders, &mut order)? == 0 {
        // The run needs no worker here.
        return Ok(Process::Supervisor(exit::SUCCESS));
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", journal.as_raw_fd()));
    Ok(match supervise(&path)? {
        None => {
            // Open in the worker for as long as it has the path.
            std::mem::forget(journal);
            Process::Worker(path, Some(Control(orders.into())))
        }
        Some(code) => Process::Supervisor(code),
    })
}

/// Makes this process, whose events go to somebody else, the supervisor of a worker with this journal.
///
/// # Errors
/// The system's.
pub(super) fn split_below(journal: &Path) -> anyhow::Result<Process> {
    Ok(match supervise(journal)? {
        None => Process::Worker(journal.to_owned(), None),
        Some(code) => Process::Supervisor(code),
    })
}

/// Forks a worker until one ends by itself, whose exit code it gives; `None` in the worker.
fn supervise(journal: &Path) -> anyhow::Result<Option<u8>> {
    // The terminal sends Ctrl-C to all of them; what it means is the worker's to say. Handlers, and not that
    // signals are ignored: commands that tests run would inherit that.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    set_child_subreaper(Some(getpid()))?;
    let mut unexplained = None;
    loop {
        let Some(worker) = fork(Some(Signal::KILL))? else {
            be_the_first_to_go();
            return Ok(None);
        };
        let status = wait(worker)?;
        let Some(signal) = status.terminating_signal() else {
            let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
            return Ok(Some(match (code.unwrap_or(exit::HARNESS), unexplained) {
                (exit::SUCCESS, Some(died)) => {
                    complain(&format!(
                        "provium: {died}, and none of them did it again; {OUR_BUG}"
                    ));
                    exit::HARNESS
                }
                (code, _) => code,
            }));
        };
        end_orphans();
        if [SIGINT, SIGTERM, SIGHUP].contains(&signal) {
            return Ok(Some(exit::INTERRUPTED));
        }
        let killed = killed_by(signal);
        let (journal, running) = Journal::after_death(journal)?;
        match running.as_slice() {
            [] => {
                complain(&format!(
                    "provium: the process {killed} outside of any file; {OUR_BUG}"
                ));
                return Ok(Some(exit::HARNESS));
            }
            [file] => {
                let test = file.test.as_ref();
                let test = test.map_or(String::new(), |test| {
                    format!("; the last test to begin was `{test}`")
                });
                journal.ended(&FileResult {
                    passed: false,
                    chunk_error: Some(format!(
                        "the process {killed} while it ran this file{test}; {OUR_BUG}"
                    )),
                    ..FileResult::new(file.path.as_str())
                })?;
                warn(format!("the process {killed} in {}; the run goes on", file.path));
            }
            several => {
                let paths: Vec<_> = several.iter().map(|file| file.path.as_str()).collect();
                let died = format!("the process {killed} while it ran {}", paths.join(", "));
                warn(format!(
                    "{died}; to tell which it was, files run one at a time now"
                ));
                journal.one_at_a_time()?;
                unexplained = Some(died);
                continue;
            }
        }
        unexplained = None;
    }
}

/// Has the kernel end this process, and what its tests start, sooner than those that report, when memory runs
/// out. Without `/proc` it takes the largest, which is this one as a rule.
fn be_the_first_to_go() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    const OURS: i32 = 300;
    let now = std::fs::read_to_string(SCORE)
        .ok()
        .and_then(|now| now.trim().parse().ok());
    if now.is_some_and(|now: i32| now < OURS) {
        let _ = std::fs::write(SCORE, OURS.to_string());
    }
}

/// What is said of every such death.
const OUR_BUG: &str = "unless somebody else killed it, that is a bug in Provium";

/// How a signal has ended a process, in words.
fn killed_by(signal: i32) -> String {
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
    let why = match signal {
        signal_hook::consts::SIGKILL => ", as the system does when memory runs out",
        _ => "",
    };
    format!("was killed by {name}{why}")
}

/// Tells the reporter of something, in place of the worker.
fn warn(message: String) {
    // What the worker had begun to write ends here; there may be no reader any more.
    let line = format!("\n{}", relay::line(&Event::Warning { message }));
    let _ = io::stdout().write_all(line.as_bytes());
    let _ = io::stdout().flush();
}

/// Kills what a dead worker's tests have started, which are this process's children since.
fn end_orphans() {
    loop {
        let children = children();
        if children.is_empty() {
            return;
        }
        for pid in children {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
            let _ = wait(pid);
        }
    }
}

/// This process's children; a kernel need not have a list of them.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_pid().to_string();
    let is_child = |folder: &Path| {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: the state, the parent.
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        fields.split(' ').nth(1) == Some(own.as_str())
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| is_child(&entry.path()))
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Another process like this one, which is sent a signal when this one ends: its number here, `None` there.
fn fork(at_end: Option<Signal>) -> anyhow::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    anyhow::ensure!(
        threads == 1,
        "{threads} threads before the run began; this is a bug in Provium"
    );
    let parent = getpid();
    // SAFETY: this process has one thread, as just counted, so the copy has all that it has, and no lock that
    // is held by another.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error().into());
    }
    if let Some(pid) = Pid::from_raw(pid) {
        return Ok(Some(pid));
    }
    set_parent_process_death_signal(at_end)?;
    if at_end.is_some() && getppid() != Some(parent) {
        // It was killed before this one could say that it wants to know.
        std::process::exit(i32::from(exit::INTERRUPTED));
    }
    Ok(None)
}

fn wait(pid: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Control {
    /// Calls `signal` for each signal that the reporter was sent, from a thread of its own; ends this process
    /// when the reporter has ended.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn on_signal(self, mut signal: impl FnMut() + Send + 'static) -> io::Result<()> {
        let mut control = self.0;
        let read = move || {
            let mut order = [0];
            while matches!(control.read(&mut order), Ok(1)) {
                signal();
            }
            // Nobody will read what comes of the run.
            group::kill_all();
            signal_hook::low_level::exit(i32::from(exit::INTERRUPTED));
        };
        thread::Builder::new().name("signals".into()).spawn(read)?;
        Ok(())
    }
}

impl Worker {
    /// Has the worker begin, and shows its events until it has ended; gives its exit code. Signals go to it
    /// from now on, and no longer to `watch`. Not if `cancel` was cancelled, by which that has noted one.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn run(self, screen: &Screen, watch: SignalWatch, cancel: &Cancel) -> anyhow::Result<u8> {
        let control = Arc::new(Mutex::new(self.control));
        let signals = Forwarding::begin(Arc::clone(&control), self.supervisor)?;
        drop(watch);
        if cancel.is_cancelled().is_some() {
            return Ok(exit::INTERRUPTED);
        }
        let (sink, stderr) = (Arc::clone(&screen.sink), Arc::clone(&screen.stderr));
        let thread = thread::Builder::new().name("stderr".into());
        if let Some(said) = self.said {
            // A command that a test has left running may have it open for ever, so nobody waits for its end.
            thread.spawn(move || say(said, &stderr))?;
        }
        let events = self.events;
        let thread = thread::Builder::new().name("events".into());
        let events = thread.spawn(move || tell(events, &*sink, &|_| {}))?;
        control.lock().write_all(&[BEGIN])?;
        let status = wait(self.supervisor)?;
        let _ = events.join();
        drop(signals);
        let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
        Ok(code.unwrap_or(exit::INTERRUPTED))
    }
}

/// Passes the user's signals on until it is dropped.
struct Forwarding(Handle, Option<JoinHandle<()>>);

impl Forwarding {
    fn begin(control: Arc<Mutex<File>>, supervisor: Pid) -> io::Result<Forwarding> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let forward = move || {
            for (told, _) in signals.forever().enumerate() {
                let sent = told < PATIENCE && control.lock().write_all(&[SIGNAL]).is_ok();
                if !sent {
                    // The worker goes with it.
                    let _ = kill_process(supervisor, Signal::KILL);
                }
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(forward)?;
        Ok(Forwarding(handle, Some(thread)))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.close();
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}
