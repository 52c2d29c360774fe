//! A run's processes, which are known by a variable of their environment.
//!
//! Input: the variable's value. Output: pids, with what each is in the run; signals to them.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The variable.
pub(super) const MARK: &str = "PROVIUM_TORTURE";

/// A process of a run.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: Pid,
    parent: i32,
    name: String,
}

/// All processes with this mark that live. One that has begun to end has no environment any more.
pub(super) fn marked(mark: &str) -> Vec<Process> {
    let variable = format!("{MARK}={mark}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find(|have| *have == variable.as_bytes())?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, fields) = stat.rsplit_once(") ")?;
        Some(Process {
            pid: Pid::from_raw(pid)?,
            parent: fields.split(' ').nth(1)?.parse().ok()?,
            name: name.split_once('(')?.1.to_owned(),
        })
    };
    entries
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Sends a signal to all; some may have ended.
pub(super) fn signal(processes: &[Process], signal: Signal) {
    for process in processes {
        let _ = kill_process(process.pid, signal);
    }
}

/// Kills what is left of a run after `limit`, and says what it was.
pub(super) fn left(mark: &str, limit: Duration) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return Vec::new();
        }
        if begin.elapsed() > limit {
            signal(&left, Signal::KILL);
            return left
                .iter()
                .map(|process| format!("process {} ({})", process.name, process.pid))
                .collect();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The chain of a run's own processes below the first: who reports, who waits, who runs files.
pub(super) fn chain(first: Pid, processes: &[Process]) -> Vec<Pid> {
    let mut chain = vec![first];
    while let Some(last) = chain.last().copied() {
        let own = |process: &&Process| process.parent == last.as_raw_pid();
        match processes.iter().find(own) {
            Some(next) if chain.len() < 3 => chain.push(next.pid),
            _ => break,
        }
    }
    chain
}
