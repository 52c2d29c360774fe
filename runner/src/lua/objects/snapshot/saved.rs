//! `Snapshot` and `LabSnapshot`: saved VMs as Lua sees them.
//!
//! Input: VMs that run. Output: folders on the host. A snapshot without a path is the test's own and goes
//! with the Lua value; in a fixture's source it is what the fixture will be. Not here: restoring, which
//! `calls` has; and the format, which is the monitor's.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use provium_guest::{SaveAllError, SaveMode, VmError, VmHandle, VmPath, VmState, placed_vms, save_all};
use provium_vmm::snapshot::Snapshot as Saved;
use tempfile::TempDir;

use super::folder::{self, new_folder, remove, temporary};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Raise, none, one};
use crate::lua::objects::lab::handle::{Lab, MemberTag};
use crate::lua::objects::vm::handle::Vm;
use crate::lua::state::scope::Opened;
use crate::stock::{FixtureMeta, FixtureVm};

/// A VM of a lab and where it is in there.
pub(super) type PlacedVm = provium_guest::PlacedVm<MemberTag>;

/// A saved VM as Lua has it.
#[derive(Clone)]
pub(crate) struct Snapshot(Rc<SavedVm>);

/// A saved VM and the folder of its files.
struct SavedVm {
    vm: FixtureVm,
    folder: PathBuf,
    /// The snapshot, until it is deleted.
    saved: RefCell<Option<Arc<Saved>>>,
    /// The folder, if it goes with the value.
    _own: Option<TempDir>,
}

/// A saved lab as Lua has it.
#[derive(Clone)]
pub(crate) struct LabSnapshot(Rc<SavedLab>);

/// The saved VMs of a lab and the folder of their files.
struct SavedLab {
    folder: PathBuf,
    vms: Vec<Snapshot>,
    /// The folder, if it goes with the value.
    _own: Option<TempDir>,
}

impl Snapshot {
    /// Saves `vm` in the right place: at `path`, in the build of a fixture, or in a folder of its own.
    pub(crate) fn take(call: &Call<'_>, vm: &Vm, path: Option<&Path>) -> Result<Snapshot, Raise> {
        vm.open(call)?;
        let file = call.file();
        refuse_streams(call, vm)?;
        let (name, folder, own) = match (path, file.building()) {
            (Some(path), _) => {
                new_folder(path).map_err(|message| call.fail(message))?;
                (String::new(), path.to_owned(), None)
            }
            (None, Some(building)) => {
                let made = FixtureMeta::vm_folder(building.dir(), file.next_snapshot());
                let (name, folder) = made.map_err(|message| call.fail(message))?;
                (name, folder, None)
            }
            (None, None) => {
                let store = file.job().fixtures.until(&file.cancel());
                let own = temporary(&store).map_err(|message| call.fail(message))?;
                (String::new(), own.path().to_owned(), Some(own))
            }
        };
        // One that has a place of its own must not need another.
        let mode = SaveMode {
            on_parent: path.is_none(),
            lasting: own.is_none(),
        };
        let saved = vm.save(&file, &folder, mode).map_err(|error| {
            remove(&folder);
            vm.failed(call, error)
        })?;
        Ok(Snapshot(Rc::new(SavedVm {
            vm: describe(vm, Vec::new(), name),
            folder,
            saved: RefCell::new(Some(saved)),
            _own: own,
        })))
    }

    /// The snapshot as a VM of the fixture that is being built, if it was taken for it.
    pub(crate) fn for_fixture(&self) -> Option<FixtureVm> {
        (!self.0.vm.folder.is_empty()).then(|| self.0.vm.clone())
    }

    /// Removes its files, unless that was done before.
    fn delete(&self) {
        if self.0.saved.take().is_some() {
            remove(&self.0.folder);
        }
    }

    /// The snapshot itself, unless it was deleted.
    pub(super) fn saved(&self, call: &Call<'_>) -> Result<Arc<Saved>, Raise> {
        let saved = self.0.saved.borrow().clone();
        saved.ok_or_else(|| {
            call.fail(format_args!(
                "the snapshot in {} was deleted",
                self.0.folder.display()
            ))
        })
    }
}

impl LabSnapshot {
    /// Saves every VM of the lab and of labs inside it that runs, all at one instant.
    pub(crate) fn take(call: &Call<'_>, lab: &Lab, path: Option<&Path>) -> Result<LabSnapshot, Raise> {
        let file = call.file();
        let all = placed_vms(lab.members_in_scope(call));
        for vm in all.iter().filter_map(|placed| placed.tag.vm.as_ref()) {
            if matches!(vm.handle().state(), VmState::Booted | VmState::Paused) {
                refuse_streams(call, vm)?;
            }
        }
        let store = file.job().fixtures.until(&file.cancel());
        let own = match (path, file.building()) {
            (None, None) => Some(temporary(&store).map_err(|message| call.fail(message))?),
            _ => None,
        };
        let folder = path
            .or(own.as_ref().map(TempDir::path))
            .or(file.building().map(|building| building.dir()));
        let folder = folder.unwrap_or(Path::new("")).to_owned();
        let mode = SaveMode {
            on_parent: path.is_none(),
            lasting: own.is_none(),
        };
        let mut names = Vec::new();
        let mut folder_of = |_: &VmHandle| {
            if let (Some(path), true) = (path, names.is_empty()) {
                new_folder(path)?;
            }
            let (name, at) = FixtureMeta::vm_folder(&folder, file.next_snapshot())?;
            names.push(name);
            Ok(at)
        };
        let saved = save_all(&all, mode, &store, &mut folder_of);
        let saved = saved.map_err(|error| match error {
            SaveAllError::Nothing(_) if lab.has_more(call) => call.fail(format_args!(
                "{error}; in a test, provium's are the test's own: provium:lab(\"all\"):include(…) takes the file's"
            )),
            SaveAllError::Nothing(_) | SaveAllError::Folder(_) => call.fail(error),
            SaveAllError::Vm { path, error } => failed(call, &all, &path, *error),
        })?;
        let taken = saved.into_iter().zip(names).filter_map(|(saved, name)| {
            let vm = vm_at(&all, &saved.path)?;
            Some(Snapshot(Rc::new(SavedVm {
                vm: describe(vm, saved.path.labs, name),
                folder: saved.folder,
                saved: RefCell::new(Some(saved.snapshot)),
                _own: None,
            })))
        });
        let taken = taken.collect();
        let snapshot = LabSnapshot(Rc::new(SavedLab {
            folder,
            vms: taken,
            _own: own,
        }));
        if path.is_some() {
            let meta = FixtureMeta {
                lab: true,
                vms: snapshot.vms(),
            };
            meta.write(&snapshot.0.folder)
                .map_err(|message| call.fail(message))?;
        }
        Ok(snapshot)
    }

