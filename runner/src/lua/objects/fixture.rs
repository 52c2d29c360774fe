//! Fixtures as Lua uses them: `vm_fixture`, `lab_fixture`, `depends_on_file`.
//!
//! Input: a fixture's name, from a test or from another fixture's source. Output: VMs out of its snapshots.
//! What a source takes in is noted on the way, so that the fixture is built again when it changes. Not here:
//! the cache's rules; which machine a VM gets; and running a source, which the file does by a function it is
//! given.

use std::sync::Arc;

use mlua::AnyUserData;
use provium_base::events::Stage;
use provium_vmm::snapshot::Snapshot;

use crate::lua::api::binding::{Field, Kind, Method, bound};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::objects::lab::handle::Lab;
use crate::lua::objects::vm::handle::Vm;
use crate::stock::{Fixture, FixtureVm};

/// `Lab.vm_fixture` and `Lab.lab_fixture`, which take a dot or a colon.
pub(crate) fn lab_fields() -> Vec<Field<Lab>> {
    vec![
        Field {
            name: "vm_fixture",
            ty: "(fun(name: string): VM)|(fun(self: Lab, name: string): VM)",
            doc: "A running VM out of a fixture, which is built if it is not cached; it lasts until the file ends.",
            get: |lua, lab| bound(lua, "provium:vm_fixture", lab, vm_fixture),
        },
        Field {
            name: "lab_fixture",
            ty: "(fun(name: string): Lab)|(fun(self: Lab, name: string): Lab)",
            doc: "A lab with the running VMs of a fixture; it lasts until the file ends.",
            get: |lua, lab| bound(lua, "provium:lab_fixture", lab, lab_fixture),
        },
    ]
}

/// `Lab:depends_on_file`.
pub(crate) fn lab_methods() -> Vec<Method<Lab>> {
    vec![Method {
        name: "depends_on_file",
        signature: "(path: string)",
        doc: "Makes a file of the host an input of the fixture that is being built.",
        run: |call, _| {
            call.at_most(1)?;
            let path = call.host_file(0)?;
            call.takes_in_file(&path)?;
            none()
        },
    }]
}

/// The VM of a fixture of one VM, running, under the name that `name_of` gives it; with `for_file` it lasts
/// until the file ends.
pub(crate) fn one_vm(
    call: &Call<'_>,
    lab: &Lab,
    name: &str,
    name_of: impl FnOnce(&FixtureVm) -> String,
    for_file: bool,
) -> Result<(Vm, AnyUserData), Raise> {
    let fixture = obtain(call, name)?;
    if fixture.lab {
        return Err(call.fail(format_args!(
            "fixture `{name}` is a lab of {} VM(s); use provium:lab_fixture(\"{name}\")",
            fixture.vms.len()
        )));
    }
    match fixture.vms.first() {
        Some((vm, snapshot)) => restored(call, lab, &name_of(vm), (name, vm, snapshot), for_file),
        None => Err(call.fail(format_args!("fixture `{name}` has no VM"))),
    }
}

fn vm_fixture(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as the fixture's name")?;
    let (_, value) = one_vm(call, lab, &name, |vm| vm.name.clone(), true)?;
    one(call.lua(), value)
}

fn lab_fixture(call: &mut Call<'_>, _: &Lab) -> Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as the fixture's name")?;
    let fixture = obtain(call, &name)?;
    if !fixture.lab {
        return Err(call.fail(format_args!(
            "fixture `{name}` is one VM; use provium:vm_fixture(\"{name}\")"
        )));
    }
    let lab = Lab::named(&name);
    for (vm, snapshot) in &fixture.vms {
        let inside = inner_lab(call, &lab, &vm.labs)?;
        restored(call, &inside, &vm.name, (&name, vm, snapshot), true)?;
    }
    one(call.lua(), lab.into_userdata(call.lua())?)
}

/// The lab that these names lead to inside `lab`; those that are not there are made, for the file.
fn inner_lab(call: &Call<'_>, lab: &Lab, names: &[String]) -> Result<Lab, Raise> {
    let mut inside = lab.clone();
    for name in names {
        inside = match inside.inner_lab(name) {
            Some(found) => found,
            None => inside.add_lab(call, name, true)?.0,
        };
    }
    Ok(inside)
}

/// A VM of a fixture in `lab`, restored from its snapshot; returns its Lua value as well.
fn restored(
    call: &Call<'_>,
    lab: &Lab,
    name: &str,
    (fixture, vm, snapshot): (&str, &FixtureVm, &Arc<Snapshot>),
    for_file: bool,
) -> Result<(Vm, AnyUserData), Raise> {
    let config = Arc::clone(&call.file().job().config);
    let profile = config
        .profile(&vm.profile)
        .map_err(|message| call.fail(message))?
        .clone();
    let (made, value) = lab.add(
        call,
        lab.free_name(name),
        profile,
        vm.options.clone(),
        for_file,
        Some(fixture),
    )?;
    made.restore(call, snapshot)
        .map_err(|error| made.failed(call, error))?;
    Ok((made, value))
}

/// The fixture from the cache, or built now, in a Lua state of its own.
fn obtain(call: &Call<'_>, name: &str) -> Result<Arc<Fixture>, Raise> {
    let file = call.file();
    let job = file.job();
    let fixtures = &job.fixtures;
    let cancel = file.cancel();
    let source = fixtures.source(name).map_err(|message| call.fail(message))?;
    let chain = file
        .building()
        .map(|building| building.chain().clone())
        .unwrap_or_default();
    file.uses(&source.path);
    let stage = Stage::Fixture {
        fixture: name.to_owned(),
    };
    let fixture = file
        .at_stage(stage, || fixtures.obtain(&source, &chain, &job.shown, &cancel))
        .map_err(|message| call.fail(message))?;
    match file.building() {
        Some(building) => building.inputs().uses(&fixture.entry),
        None => {
            file.has_fixture.set(true);
            fixture.entry.files().into_iter().for_each(|path| file.uses(path));
        }
    }
    Ok(fixture)
}
