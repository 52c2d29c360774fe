//! The life of a VM as Lua has it: `boot`, `pause`, `shutdown` and the like, and what is open in it.
//!
//! Input: calls of a test. Output: what became of the VM. Not here: what is asked of its agent; `remote` and
//! its siblings have that.

use mlua::Value;
use provium_guest::BootOptions;

use super::handle::Vm;
use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, none, one};
use crate::lua::objects::boot_options::boot_options;
use crate::lua::state::scope::OpenedSort;

/// The methods about its life and its names.
pub(crate) fn life() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "boot",
            signature: "(opts?: table): VM",
            doc: "Boots it; returns when its agent answers.",
            run: boot,
        },
        Method {
            name: "pause",
            signature: "(): VM",
            doc: "Stops its vCPUs.",
            run: |call, vm| vm.act(call, provium_guest::Vm::pause),
        },
        Method {
            name: "resume",
            signature: "(): VM",
            doc: "Lets its vCPUs go on.",
            run: |call, vm| vm.act(call, provium_guest::Vm::resume),
        },
        Method {
            name: "shutdown",
            signature: "(): VM",
            doc: "Shuts it down in order; kills it after 10 seconds.",
            run: |call, vm| {
                let cancel = call.file().cancel();
                vm.act(call, |core| core.shutdown(&cancel))
            },
        },
        Method {
            name: "reset",
            signature: "(): VM",
            doc: "Ends it at once and boots it again, as the reset line of a board does.",
            run: |call, vm| {
                let cancel = call.file().cancel();
                vm.act(call, |core| core.reset(&cancel))
            },
        },
        Method {
            name: "power_button",
            signature: "(): VM",
            doc: "Presses its power button; the guest may shut down.",
            run: |call, vm| vm.act(call, provium_guest::Vm::power_button),
        },
        Method {
            name: "kill",
            signature: "(): VM",
            doc: "Ends it at once.",
            run: |call, vm| {
                vm.act(call, |core| {
                    core.kill();
                    Ok(())
                })
            },
        },
        Method {
            name: "close",
            signature: "()",
            doc: "Ends it for good and frees its name; calling it again does nothing.",
            run: |_, vm| {
                vm.close_for_good();
                none()
            },
        },
        Method {
            name: "name",
            signature: "(): string",
            doc: "Its name.",
            run: |call, vm| one(call.lua(), vm.name()),
        },
        Method {
            name: "kind",
            signature: "(): \"vm\"",
            doc: "`vm`, which tells the members of a lab apart.",
            run: |call, _| one(call.lua(), "vm"),
        },
        Method {
            name: "profile",
            signature: "(): string",
            doc: "Name of its profile.",
            run: |call, vm| one(call.lua(), vm.profile().name.as_str()),
        },
        Method {
            name: "state",
            signature: "(): \"created\"|\"booted\"|\"paused\"|\"shutdown\"|\"dead\"",
            doc: "Where it is in its life.",
            run: |call, vm| one(call.lua(), vm.core().state().to_string()),
        },
        Method {
            name: "cid",
            signature: "(): integer?",
            doc: "Its vsock context id; nil while it does not run.",
            run: |call, vm| one(call.lua(), vm.core().cid()),
        },
        Method {
            name: "uptime",
            signature: "(): number",
            doc: "Seconds since its kernel started, by its own clock.",
            run: uptime,
        },
    ]
}

/// The methods about what is open in it.
pub(crate) fn open_things() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "is_quiescent",
            signature: "(): boolean",
            doc: "Whether nothing that was made in it is open or running.",
            run: |call, vm| {
                let sorts = [
                    OpenedSort::Stream,
                    OpenedSort::Worker,
                    OpenedSort::File,
                    OpenedSort::Process,
                ];
                let open: usize = sorts
                    .iter()
                    .map(|sort| call.file().scopes.count_opened(vm.name(), *sort))
                    .sum();
                one(call.lua(), open == 0)
            },
        },
        Method {
            name: "open_file_count",
            signature: "(): integer",
            doc: "How many Files are open in it.",
            run: |call, vm| {
                one(
                    call.lua(),
                    call.file().scopes.count_opened(vm.name(), OpenedSort::File),
                )
            },
        },
        Method {
            name: "open_stream_count",
            signature: "(): integer",
            doc: "How many streams of it are open.",
            run: |call, vm| {
                one(
                    call.lua(),
                    call.file().scopes.count_opened(vm.name(), OpenedSort::Stream),
                )
            },
        },
    ]
}

fn boot(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    let changes = match call.arg(0) {
        Value::Nil => BootOptions::default(),
        _ => boot_options(call, call.options(0)?)?,
    };
    vm.boot(call, changes)?;
    call.this()
}

fn uptime(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(0)?;
    vm.open(call)?;
    let cancel = call.file().cancel();
    let seconds = vm
        .core()
        .uptime(&cancel)
        .map_err(|error| vm.failed(call, error))?;
    one(call.lua(), seconds)
}
