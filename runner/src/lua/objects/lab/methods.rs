//! `Lab`: where VMs are declared, and what is done to all of them.
//!
//! Input: calls of a test. Output: declared VMs; all VMs booted, paused, resumed or shut down. Not here:
//! members that were declared elsewhere; `membership` has those.

use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::events::Stage;
use provium_base::nearest::nearest;
use provium_guest::{VmError, VmHandle, all_at_once};

use super::handle::Lab;
use super::membership::may_have;
use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, one};
use crate::lua::objects::boot_options::boot_options;
use crate::lua::objects::vm::handle::Vm;

/// The methods that declare a VM or do something to all of them.
pub(crate) fn methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "vm",
            signature: "(name: string, profile?: string, opts?: table): VM",
            doc: "Declares a VM; with a name alone, finds the one declared before.",
            run: vm,
        },
        Method {
            name: "boot",
            signature: "(): Lab",
            doc: "Boots every VM of the lab, all at once.",
            run: |call, lab| {
                let vms = lab.vms_in_scope(call);
                vms.iter().try_for_each(|vm| vm.prepare_declared(call))?;
                let names: Vec<&str> = vms.iter().map(|vm| vm.name()).collect();
                let stage = Stage::Boots { vm: names.join(", ") };
                let file = call.file();
                file.at_stage(stage, || {
                    all(call, lab, |vms, cancel| all_at_once(vms, |vm| vm.boot(cancel)))
                })
            },
        },
        Method {
            name: "shutdown",
            signature: "(): Lab",
            doc: "Shuts every VM of the lab down, all at once.",
            run: |call, lab| {
                all(call, lab, |vms, cancel| {
                    all_at_once(vms, |vm| vm.shutdown(cancel))
                })
            },
        },
        Method {
            name: "pause",
            signature: "(): Lab",
            doc: "Pauses every VM of the lab.",
            run: |call, lab| {
                all(call, lab, |vms, _| {
                    vms.iter().try_for_each(|vm| vm.lock().pause())
                })
            },
        },
        Method {
            name: "resume",
            signature: "(): Lab",
            doc: "Resumes every VM of the lab.",
            run: |call, lab| {
                all(call, lab, |vms, _| {
                    vms.iter().try_for_each(|vm| vm.lock().resume())
                })
            },
        },
        Method {
            name: "name",
            signature: "(): string",
            doc: "Its name.",
            run: |call, lab| one(call.lua(), lab.name()),
        },
        Method {
            name: "kind",
            signature: "(): \"lab\"",
            doc: "`lab`, which tells the members of a lab apart.",
            run: |call, _| one(call.lua(), "lab"),
        },
    ]
}

fn vm(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(3)?;
    let name = call.name(0, "a string as name")?;
    if call.arg(1).is_nil() && call.arg(2).is_nil() {
        return lookup(call, lab, &name);
    }
    let profile_name = call.name(1, "a string as profile")?;
    let file = call.file();
    let profile = file
        .job()
        .config
        .profile(&profile_name)
        .map_err(|message| call.fail(message))?
        .clone();
    let options = boot_options(call, call.options(2)?)?;
    may_have(call, lab, &name)?;

    let (_, value) = lab.add(call, name, profile, options, false, None)?;
    one(call.lua(), value)
}

fn lookup(call: &Call<'_>, lab: &Lab, name: &str) -> Answer {
    if let Some(value) = lab.find(name) {
        return one(call.lua(), value);
    }
    let vms = lab.vms();
    let hint = match nearest(name, vms.iter().map(Vm::name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "to declare it, give a profile as the second argument".to_owned(),
    };
    Err(call.fail(format_args!("there is no VM `{name}` in this lab; {hint}")))
}

/// Does something to all its VMs, which for `provium` in a test are the test's own; the call returns the lab.
fn all(call: &Call<'_>, lab: &Lab, action: fn(&[VmHandle], &Arc<Cancel>) -> Result<(), VmError>) -> Answer {
    call.at_most(0)?;
    let vms = lab.vms_in_scope(call);
    let vms: Vec<VmHandle> = vms.iter().map(|vm| vm.handle().clone()).collect();
    action(&vms, &call.file().cancel()).map_err(|error| call.fail(error))?;
    call.this()
}
