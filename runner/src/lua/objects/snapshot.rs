//! `Snapshot` and `LabSnapshot`: saved VMs as Lua sees them, and what takes and restores them.
//!
//! Enters: calls of a test. Leaves: folders on the host, VMs in the state they had. A snapshot without a path is the
//! test's own and goes with the Lua value; in a fixture's source it is what the fixture will be. Absent on purpose: the
//! format, which is the monitor's.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use mlua::Value;
use provium_vmm::snapshot::{Snapshot as Saved, files};
use tempfile::TempDir;

use crate::fixture::Input;
use crate::guest::{FixtureMeta, FixtureVm, VmState, read_meta};
use crate::lua::api::binding::{Kind, Method, this, type_name};
use crate::lua::api::call::{Answer, Call, Raise, none, one};
use crate::lua::objects::lab::Lab;
use crate::lua::objects::vm::Vm;

/// A saved VM.
#[derive(Clone)]
pub(crate) struct Snapshot(Rc<Shared>);

struct Shared {
    vm: FixtureVm,
    folder: PathBuf,
    saved: RefCell<Option<Arc<Saved>>>,
    _own: Option<TempDir>,
}

/// A saved lab.
#[derive(Clone)]
pub(crate) struct LabSnapshot(Rc<SharedLab>);

struct SharedLab {
    folder: PathBuf,
    vms: Vec<Snapshot>,
    _own: Option<TempDir>,
}

