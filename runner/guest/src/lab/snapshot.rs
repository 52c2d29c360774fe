//! Several VMs saved at one instant, put back together, or resumed as another lab.
//!
//! Input: VMs and a folder for each. Output: snapshots. All VMs stand still before the first is saved, and
//! none goes on before the last is. Not here: the files, which are the monitor's; a description of the lab on
//! the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_vmm::snapshot::Snapshot;

use super::handle::{SaveMode, VmHandle, lock_all};
use super::members::{DeclareError, Lab};
use super::store::HostStore;
use crate::options::boot::BootOptions;
use crate::options::spec::GuestSpec;
use crate::vm::error::{VmError, VmState};

/// A VM of a saved lab.
#[derive(Debug, Clone)]
pub struct SavedVm {
    /// Its name.
    pub name: String,
    /// What it boots.
    pub spec: GuestSpec,
    /// With which changes.
    pub options: BootOptions,
    /// The folder of its snapshot.
    pub folder: PathBuf,
    /// Its snapshot.
    pub snapshot: Arc<Snapshot>,
}

/// The VMs of a lab that ran, as they were at one instant.
#[derive(Debug, Clone)]
pub struct LabSnapshot {
    /// In the order in which they came.
    pub vms: Vec<SavedVm>,
}

/// Why several VMs were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveAllError {
    /// There is no folder for one.
    #[error("{0}")]
    Folder(String),
    /// One could not be saved.
    #[error("{error}")]
    Vm {
        /// Its name.
        name: String,
        /// Why.
        error: VmError,
    },
}

/// Why several VMs were not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreAllError {
    /// There is a snapshot of a VM, and no such VM.
    #[error("the snapshot has a VM `{0}`, and the lab has none of that name")]
    NoVm(String),
    /// One could not be put back.
    #[error("{error}")]
    Vm {
        /// Its name.
        name: String,
        /// Why.
        error: VmError,
    },
}

/// Why no lab came of a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ResumeLabError {
    /// One cannot be declared.
    #[error(transparent)]
    Declare(#[from] DeclareError),
    /// One could not be resumed.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// Saves those of the VMs that run or are paused, each into the folder that `folder` makes for it. No lock is
/// held while that is asked. They go on as they were, also after an error.
///
/// # Errors
/// [`SaveAllError`]; folders that were made before it are left.
pub fn save_all(
    vms: &[VmHandle],
    mode: SaveMode,
    store: &dyn HostStore,
    folder: &mut dyn FnMut(&VmHandle) -> Result<PathBuf, String>,
) -> Result<Vec<SavedVm>, SaveAllError> {
    let runs = |vm: &&VmHandle| matches!(vm.state(), VmState::Booted | VmState::Paused);
    let vms: Vec<VmHandle> = vms.iter().filter(runs).cloned().collect();
    let folders: Vec<PathBuf> = vms
        .iter()
        .map(folder)
        .collect::<Result<_, _>>()
        .map_err(SaveAllError::Folder)?;
    let mut locked = lock_all(&vms);
    let mut paused = Vec::new();
    let mut standing = Ok(());
    for (at, vm) in locked.iter_mut().enumerate() {
        if vm.state() != VmState::Booted {
            continue;
        }
        standing = vm.pause().map_err(|error| (at, error));
        if standing.is_err() {
            break;
        }
        paused.push(at);
    }
    let saved: Result<Vec<SavedVm>, (usize, VmError)> = standing.and_then(|()| {
        let saved = vms.iter().zip(&folders).zip(&mut locked).enumerate();
        let saved = saved.map(|(at, ((vm, folder), locked))| {
            let snapshot = vm.save_locked(locked, folder, mode, store);
            Ok(SavedVm {
                name: vm.name().to_owned(),
                spec: vm.spec().clone(),
                options: vm.options(),
                folder: folder.clone(),
                snapshot: snapshot.map_err(|error| (at, error))?,
            })
        });
        saved.collect()
    });
    let mut going_on = Ok(());
    for at in paused {
        going_on = going_on.and(locked[at].resume().map_err(|error| (at, error)));
    }
    // A VM that does not go on is worse than one that was not saved.
    going_on.and(saved).map_err(|(at, error)| SaveAllError::Vm {
        name: vms[at].name().to_owned(),
        error,
    })
}

/// Puts the VMs back to snapshots, by name, whatever they are doing; one without a snapshot did not run when
/// they were taken, and is ended.
///
/// # Errors
/// [`RestoreAllError`]; without a VM for each snapshot nothing is done.
pub fn restore_all(
    vms: &[VmHandle],
    saved: &[(String, Arc<Snapshot>)],
    store: &dyn HostStore,
) -> Result<(), RestoreAllError> {
    for (name, _) in saved {
        if !vms.iter().any(|vm| vm.name() == name) {
            return Err(RestoreAllError::NoVm(name.clone()));
        }
    }
    for vm in vms {
        match saved.iter().find(|(name, _)| name == vm.name()) {
            Some((name, snapshot)) => {
                vm.put_back(snapshot, store)
                    .map_err(|error| RestoreAllError::Vm {
                        name: name.clone(),
                        error,
                    })?;
            }
            None => vm.lock().kill(),
        }
    }
    Ok(())
}

impl<T> Lab<T> {
    /// Saves its VMs that run, at one instant, each into a folder of its own below `folder`; they go on as
    /// they were.
    ///
    /// # Errors
    /// [`SaveAllError`].
    pub fn snapshot(&self, folder: &Path, store: &dyn HostStore) -> Result<LabSnapshot, SaveAllError> {
        let mut number = 0;
        let mut below = |_: &VmHandle| {
            let at = folder.join(number.to_string());
            number += 1;
            std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
            Ok(at)
        };
        let vms = save_all(&self.vms(), SaveMode::default(), store, &mut below)?;
        Ok(LabSnapshot { vms })
    }

    /// Puts its VMs back to a snapshot of the lab, whatever they are doing.
    ///
    /// # Errors
    /// [`RestoreAllError`].
    pub fn restore_all(&self, snapshot: &LabSnapshot, store: &dyn HostStore) -> Result<(), RestoreAllError> {
        let saved = snapshot.vms.iter();
        let saved: Vec<_> = saved
            .map(|vm| (vm.name.clone(), Arc::clone(&vm.snapshot)))
            .collect();
        restore_all(&self.vms(), &saved, store)
    }
}

impl LabSnapshot {
    /// Another lab with the VMs of the saved one, running; it can be made as often as one likes, beside the
    /// others.
    ///
    /// # Errors
    /// [`ResumeLabError`]; no VM is left.
    pub fn resume(&self, name: &str, store: &dyn HostStore) -> Result<Lab, ResumeLabError> {
        let lab = Lab::new(name);
        let resumed = self.vms.iter().try_for_each(|saved| {
            let vm = lab.declare(&saved.name, saved.spec.clone(), saved.options.clone())?;
            Ok(vm.restore(&saved.snapshot, store)?)
        });
        match resumed {
            Ok(()) => Ok(lab),
            Err(error) => {
                lab.close_all(store);
                Err(error)
            }
        }
    }
}
