//! What a console says about an end that the agent cannot explain.
//!
//! Input: the console's last lines. Output: the line about a bug of the kernel's, or about the agent's end.
//! Not here: panics, which end the machine (the monitor knows those); splats that nobody asked about.

use std::time::{Duration, Instant};

use provium_vmm::{Machine, SplatKind};

/// Most bytes of the console that are looked through for the agent's end.
const TAIL: usize = 64 << 10;
/// Reports behind which a kernel ends the thread that it was working for.
const KILL: [SplatKind; 2] = [SplatKind::Oops, SplatKind::Bug];
/// How long after a thread's end the kernel may take to print why.
const LATE: Duration = Duration::from_millis(300);
/// Most characters of a line that is quoted.
const LONGEST: usize = 200;

/// The head of the console's latest report of a bug for which a kernel ends a thread; waited for a moment,
/// since it may come behind the end that it explains.
pub(super) fn latest_bug(machine: &Machine) -> Option<String> {
    let until = Instant::now() + LATE;
    loop {
        let (splats, _) = machine.splats(0);
        let mut kills = splats.iter().rev().filter(|splat| KILL.contains(&splat.kind));
        let left = until.saturating_duration_since(Instant::now());
        match kills.next() {
            None if !left.is_zero() => std::thread::sleep(left.min(Duration::from_millis(10))),
            found => return found.map(|splat| quoted(&splat.head)),
        }
    }
}

/// What the console says about the end of the agent's process.
pub(super) fn end_of_the_agent(machine: &Machine) -> Option<String> {
    agents_end_in(&machine.console_tail(TAIL))
}

fn agents_end_in(console: &str) -> Option<String> {
    let from = |sign: &'static str| {
        let lines = console.lines().rev();
        move |also: &str| {
            let mut lines = lines.clone();
            let line = lines.find(|line| line.contains(sign) && line.contains(also))?;
            Some(quoted(&line[line.find(sign)?..]))
        }
    };
    let memory = from("out of memory: Killed process ")("(provium-agent)")
        .or_else(|| from("Out of memory: Killed process ")("(provium-agent)"));
    let signal = from("the agent was ended by signal ")("provium-agent: ")
        .or_else(|| from("the agent ended with status ")("provium-agent: "));
    match (signal, memory) {
        (Some(signal), Some(memory)) => Some(format!("{signal}; {memory}")),
        (signal, memory) => signal.or(memory),
    }
}

fn quoted(line: &str) -> String {
    crate::error::beginning(line.trim_end(), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_agent_is_its_signal_and_what_the_kernel_says() {
        let memory = "[ 9.1] Out of memory: Killed process 36 (provium-agent) total-vm:1kB\n";
        let signal = "provium-agent: the agent was ended by signal 9\n";
        let killed = "Out of memory: Killed process 36 (provium-agent) total-vm:1kB";
        assert_eq!(agents_end_in(memory).as_deref(), Some(killed));
        let both = format!("the agent was ended by signal 9; {killed}");
        assert_eq!(agents_end_in(&format!("{memory}{signal}")), Some(both));
        assert_eq!(
            agents_end_in("provium-agent: the agent ended with status 3\n").as_deref(),
            Some("the agent ended with status 3")
        );
        assert_eq!(agents_end_in("Out of memory: Killed process 9 (tail)\n"), None);
    }
}
