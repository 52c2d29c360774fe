//! Commands of the host, each in a process group of its own that ends with a token.
//!
//! Input: a command and the token that ends it. Output: its streams and how it ended. A group of its own
//! keeps the terminal's Ctrl-C from it, which is for Provium to deal with, and takes what the command has
//! started along when it is killed. Not here: what a command leaves running when it ends by itself.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::cancel::{Cancel, CancelGuard};

/// The groups whose leaders run, so that all can be ended at once.
static RUNNING: Mutex<BTreeMap<i32, Arc<Leader>>> = Mutex::new(BTreeMap::new());

/// Held while a command is started.
static STARTING: Mutex<()> = Mutex::new(());

/// A command that runs; dropping it kills its group.
#[derive(Debug)]
pub struct GroupChild {
    child: Child,
    leader: Arc<Leader>,
    _ended_by_token: CancelGuard,
}

/// The command's own process, whose number is its group's.
#[derive(Debug)]
struct Leader {
    pid: Pid,
    /// Whether it was waited for, after which its number may be another's.
    reaped: Mutex<bool>,
}

impl Leader {
    fn kill_group(&self) {
        let reaped = self.reaped.lock();
        if !*reaped {
            // It fails for a group that has ended by itself.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// Starts the command; when `cancel` is cancelled, it is killed with everything it has started.
///
/// # Errors
/// The system's, when it cannot be started.
pub fn spawn(command: &mut Command, cancel: &Arc<Cancel>) -> io::Result<GroupChild> {
    let child = undisturbed(|| command.process_group(0).spawn())?;
    let leader = Arc::new(Leader {
        pid: Pid::from_child(&child),
        reaped: Mutex::new(false),
    });
    RUNNING
        .lock()
        .insert(leader.pid.as_raw_nonzero().get(), Arc::clone(&leader));
    let ended = Arc::clone(&leader);
    Ok(GroupChild {
        child,
        leader,
        _ended_by_token: cancel.on_cancel(Box::new(move || ended.kill_group())),
    })
}

/// Does something while no command is started here: one would inherit a descriptor that is open to commands
/// for a moment.
pub fn undisturbed<R>(f: impl FnOnce() -> R) -> R {
    let _none_starts = STARTING.lock();
    f()
}

/// Kills every command that runs, before this process ends without waiting for anything.
pub fn kill_all() {
    for leader in RUNNING.lock().values() {
        leader.kill_group();
    }
}

impl GroupChild {
    /// Its standard input, if it is piped and was not taken.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, if it is piped and was not taken.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, if it is piped and was not taken.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Kills it with everything it has started, if it runs.
    pub fn kill(&self) {
        self.leader.kill_group();
    }

    /// Waits until it has ended, by itself or because it was killed.
    ///
    /// # Errors
    /// The system's, when it cannot be waited for.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        // Left unreaped at first: until its number may be another's, the group can be killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while !*self.leader.reaped.lock() {
            match waitid(WaitId::Pid(self.leader.pid), options) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut reaped = self.leader.reaped.lock();
        let status = self.child.wait();
        *reaped = true;
        drop(reaped);
        RUNNING.lock().remove(&self.leader.pid.as_raw_nonzero().get());
        status
    }
}

impl Drop for GroupChild {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;
    use crate::cancel::CancelReason;

    /// A shell that has started something, and the number of that process.
    fn shell(cancel: &Arc<Cancel>) -> (GroupChild, String) {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = spawn(&mut command, cancel).expect("a shell");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.take_stdout().expect("it is piped"));
        stdout.read_line(&mut line).expect("a line");
        (child, line.trim().to_owned())
    }

    /// Waits until no process of this number runs.
    fn until_gone(pid: &str) {
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_token_ends_a_command_with_all_that_it_started() {
        let cancel = Cancel::new();
        let (mut child, started) = shell(&cancel);
        let other = Arc::clone(&cancel);
        let thread = std::thread::spawn(move || other.cancel(CancelReason::TestTimeout));
        assert_eq!(child.wait().expect("its end").signal(), Some(9));
        thread.join().expect("no panic");
        until_gone(&started);
    }

    #[test]
    fn dropping_it_ends_it_and_so_does_a_token_that_was_cancelled_before() {
        let cancel = Cancel::new();
        let (child, started) = shell(&cancel);
        drop(child);
        until_gone(&started);
        cancel.cancel(CancelReason::Interrupted);
        let mut child = spawn(Command::new("sleep").arg("600"), &cancel).expect("it starts");
        assert_eq!(child.wait().expect("its end").signal(), Some(9));
    }

    #[test]
    fn what_ends_by_itself_has_its_status_however_often_it_is_asked() {
        let cancel = Cancel::new();
        let mut child = spawn(Command::new("/bin/sh").args(["-c", "exit 7"]), &cancel).expect("it starts");
        assert_eq!(child.wait().expect("its end").code(), Some(7));
        assert_eq!(child.wait().expect("its end").code(), Some(7));
        child.kill(); // nothing is there any more, and nothing else is hit
    }
}
