//! The functions of `provium` that only the classic dialect has: `create`, `fixture`, `shutdown_all`, `pack`,
//! `unpack`.
//!
//! Input: names of profiles and fixtures. Output: VMs that speak this dialect. Not here: what they are asked.

use std::sync::Arc;

use mlua::Value;
use provium_guest::{BootOptions, VmHandle, VmState, all_at_once};

use super::pack;
use crate::lua::api::binding::{Field, bound};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, none, one};
use crate::lua::objects::fixture::one_vm;
use crate::lua::objects::lab::handle::Lab;
use crate::lua::objects::vm::handle::Vm;

/// The functions of `provium` that only this dialect has; they take a dot or a colon.
pub(crate) fn fields() -> Vec<Field<Lab>> {
    vec![
        Field {
            name: "fixture",
            ty: "fun(name: string): VM",
            doc: "A VM of the current scope out of a fixture, in the classic dialect.",
            get: |lua, lab| bound(lua, "provium.fixture", lab, fixture),
        },
        Field {
            name: "create",
            ty: "fun(profile: string): VM",
            doc: "Declares a VM in the classic dialect, named after its profile.",
            get: |lua, lab| bound(lua, "provium.create", lab, create),
        },
        Field {
            name: "shutdown_all",
            ty: "fun()",
            doc: "Shuts down every VM of the current test, all at once.",
            get: |lua, lab| bound(lua, "provium.shutdown_all", lab, shutdown_all),
        },
        Field {
            name: "pack",
            ty: "fun(fmt: string, ...: integer): string",
            doc: "Packs integers into bytes by names such as `u32`; with a colon it is Lua's `string.pack`.",
            get: |lua, _| pack::pack(lua).map(Value::Function),
        },
        Field {
            name: "unpack",
            ty: "fun(fmt: string, data: string): integer ...",
            doc: "Unpacks integers from bytes by names such as `u32`; with a colon it is Lua's `string.unpack`.",
            get: |lua, _| pack::unpack(lua).map(Value::Function),
        },
    ]
}

fn create(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as profile")?;
    let config = Arc::clone(&call.file().job().config);
    let profile = config
        .profile(&name)
        .map_err(|message| call.fail(message))?
        .clone();
    let (vm, value) = lab.add(
        call,
        lab.free_name(&name),
        profile,
        BootOptions::default(),
        false,
        None,
    )?;
    speaks_classic(call, &vm);
    one(call.lua(), value)
}

fn fixture(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as the fixture's name")?;
    // This dialect knows a VM by its fixture, and has the profile's name for what it creates itself.
    let (vm, value) = one_vm(call, lab, &name, |_| short_name(&name).to_owned(), false)?;
    speaks_classic(call, &vm);
    one(call.lua(), value)
}

/// The last part of a fixture's name, without what a source's path ends with.
fn short_name(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    let stem = last.strip_suffix(".fixture.lua").or(last.strip_suffix(".lua"));
    stem.unwrap_or(last)
}

/// Makes a VM one of this dialect; the tests of a file that has one at file scope run in place.
fn speaks_classic(call: &Call<'_>, vm: &Vm) {
    vm.set_classic();
    let file = call.file();
    if file.running().is_none() {
        file.in_place.set(true);
    }
}

fn shutdown_all(call: &mut Call<'_>, _: &Lab) -> Answer {
    call.at_most(0)?;
    let file = call.file();
    let (depth, cancel) = (file.scopes.depth(), file.cancel());
    let vms = Lab::root_of(call.lua()).vms_below(depth);
    let runs = |vm: &VmHandle| matches!(vm.state(), VmState::Booted | VmState::Paused);
    let running: Vec<VmHandle> = vms.into_iter().filter(runs).collect();
    all_at_once(&running, |vm| vm.shutdown(&cancel)).map_err(|error| call.fail(error))?;
    none()
}
