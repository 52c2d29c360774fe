//! Several VMs saved at one instant, put back together, or resumed as another lab.
//!
//! Input: VMs of a lab and of the labs inside it, and a folder for each. Output: snapshots. All VMs stand
//! still before the first is saved, and none goes on before the last is. Not here: the files, which are the
//! monitor's; a description of the lab on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_vmm::snapshot::Snapshot;

use super::handle::{SaveMode, VmHandle, lock_all};
use super::members::{DeclareError, Lab, Member, Part};
use super::path::{PlacedVm, VmPath, placed_vms};
use super::store::HostStore;
use crate::options::boot::BootOptions;
use crate::options::spec::GuestSpec;
use crate::vm::error::{VmError, VmState};

/// A VM of a saved lab.
#[derive(Debug, Clone)]
pub struct SavedVm {
    /// Where it is in the lab.
    pub path: VmPath,
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
    /// None of them runs; the text says what they are instead.
    #[error("there is nothing to save: {0}")]
    Nothing(String),
    /// There is no folder for one.
    #[error("{0}")]
    Folder(String),
    /// One could not be saved.
    #[error("{error}")]
    Vm {
        /// Where it is in the lab.
        path: VmPath,
        /// Why.
        error: Box<VmError>,
    },
}

/// Why several VMs were not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreAllError {
    /// There is a snapshot of a VM, and no such VM.
    #[error("the snapshot has a VM `{0}`, and the lab has none of that name")]
    NoVm(VmPath),
    /// One could not be put back.
    #[error("{error}")]
    Vm {
        /// Where it is in the lab.
        path: VmPath,
        /// Why.
        error: Box<VmError>,
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
pub fn save_all<T>(
    all: &[PlacedVm<T>],
    mode: SaveMode,
    store: &dyn HostStore,
    folder: &mut dyn FnMut(&VmHandle) -> Result<PathBuf, String>,
) -> Result<Vec<SavedVm>, SaveAllError> {
    let runs = |placed: &&PlacedVm<T>| matches!(placed.vm.state(), VmState::Booted | VmState::Paused);
    let running: Vec<&PlacedVm<T>> = all.iter().filter(runs).collect();
    if running.is_empty() {
        return Err(SaveAllError::Nothing(idle(all)));
    }
    let vms: Vec<VmHandle> = running.iter().map(|placed| placed.vm.clone()).collect();
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
                path: running[at].path.clone(),
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
        path: running[at].path.clone(),
        error: Box::new(error),
    })
}

/// What VMs are of which none can be saved.
fn idle<T>(all: &[PlacedVm<T>]) -> String {
    let states = all.iter().map(|placed| {
        let mut vm = placed.vm.lock();
        let why = vm.why().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("VM `{}` is {}{why}", placed.path, vm.state())
    });
    match states.collect::<Vec<_>>() {
        none if none.is_empty() => "the lab has no VM".to_owned(),
        states => states.join(", "),
    }
}

/// Puts VMs back to the snapshots of the same paths, whatever they are doing; one without a snapshot did not
/// run when they were taken, and is ended if `ends` holds for it.
///
/// # Errors
/// [`RestoreAllError`]; without a VM for each snapshot nothing is done.
pub fn restore_all<T>(
    all: &[PlacedVm<T>],
    saved: &[(VmPath, Arc<Snapshot>)],
    ends: impl Fn(&PlacedVm<T>) -> bool,
    store: &dyn HostStore,
) -> Result<(), RestoreAllError> {
    for (path, _) in saved {
        if !all.iter().any(|placed| placed.path == *path) {
            return Err(RestoreAllError::NoVm(path.clone()));
        }
    }
    for placed in all {
        match saved.iter().find(|(path, _)| *path == placed.path) {
            Some((path, snapshot)) => {
                let put_back = placed.vm.put_back(snapshot, store);
                put_back.map_err(|error| RestoreAllError::Vm {
                    path: path.clone(),
                    error: Box::new(error),
                })?;
            }
            None if ends(placed) => placed.vm.lock().kill(),
            None => {}
        }
    }
    Ok(())
}

impl<T: Clone> Lab<T> {
    /// Saves its VMs that run, and those of the labs inside it, at one instant, each into a folder of its own
    /// below `folder`; they go on as they were.
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
        let vms = save_all(
            &placed_vms(self.members()),
            SaveMode::default(),
            store,
            &mut below,
        )?;
        Ok(LabSnapshot { vms })
    }

    /// Puts its VMs, and those of the labs inside it, back to a snapshot of the lab, whatever they are doing.
    ///
    /// # Errors
    /// [`RestoreAllError`].
    pub fn restore_all(&self, snapshot: &LabSnapshot, store: &dyn HostStore) -> Result<(), RestoreAllError> {
        let saved = snapshot.vms.iter();
        let saved: Vec<_> = saved
            .map(|vm| (vm.path.clone(), Arc::clone(&vm.snapshot)))
            .collect();
        restore_all(&placed_vms(self.members()), &saved, |_| true, store)
    }
}

impl LabSnapshot {
    /// Another lab with the VMs and labs of the saved one, running; it can be made as often as one likes,
    /// beside the others.
    ///
    /// # Errors
    /// [`ResumeLabError`]; no VM is left.
    pub fn resume(&self, name: &str, store: &dyn HostStore) -> Result<Lab, ResumeLabError> {
        let lab = Lab::new(name);
        let resumed = self.vms.iter().try_for_each(|saved| {
            let inside = inner_lab(&lab, &saved.path.labs)?;
            let vm = inside.declare(&saved.path.name, saved.spec.clone(), saved.options.clone())?;
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

/// The lab that these names lead to inside `lab`; those that are not there are made.
fn inner_lab(lab: &Lab, names: &[String]) -> Result<Lab, DeclareError> {
    let Some((name, rest)) = names.split_first() else {
        return Ok(lab.clone());
    };
    let inner = match lab.find(name) {
        Some(Member {
            part: Part::Lab(inner),
            ..
        }) => inner,
        _ => {
            let made = Lab::new(name.as_str());
            let part = Part::Lab(made.clone());
            lab.add(vec![Member { part, tag: () }])?;
            made
        }
    };
    inner_lab(&inner, rest)
}
