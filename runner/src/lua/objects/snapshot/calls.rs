//! `snapshot` and `restore` of VMs and labs.
//!
//! Input: calls of a test. Output: snapshots, and VMs in the state they had. Not here: what a snapshot is to
//! Lua; `saved` has that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlua::Value;
use provium_guest::{RestoreAllError, VmPath, placed_vms, restore_all};
use provium_vmm::snapshot::{STATE_FILE, Snapshot as Saved};

use super::folder::check;
use super::saved::{LabSnapshot, PlacedVm, Snapshot, failed, path_of};
use crate::lua::api::binding::{Kind, Method, this};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::type_name;
use crate::lua::objects::lab::handle::Lab;
use crate::lua::objects::vm::handle::Vm;
use crate::stock::{META, read_meta};

/// `VM:snapshot` and `VM:restore`.
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
    ]
}

fn restore_vm(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    let saved = match call.arg(0) {
        Value::String(_) => {
            let folder = call.host_path(0)?;
            open(call, &folder)?
        }
        value => match this::<Snapshot>(value) {
            Some(snapshot) => snapshot.saved(call)?,
            None => return Err(call.wrong("a Snapshot or the path of one", value)),
        },
    };
    vm.restore(call, &saved).map_err(|error| vm.failed(call, error))?;
    call.this()
}

/// `Lab:snapshot` and `Lab:restore`.
pub(crate) fn lab_methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "snapshot",
            signature: "(dir?: string): LabSnapshot|string",
            doc: "Saves every running VM of the lab and of labs inside it at one instant; returns the folder, if given.",
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
            doc: "Puts the VMs of the lab and of labs inside it back to a snapshot of it, whatever they are doing.",
            run: restore_lab,
        },
    ]
}

fn restore_lab(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let saved: Vec<(VmPath, Arc<Saved>)> = match call.arg(0) {
        Value::String(_) => {
            let folder = call.host_path(0)?;
            check(&folder, META).map_err(|message| call.fail(message))?;
            let meta = read_meta(&folder).map_err(|message| call.fail(message))?;
            let opened = meta
                .vms
                .iter()
                .map(|vm| Ok((path_of(vm), open(call, &folder.join(&vm.folder))?)));
            opened.collect::<Result<_, Raise>>()?
        }
        value => match this::<LabSnapshot>(value) {
            Some(snapshot) => snapshot.saved(call)?,
            None => {
                let got = type_name(value);
                return Err(call.fail(format_args!(
                    "expected a LabSnapshot or the path of one, got {got}"
                )));
            }
        },
    };
    // A VM that is saved is looked up, by the file's names too; only the test's own are ended.
    let own = placed_vms(lab.members_in_scope(call));
    let is_own = |placed: &PlacedVm| own.iter().any(|other| other.path == placed.path);
    let others = placed_vms(lab.inner().members()).into_iter();
    let all: Vec<PlacedVm> = own
        .iter()
        .cloned()
        .chain(others.filter(|placed| !is_own(placed)))
        .collect();
    let file = call.file();
    let store = file.job().fixtures.until(&file.cancel());
    let restored = restore_all(&all, &saved, is_own, &store);
    restored.map_err(|error| match error {
        RestoreAllError::NoVm(_) => call.fail(error),
        RestoreAllError::Vm { path, error } => failed(call, &all, &path, *error),
    })?;
    call.this()
}

fn optional_path(call: &Call<'_>) -> Result<Option<PathBuf>, Raise> {
    call.at_most(1)?;
    match call.arg(0) {
        Value::Nil => Ok(None),
        _ => call.host_path(0).map(Some),
    }
}

/// Opens a snapshot that somebody may have carried around.
fn open(call: &Call<'_>, folder: &Path) -> Result<Arc<Saved>, Raise> {
    check(folder, STATE_FILE).map_err(|message| call.fail(message))?;
    let opened = Saved::open(folder).and_then(|saved| saved.verify().map(|()| saved));
    opened.map_err(|error| call.fail(error))
}
