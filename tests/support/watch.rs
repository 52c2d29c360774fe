//! A guest that hangs, caught while there is still something to see.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use provium_vmm::{Machine, SaveOptions};

use crate::snapshots::state_of;

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kills the machine when it is not [`fed`](Self::feed) in time, and shows what its vCPUs were at. Every call
/// that waits for the guest fails then.
pub struct Watch {
    feed: Option<Sender<(String, Weak<Machine>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Watch {
    fn default() -> Watch {
        let (feed, fed) = channel::<(String, Weak<Machine>)>();
        let thread = std::thread::spawn(move || {
            let Ok(mut watched) = fed.recv() else { return };
            loop {
                match fed.recv_timeout(PATIENCE) {
                    Ok(next) => watched = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let (step, machine) = &watched;
                        let Some(machine) = machine.upgrade() else {
                            continue;
                        };
                        eprintln!(
                            "nothing moved for {PATIENCE:?} in {step}:\n{}",
                            describe(&machine)
                        );
                        machine.kill();
                        return;
                    }
                }
            }
        });
        Watch {
            feed: Some(feed),
            thread: Some(thread),
        }
    }
}

impl Watch {
    /// Something moves: what is done next, and to which machine.
    pub fn feed(&self, step: impl Into<String>, machine: &Arc<Machine>) {
        if let Some(feed) = &self.feed {
            // A watch that has bitten hears nothing more.
            let _ = feed.send((step.into(), Arc::downgrade(machine)));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.feed = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// vCPUs, devices and console.
fn describe(machine: &Machine) -> String {
    let console = machine.console_tail(2000);
    let folder = tempfile::tempdir().expect("a folder");
    let saved = machine
        .pause()
        .and_then(|()| machine.save(folder.path(), SaveOptions::default()));
    if let Err(error) = saved {
        return format!("it cannot be looked at: {error}\nconsole:\n{console}");
    }
    let mut state = state_of(folder.path());
    let mut text = String::new();
    for (index, vcpu) in state.vcpus.iter_mut().enumerate() {
        let lapic = |at: usize| {
            let bytes = &vcpu.lapic.regs[at..at + 4];
            u32::from_le_bytes([bytes[0] as u8, bytes[1] as u8, bytes[2] as u8, bytes[3] as u8])
        };
        let (timer, deadline) = (lapic(0x320), vcpu.msrs.iter().find(|msr| msr.index == 0x6e0));
        let requests: Vec<u32> = (0..8).map(|word| lapic(0x200 + 16 * word)).collect();
        let services: Vec<u32> = (0..8).map(|word| lapic(0x100 + 16 * word)).collect();
        text += &format!(
            "vCPU {index}: mp_state {}, timer {timer:#x}, deadline {deadline:?}, tsc {:#x}, IRR {requests:x?}, \
             ISR {services:x?}\n{:x?}\n{:x?}\n",
            vcpu.mp_state.mp_state, vcpu.tsc, vcpu.regs, vcpu.events
        );
    }
    text + &format!(
        "clock {}\n{:#?}\nconsole:\n{console}",
        state.chips.clock_ns, state.devices
    )
}
