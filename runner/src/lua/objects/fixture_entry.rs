//! The content of a fixture's entry in the cache: what its source returned.
//!
//! Input: the value that a source returned, a snapshot or a VM. Output: the entry's files. Not here: running
//! the source; and resuming from the entry, which `fixture` does.

use std::path::Path;

use mlua::Value;
use provium_cache::{Building, FixtureSource};
use provium_guest::SaveMode;
use provium_vmm::snapshot::Snapshot as SavedMachine;

use crate::lua::api::binding::this;
use crate::lua::api::value::type_name;
use crate::lua::objects::snapshot::saved::{LabSnapshot, Snapshot, describe};
use crate::lua::objects::vm::handle::Vm;
use crate::lua::test::file::File;
use crate::stock::{FixtureMeta, FixtureVm};

/// Makes what the source returned the content of the entry.
pub(crate) fn store(
    source: &FixtureSource,
    building: &Building,
    file: &File,
    value: &Value,
) -> Result<(), String> {
    let not_here = || "its snapshot is kept in the cache: call snapshot() without a path".to_owned();
    let (lab, vms) = if let Some(snapshot) = this::<Snapshot>(value) {
        (false, vec![snapshot.for_fixture().ok_or_else(not_here)?])
    } else if let Some(snapshot) = this::<LabSnapshot>(value) {
        (true, snapshot.vms())
    } else if let Some(vm) = this::<Vm>(value) {
        let (name, folder) = FixtureMeta::vm_folder(building.dir(), file.next_snapshot())?;
        let mode = SaveMode {
            on_parent: true,
            lasting: true,
        };
        vm.save(file, &folder, mode).map_err(|error| error.to_string())?;
        (false, vec![describe(&vm, Vec::new(), name)])
    } else {
        let got = type_name(value);
        return Err(format!(
            "fixture `{}` returned {got}; end it with `return vm:snapshot()`, or `return provium:snapshot()` for a lab",
            source.name
        ));
    };
    remove_others(building.dir(), &vms)?;
    for vm in &vms {
        try_once(&building.dir().join(&vm.folder));
    }
    FixtureMeta { lab, vms }.write(building.dir())
}

/// Finds out which pages guests of the snapshot write first, so that they are copied for all at once. A guest
/// that cannot be tried is none the worse for it.
fn try_once(folder: &Path) {
    let noted = SavedMachine::open(folder)
        .map_err(|error| error.to_string())
        .and_then(|snapshot| provium_guest::note_touched(&snapshot).map_err(|error| error.to_string()));
    if let Err(error) = noted {
        tracing::debug!(folder = %folder.display(), error, "no guest of the fixture could be tried");
    }
}

/// Snapshots that were taken on the way and are not the fixture.
fn remove_others(build: &Path, vms: &[FixtureVm]) -> Result<(), String> {
    let folders = build.join("vm");
    let failed = |error: std::io::Error| format!("{}: {error}", folders.display());
    for entry in std::fs::read_dir(&folders).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !vms.iter().any(|vm| build.join(&vm.folder) == path) {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
    }
    Ok(())
}
