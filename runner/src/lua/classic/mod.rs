//! The classic dialect: the API of earlier test suites, on the same VMs.
//!
//! Enters: `provium.create`, `provium.fixture` and what such suites call on VMs and workers. Leaves: the same guests and
//! agents as everywhere else. Every VM has every method of both dialects; where the two contradict each other
//! (`syscall`, `ioctl`, `dmesg`), a VM that [`create`] or `fixture` made answers as the classic one does. Absent on
//! purpose: a second kind of VM.

mod calls;
mod exec;
mod grep;
mod jobs;
mod pack;
mod text;

use std::sync::Arc;

use mlua::{Function, Lua, Value};

use crate::guest::{self, VmState};
use crate::lua::api::binding::{Field, Method, function, this};
use crate::lua::api::call::{Call, none, one};
use crate::lua::objects::boot_options::BootOptions;
use crate::lua::objects::lab::Lab;
use crate::lua::objects::remote::Remote;

pub(crate) use calls::{ioctl, syscall};
pub(crate) use grep::Grep;
pub(crate) use text::{Text, plain};

/// The methods of VMs and workers that only this dialect has.
pub(crate) fn methods<T: Remote>() -> Vec<Method<T>> {
    let mut methods = exec::methods();
    methods.extend(calls::methods());
    methods.extend(jobs::methods());
    methods
}

/// The functions of `provium` that only this dialect has; they take a dot or a colon.
pub(crate) fn fields() -> Vec<Field<Lab>> {
    vec![
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

/// `body` as a function that knows its lab, called with a dot or a colon.
fn bound(
    lua: &Lua,
    what: &'static str,
    lab: &Lab,
    body: fn(&mut Call<'_>, &Lab) -> crate::lua::api::call::Answer,
) -> mlua::Result<Value> {
    let lab = lab.clone();
    let bound: Function = function(lua, what, move |call| {
        if this::<Lab>(call.arg(0)).is_some() {
            call.take_self();
        }
        body(call, &lab)
    })?;
    Ok(Value::Function(bound))
}

fn create(call: &mut Call<'_>, lab: &Lab) -> crate::lua::api::call::Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as profile")?;
    let config = Arc::clone(&call.file().job().config);
    let profile = config
        .profile(&name)
        .map_err(|message| call.fail(message))?
        .clone();
    let (vm, value) = lab.add(call, lab.free_name(&name), profile, BootOptions::default(), false)?;
    speaks_classic(call, &vm);
    one(call.lua(), value)
}

/// Makes a VM one of this dialect; the tests of a file that has one at file scope run in place.
pub(crate) fn speaks_classic(call: &Call<'_>, vm: &crate::lua::objects::vm::Vm) {
    vm.set_classic();
    let file = call.file();
    if file.running().is_none() {
        file.classic.set(true);
    }
}

fn shutdown_all(call: &mut Call<'_>, _: &Lab) -> crate::lua::api::call::Answer {
    call.at_most(0)?;
    let file = call.file();
    let (depth, cancel) = (file.scopes.depth(), file.cancel());
    let vms = file.lab.vms_below(depth);
    let mut cores: Vec<_> = vms.iter().map(|vm| vm.core().borrow_mut()).collect();
    let mut running: Vec<&mut guest::Vm> = cores
        .iter_mut()
        .map(|core| &mut **core)
        .filter_map(|core| matches!(core.state(), VmState::Booted | VmState::Paused).then_some(core))
        .collect();
    guest::Vm::shutdown_all(&mut running, &cancel).map_err(|error| call.fail(error))?;
    none()
}
