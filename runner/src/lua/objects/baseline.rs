//! `provium.reset_between_tests`: every VM of the file as it was when the file's chunk had run.
//!
//! Enters: the root lab at that moment, with the labs inside it. Leaves: the same before each test. A VM that runs is put
//! back in place; one that has died or was shut down is resumed anew; one that did not run is ended. Absent on purpose:
//! VMs of tests, which end with them; and VMs that a test has closed, which are gone.

use std::sync::Arc;

use provium_vmm::snapshot::Snapshot;
use tempfile::TempDir;

use crate::guest::VmState;
use crate::lua::objects::vm::Vm;
use crate::lua::test::file::File;

/// See the module.
pub(crate) struct Baseline {
    vms: Vec<(Vm, Option<Running>)>,
    _folder: TempDir,
}

/// A VM that ran.
struct Running {
    snapshot: Arc<Snapshot>,
    paused: bool,
}

impl Baseline {
    /// Takes the baseline of the file's root lab.
    pub(crate) fn take(file: &File) -> Result<Baseline, String> {
        if let Some((what, place)) = file.open_stream(None) {
            return Err(format!(
                "provium.reset_between_tests: {what} that was opened at {place} is still open; no connection can live \
                 through a reset, so open it in the tests"
            ));
        }
        let made = tempfile::Builder::new().prefix("provium-baseline-").tempdir();
        let folder = made.map_err(|error| format!("no folder for the baseline: {error}"))?;
        let mut vms = Vec::new();
        for (index, vm) in file.lab.all_vms().into_iter().enumerate() {
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
            vms.push((vm, running));
        }
        Ok(Baseline { vms, _folder: folder })
    }

    /// Puts every VM back.
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
