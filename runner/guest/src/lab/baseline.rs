//! Every VM as it was at one point, again and again.
//!
//! Input: VMs at that point. Output: the same each time they are put back. A VM that runs is reset in place;
//! one that has died or was shut down is resumed anew; one that did not run is ended. Not here: VMs that were
//! closed, which are gone.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use provium_vmm::snapshot::Snapshot;
use tempfile::TempDir;

use super::handle::VmHandle;
use super::store::HostStore;
use crate::vm::error::{VmError, VmState};

/// VMs and what they were; the files go with it.
#[derive(Debug)]
pub struct Baseline {
    vms: Vec<(VmHandle, Option<RunningState>)>,
    _folder: TempDir,
}

/// What a VM was that ran.
#[derive(Debug)]
struct RunningState {
    snapshot: Arc<Snapshot>,
    paused: bool,
}

/// Why there is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// There is no folder for the files.
    #[error("no folder for the baseline: {0}")]
    NoFolder(String),
    /// There is no folder for a VM.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A VM could not be saved.
    #[error(transparent)]
    Vm(#[from] VmError),
}

impl Baseline {
    /// Saves each VM that runs, unless it is still what it came from.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn take(vms: Vec<VmHandle>, store: &dyn HostStore) -> Result<Baseline, BaselineError> {
        let within = store.temporary().map_err(BaselineError::NoFolder)?;
        let made = tempfile::Builder::new()
            .prefix("provium-baseline-")
            .tempdir_in(&within);
        let folder = made.map_err(|error| BaselineError::Folder { path: within, error })?;
        let mut taken = Vec::with_capacity(vms.len());
        for (index, vm) in vms.into_iter().enumerate() {
            let state = vm.state();
            let running = match state {
                VmState::Booted | VmState::Paused => {
                    let path = folder.path().join(index.to_string());
                    let snapshot = vm.baseline(&path, store)?;
                    let snapshot = snapshot.map_err(|error| BaselineError::Folder { path, error })?;
                    Some(RunningState {
                        snapshot,
                        paused: state == VmState::Paused,
                    })
                }
                VmState::Created | VmState::Shutdown | VmState::Dead => None,
            };
            taken.push((vm, running));
        }
        Ok(Baseline {
            vms: taken,
            _folder: folder,
        })
    }

    /// Puts every VM back.
    ///
    /// # Errors
    /// The first failure; the VMs behind it are as they were.
    pub fn put_back(&self, store: &dyn HostStore) -> Result<(), VmError> {
        for (vm, running) in self.vms.iter().filter(|(vm, _)| !vm.is_closed()) {
            let Some(running) = running else {
                vm.lock().kill();
                continue;
            };
            vm.put_back(&running.snapshot, store)?;
            if running.paused {
                vm.lock().pause()?;
            }
        }
        Ok(())
    }
}