impl Snapshot {
    /// Saves `vm` in the right place: at `path`, in the build of a fixture, or in a folder of its own.
    pub(crate) fn take(call: &Call<'_>, vm: &Vm, path: Option<&Path>) -> Result<Snapshot, Raise> {
        vm.open(call)?;
        let file = call.file();
        refuse_streams(call, vm)?;
        let io = |error: std::io::Error| call.fail(format_args!("no folder for the snapshot: {error}"));
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
                let own = tempfile::Builder::new()
                    .prefix("provium-snapshot-")
                    .tempdir()
                    .map_err(io)?;
                (String::new(), own.path().to_owned(), Some(own))
            }
        };
        // One that has a place of its own must not need another.
        let saved = vm.save(&folder, path.is_none(), own.is_none()).map_err(|error| {
            remove(&folder);
            vm.failed(call, error)
        })?;
        Ok(Snapshot(Rc::new(Shared {
            vm: describe(vm, name),
            folder,
            saved: RefCell::new(Some(saved)),
            _own: own,
        })))
    }

    /// What it is for the fixture that is being built, if it was taken for it.
    pub(crate) fn for_fixture(&self) -> Option<FixtureVm> {
        (!self.0.vm.folder.is_empty()).then(|| self.0.vm.clone())
    }

    /// Removes its files, unless that was done before.
    fn delete(&self) {
        if self.0.saved.take().is_some() {
            remove(&self.0.folder);
        }
    }

    fn saved(&self, call: &Call<'_>) -> Result<Arc<Saved>, Raise> {
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
    /// Saves every VM of the lab that runs, all at one instant.
    pub(crate) fn take(call: &Call<'_>, lab: &Lab, path: Option<&Path>) -> Result<LabSnapshot, Raise> {
        let file = call.file();
        let vms: Vec<Vm> = lab
            .vms()
            .into_iter()
            .filter(|vm| matches!(vm.core().borrow_mut().state(), VmState::Booted | VmState::Paused))
            .collect();
        vms.iter().try_for_each(|vm| refuse_streams(call, vm))?;
        let own = match (path, file.building()) {
            (None, None) => {
                let made = tempfile::Builder::new().prefix("provium-snapshot-").tempdir();
                Some(made.map_err(|error| call.fail(format_args!("no folder for the snapshot: {error}")))?)
            }
            _ => None,
        };
        let folder = path
            .or(own.as_ref().map(TempDir::path))
            .or(file.building().map(|building| building.dir()));
        let folder = folder.unwrap_or(Path::new("")).to_owned();
        if let Some(path) = path {
            new_folder(path).map_err(|message| call.fail(message))?;
        }
        // All stand still before the first is saved, and none goes on before the last is.
        let running: Vec<&Vm> = vms
            .iter()
            .filter(|vm| vm.core().borrow_mut().state() == VmState::Booted)
            .collect();
        for vm in &running {
            let paused = vm.core().borrow_mut().pause();
            paused.map_err(|error| vm.failed(call, error))?;
        }
        let taken = vms.iter().map(|vm| {
            let made = FixtureMeta::vm_folder(&folder, file.next_snapshot());
            let (name, at) = made.map_err(|message| call.fail(message))?;
            let saved = vm
                .save(&at, path.is_none(), own.is_none())
                .map_err(|error| vm.failed(call, error))?;
            Ok(Snapshot(Rc::new(Shared {
                vm: describe(vm, name),
                folder: at,
                saved: RefCell::new(Some(saved)),
                _own: None,
            })))
        });
        let taken: Result<Vec<_>, Raise> = taken.collect();
        for vm in running {
            let resumed = vm.core().borrow_mut().resume();
            resumed.map_err(|error| vm.failed(call, error))?;
        }
        let snapshot = LabSnapshot(Rc::new(SharedLab {
            folder,
            vms: taken?,
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

    /// Its VMs.
    pub(crate) fn vms(&self) -> Vec<FixtureVm> {
        self.0.vms.iter().map(|snapshot| snapshot.0.vm.clone()).collect()
    }
}

/// A stream or a worker cannot live in a snapshot: nobody would hold its other end.
fn refuse_streams(call: &Call<'_>, vm: &Vm) -> Result<(), Raise> {
    match call.file().open_stream(Some(vm.name())) {
        None => Ok(()),
        Some((what, place)) => Err(call.fail(format_args!(
            "VM `{}` has {what} open, opened at {place}; close it first",
            vm.name()
        ))),
    }
}

/// What must be known of a VM to make it again.
pub(crate) fn describe(vm: &Vm, folder: String) -> FixtureVm {
    FixtureVm {
        name: vm.name().to_owned(),
        profile: vm.profile().name.clone(),
        options: serde_json::to_value(vm.options()).expect("plain data"),
        folder,
    }
}

/// Makes the folder of a snapshot; refuses one that has something in it.
fn new_folder(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!(
            "{}: the folder is not empty; a snapshot needs one of its own",
            path.display()
        )),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Removes a snapshot's files, and its folder if nothing else is in it.
fn remove(folder: &Path) {
    for file in files() {
        // What is not there need not go.
        let _ = std::fs::remove_file(folder.join(file));
    }
    let _ = std::fs::remove_dir(folder);
}

fn size(folder: &Path) -> u64 {
    let of = |file: String| std::fs::metadata(folder.join(file)).map_or(0, |data| data.blocks() * 512);
    files().into_iter().map(of).sum()
}

fn host_path(call: &Call<'_>, at: usize) -> Result<PathBuf, Raise> {
    let path = call.name(at, "a string as path")?;
    Ok(call.file().project().join(path))
}

fn optional_path(call: &Call<'_>) -> Result<Option<PathBuf>, Raise> {
    call.at_most(1)?;
    match call.arg(0) {
        Value::Nil => Ok(None),
        _ => host_path(call, 0).map(Some),
    }
}

/// Opens a snapshot that somebody may have carried around.
fn open(call: &Call<'_>, folder: &Path) -> Result<Arc<Saved>, Raise> {
    let opened = Saved::open(folder).and_then(|saved| saved.verify().map(|()| saved));
    opened.map_err(|error| call.fail(error))
}

/// `VM:snapshot`, `VM:restore`, `VM:push_file`.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "snapshot",
            signature: "(path?: string): Snapshot",
            doc: "Saves it, into a folder of the host if one is given; it goes on meanwhile.",
            run: |call, vm| {
                let path = optional_path(call)?;
                let snapshot = Snapshot::take(call, vm, path.as_deref())?;
                one(call.lua(), snapshot.into_userdata(call.lua())?)
            },
        },
        Method {
            name: "restore",
            signature: "(snapshot: Snapshot|string): VM",
            doc: "Starts it from a snapshot, given as such or as the folder it is in.",
            run: restore_vm,
        },
        Method {
            name: "push_file",
            signature: "(host: string, guest: string, opts?: {auto_dep?: boolean})",
            doc: "Copies a file of the host into the guest; in a fixture the file becomes one of its inputs.",
            run: push_file,
        },
    ]
}

fn restore_vm(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    let saved = match call.arg(0) {
        Value::String(_) => {
            let folder = host_path(call, 0)?;
            open(call, &folder)?
        }
        value => match this::<Snapshot>(value) {
            Some(snapshot) => snapshot.saved(call)?,
            None => return Err(call.wrong("a Snapshot or the path of one", value)),
        },
    };
    vm.enter(&saved, false).map_err(|error| vm.failed(call, error))?;
    call.this()
}

fn push_file(call: &mut Call<'_>, vm: &Vm) -> Answer {
    use std::os::unix::fs::PermissionsExt;
    call.at_most(3)?;
    let host = host_path(call, 0)?;
    let guest = call.path(1)?;
    let options = call.options(2)?;
    let auto_dep = options.boolean("auto_dep")?.unwrap_or(true);
    options.finish()?;
    if auto_dep {
        let input = Input::HostFile { path: host.clone() };
        call.file()
            .takes_in(input)
            .map_err(|message| call.fail(message))?;
    }
    let unreadable = |error| call.fail(format_args!("{}: {error}", host.display()));
    let mut file = std::fs::File::open(&host).map_err(unreadable)?;
    let perm = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    use crate::lua::objects::remote::Remote;
    vm.ask(call, |client| client.write_file(&guest, Some(perm), &mut file))?;
    none()
}

/// `Lab:snapshot` and `Lab:restore`.
pub(crate) fn lab_methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "snapshot",
            signature: "(dir?: string): LabSnapshot|string",
            doc: "Saves every running VM of the lab at one instant; returns the folder if one is given.",
            run: |call, lab| {
                let path = optional_path(call)?;
                let snapshot = LabSnapshot::take(call, lab, path.as_deref())?;
                match path {
                    Some(_) => one(call.lua(), call.arg(0).clone()),
                    None => one(call.lua(), snapshot.into_userdata(call.lua())?),
                }
            },
        },
        Method {
            name: "restore",
            signature: "(snapshot: LabSnapshot|string): Lab",
            doc: "Puts the lab's VMs back to a snapshot of the lab, whatever they are doing.",
            run: restore_lab,
        },
    ]
}

