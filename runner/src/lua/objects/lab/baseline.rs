//! `provium.reset_between_tests`: every VM of the file as it was when the file's chunk had run.
//!
//! Input: the VMs at that moment. Output: the same before each test. A VM that runs is put back in place; one
//! that has died or was shut down is resumed anew; one that did not run is ended. Not here: VMs of tests,
//! which end with them; VMs that a test has closed, which are gone; and connections, which no reset can live
//! through.

use std::sync::Arc;

use provium_vmm::snapshot::Snapshot;
use tempfile::TempDir;

use crate::guest::VmState;
use crate::lua::objects::vm::handle::Vm;

/// A snapshot of each VM of a file that ran, for resets before each test.
pub(crate) struct Baseline {
    vms: Vec<(Vm, Option<Running>)>,
    _folder: TempDir,
}

/// The snapshot of a VM that ran.
struct Running {
    snapshot: Arc<Snapshot>,
    paused: bool,
}

impl Baseline {
    /// Takes the baseline of these VMs; fails where one cannot be saved.
    pub(crate) fn take(vms: Vec<Vm>) -> Result<Baseline, String> {
        let made = tempfile::Builder::new().prefix("provium-baseline-").tempdir();
        let folder = made.map_err(|error| format!("no folder for the baseline: {error}"))?;
        let mut saved = Vec::new();
        for (index, vm) in vms.into_iter().enumerate() {
            let state = vm.core().borrow_mut().state();
            let running = match state {
                VmState::Booted | VmState::Paused => {
                    let at = folder.path().join(index.to_string());
                    std::fs::create_dir(&at).map_err(|error| format!("{}: {error}", at.display()))?;
                    Some(Running {
                        snapshot: vm.save(&at, true, false).map_err(|error| error.to_string())?,
                        paused: state == VmState::Paused,
                    })
                }
                VmState::Created | VmState::Shutdown | VmState::Dead => None,
            };
            saved.push((vm, running));
        }
        Ok(Baseline {
            vms: saved,
            _folder: folder,
        })
    }

    /// Resets every VM to the baseline.
    pub(crate) fn put_back(&self) -> Result<(), String> {
        let open = self.vms.iter().filter(|(vm, _)| !vm.is_closed());
        for (vm, running) in open {
            let Some(running) = running else {
                vm.core().borrow_mut().kill();
                continue;
            };
            let entered = vm.enter(&running.snapshot, true);
            entered.map_err(|error| format!("provium.reset_between_tests: {error}"))?;
            if running.paused {
                let paused = vm.core().borrow_mut().pause();
                paused.map_err(|error| format!("provium.reset_between_tests: {error}"))?;
            }
        }
        Ok(())
    }
}