    /// Each VM of it and its snapshot.
    pub(super) fn saved(&self, call: &Call<'_>) -> Result<Vec<(VmPath, Arc<Saved>)>, Raise> {
        let saved = self.0.vms.iter();
        saved.map(|vm| Ok((path_of(&vm.0.vm), vm.saved(call)?))).collect()
    }

    /// The VMs of the lab, as a fixture describes them.
    pub(crate) fn vms(&self) -> Vec<FixtureVm> {
        self.0.vms.iter().map(|snapshot| snapshot.0.vm.clone()).collect()
    }
}

/// Where a saved VM is in the lab it was saved with.
pub(super) fn path_of(vm: &FixtureVm) -> VmPath {
    VmPath {
        labs: vm.labs.clone(),
        name: vm.name.clone(),
    }
}

/// The VM at this path, as Lua has it.
fn vm_at<'a>(all: &'a [PlacedVm], path: &VmPath) -> Option<&'a Vm> {
    let placed = all.iter().find(|placed| placed.path == *path)?;
    placed.tag.vm.as_ref()
}

/// A failure of the VM at this path, in the words of a call.
pub(super) fn failed(call: &Call<'_>, all: &[PlacedVm], path: &VmPath, error: VmError) -> Raise {
    match vm_at(all, path) {
        Some(vm) => vm.failed(call, error),
        None => call.fail(error),
    }
}

/// Refuses a VM in which a stream or a worker is open: nobody would hold its other end in a snapshot.
fn refuse_streams(call: &Call<'_>, vm: &Vm) -> Result<(), Raise> {
    let mut opened = call.file().scopes.opened().into_iter();
    let held = opened.find(|opened| opened.sort.is_connection() && opened.vm == vm.name());
    match held {
        None => Ok(()),
        Some(Opened { what, site, .. }) => Err(call.fail(format_args!(
            "VM `{}` has {what} open, opened at {site}; close it first",
            vm.name()
        ))),
    }
}

/// Describes a VM, in these labs inside the saved one, for whoever makes it again from a snapshot in
/// `folder`.
pub(crate) fn describe(vm: &Vm, labs: Vec<String>, folder: String) -> FixtureVm {
    FixtureVm {
        labs,
        name: vm.name().to_owned(),
        profile: vm.profile().name.clone(),
        options: vm.handle().options(),
        folder,
    }
}

impl Kind for Snapshot {
    const NAME: &'static str = "Snapshot";
    const PREFIX: &'static str = "snapshot";

    fn methods() -> Vec<Method<Snapshot>> {
        vec![
            Method {
                name: "path",
                signature: "(): string",
                doc: "The folder it is in.",
                run: |call, snapshot| one(call.lua(), snapshot.0.folder.to_string_lossy().into_owned()),
            },
            Method {
                name: "size",
                signature: "(): integer",
                doc: "Bytes it takes on the disk; 0 once it is gone.",
                run: |call, snapshot| one(call.lua(), folder::size(&snapshot.0.folder)),
            },
            Method {
                name: "delete",
                signature: "()",
                doc: "Removes it; calling it again does nothing. VMs that came from it go on.",
                run: |_, snapshot| {
                    snapshot.delete();
                    none()
                },
            },
        ]
    }

    fn describe(&self) -> String {
        format!("Snapshot of VM `{}`", self.0.vm.name)
    }

    fn same(&self, other: &Snapshot) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Kind for LabSnapshot {
    const NAME: &'static str = "LabSnapshot";
    const PREFIX: &'static str = "snapshot";

    fn methods() -> Vec<Method<LabSnapshot>> {
        vec![
            Method {
                name: "path",
                signature: "(): string",
                doc: "The folder it is in.",
                run: |call, lab| one(call.lua(), lab.0.folder.to_string_lossy().into_owned()),
            },
            Method {
                name: "size",
                signature: "(): integer",
                doc: "Bytes it takes on the disk; 0 once it is gone.",
                run: |call, lab| {
                    let total: u64 = lab.0.vms.iter().map(|vm| folder::size(&vm.0.folder)).sum();
                    one(call.lua(), total)
                },
            },
            Method {
                name: "delete",
                signature: "()",
                doc: "Removes it; calling it again does nothing. VMs that came from it go on.",
                run: |_, lab| {
                    lab.0.vms.iter().for_each(Snapshot::delete);
                    none()
                },
            },
        ]
    }

    fn describe(&self) -> String {
        format!("LabSnapshot of {} VM(s)", self.0.vms.len())
    }

    fn same(&self, other: &LabSnapshot) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