fn restore_lab(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let saved: Vec<(String, Arc<Saved>)> = match call.arg(0) {
        Value::String(_) => {
            let folder = host_path(call, 0)?;
            let meta = read_meta(&folder).map_err(|message| call.fail(message))?;
            let opened = meta
                .vms
                .iter()
                .map(|vm| Ok((vm.name.clone(), open(call, &folder.join(&vm.folder))?)));
            opened.collect::<Result<_, Raise>>()?
        }
        value => match this::<LabSnapshot>(value) {
            Some(snapshot) => {
                let saved = snapshot
                    .0
                    .vms
                    .iter()
                    .map(|vm| Ok((vm.0.vm.name.clone(), vm.saved(call)?)));
                saved.collect::<Result<_, Raise>>()?
            }
            None => {
                let got = type_name(value);
                return Err(call.fail(format_args!(
                    "expected a LabSnapshot or the path of one, got {got}"
                )));
            }
        },
    };
    let vms = lab.vms();
    for (name, _) in &saved {
        if !vms.iter().any(|vm| vm.name() == name) {
            return Err(call.fail(format_args!(
                "the snapshot has a VM `{name}`, and the lab has none of that name"
            )));
        }
    }
    for vm in &vms {
        match saved.iter().find(|(name, _)| name == vm.name()) {
            Some((_, snapshot)) => vm.enter(snapshot, true).map_err(|error| vm.failed(call, error))?,
            // It did not run when the snapshot was taken.
            None => vm.core().borrow_mut().kill(),
        }
    }
    call.this()
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
                run: |call, snapshot| one(call.lua(), size(&snapshot.0.folder)),
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
                    let total: u64 = lab.0.vms.iter().map(|vm| size(&vm.0.folder)).sum();
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
