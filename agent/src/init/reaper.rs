//! PID 1 where nobody else is: reaps orphans, hears the power button.
//!
//! Input: signals, and events of input devices.
//! Output: nothing returns from it.
//! Not here: starting the agent again when it has died; the host knows the guest as dead then, and a second
//! agent would have lost what the test had built up.

use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, wait};

use crate::console::say;
use crate::{power, root, sys};

/// Signals that end the machine, each with whether it restarts: `poweroff`, `halt` and `reboot` of busybox
/// send USR2, USR1 and TERM; PWR comes from whoever watches the supply; INT is the kernel's for Ctrl-Alt-Del.
const ENDS: [(Signal, bool); 5] = [
    (Signal::USR2, false),
    (Signal::USR1, false),
    (Signal::POWER, false),
    (Signal::TERM, true),
    (Signal::INT, true),
];

/// Size in bytes of an `input_event` on x86-64.
const EVENT: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const PRESSED: i32 = 1;

/// Descriptors on which PID 1 hears that the machine is to end.
pub(super) struct EndRequests {
    signals: Option<OwnedFd>,
    buttons: Vec<OwnedFd>,
}

/// Starts to listen. What comes from now on is heard, whenever [`run`] is called.
pub(super) fn listen() -> EndRequests {
    let wanted: Vec<_> = ENDS
        .iter()
        .map(|(signal, _)| *signal)
        .chain([Signal::CHILD])
        .collect();
    let blocked = sys::block_signals(&wanted);
    EndRequests {
        signals: blocked.and_then(|()| sys::signalfd(&wanted)).ok(),
        buttons: buttons(),
    }
}

/// Reaps until the machine is to end.
pub(super) fn run(agent: Pid, ends: EndRequests) -> ! {
    let EndRequests { signals, buttons } = ends;
    let Some(signals) = signals else { only_reap(agent) };
    loop {
        reap(agent, WaitOptions::NOHANG);
        let sources = [&signals].into_iter().chain(&buttons);
        let mut fds: Vec<_> = sources.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let end = signalled(&signals).or_else(|| buttons.iter().any(pressed).then_some(false));
        if let Some(reboot) = end {
            power::shut_down(root::open_proc(c"/proc").ok().as_ref(), reboot);
        }
    }
}

/// Reaps only, on a kernel without signalfd.
fn only_reap(agent: Pid) -> ! {
    loop {
        reap(agent, WaitOptions::empty());
        // Childless: there is nobody left who could make a child.
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Takes the status of every child that has ended, ours or inherited.
fn reap(agent: Pid, options: WaitOptions) {
    while let Ok(Some((pid, status))) = wait(options) {
        if pid == agent {
            match status.terminating_signal() {
                Some(signal) => say!("the agent was ended by signal {signal}"),
                None => say!(
                    "the agent ended with status {}",
                    status.exit_status().unwrap_or_default()
                ),
            }
        }
    }
}

/// Whether a signal that ends the machine came, and if so whether to restart.
fn signalled(signals: &OwnedFd) -> Option<bool> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    loop {
        match rustix::io::read(signals, &mut info) {
            Ok(n) if n == info.len() => {
                let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                let end = ENDS
                    .iter()
                    .find(|(signal, _)| signal.as_raw().cast_unsigned() == number);
                if let Some((_, reboot)) = end {
                    return Some(*reboot);
                }
            }
            Err(Errno::INTR) => {}
            _ => return None,
        }
    }
}

/// The input devices there are; the ACPI power button is one of them.
fn buttons() -> Vec<OwnedFd> {
    let Ok(folder) = std::fs::read_dir("/dev/input") else {
        return Vec::new();
    };
    let events = folder
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_event(path));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    events
        .filter_map(|path| rustix::fs::openat(CWD, &path, flags, Mode::empty()).ok())
        .collect()
}

fn is_event(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"event"))
}

/// Takes a device's events; whether the power key was pressed.
fn pressed(device: &OwnedFd) -> bool {
    let mut events = [0; 16 * EVENT];
    let mut pressed = false;
    while let Ok(n @ 1..) = rustix::io::read(device, &mut events) {
        pressed |= events[..n].chunks_exact(EVENT).any(is_press);
    }
    pressed
}

fn is_press(event: &[u8]) -> bool {
    let half = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    (half(16), half(18), value) == (EV_KEY, KEY_POWER, PRESSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut event = vec![0xab; 16];
        event.extend(kind.to_ne_bytes());
        event.extend(code.to_ne_bytes());
        event.extend(value.to_ne_bytes());
        event
    }

    #[test]
    fn only_the_power_key_going_down_counts() {
        let (device, kernel) = pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
        let send = |events: &[Vec<u8>]| {
            rustix::io::write(&kernel, &events.concat()).expect("written");
            pressed(&device)
        };
        assert!(!pressed(&device), "nothing happened");
        assert!(!send(&[
            event(EV_KEY, 30, 1),
            event(0, 0, 0),
            event(2, KEY_POWER, 1)
        ]));
        assert!(!send(&[event(EV_KEY, KEY_POWER, 0), event(EV_KEY, KEY_POWER, 2)]));
        assert!(send(&[
            event(EV_KEY, 30, 1),
            event(EV_KEY, KEY_POWER, 1),
            event(0, 0, 0)
        ]));
        let many: Vec<_> = (0..40)
            .map(|_| event(0, 0, 0))
            .chain([event(EV_KEY, KEY_POWER, 1)])
            .collect();
        assert!(send(&many), "in a later read");
    }
}
