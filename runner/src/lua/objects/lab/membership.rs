//! Who belongs to a lab, as Lua changes and asks it: `lab`, `include`, `remove`, the names.
//!
//! Input: members. Output: the lab with them. What a test includes or removes is undone when it ends; what
//! `provium` lists in a test is the test's own. Not here: the life of a member; the scope it was made in
//! closes it, and removing it from a lab only takes its name out of there.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::Value;
use provium_base::nearest::nearest;
use provium_guest::Part;

use super::handle::{Lab, Member, MemberTag};
use crate::lua::api::binding::{Method, this};
use crate::lua::api::call::Call;
use crate::lua::api::location;
use crate::lua::api::options::array;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::objects::vm::handle::Vm;
use crate::lua::state::scope::Held;

/// A member that `include` has added, to be taken out when the scope is left.
struct Included(Lab, Part<MemberTag>);

/// A member of the file that `remove` has taken out in a test, to be put back when that ends.
struct Removed(Lab, RefCell<Option<(usize, Member)>>);

impl Held for Included {
    fn close(&self) {
        self.0.inner().remove(|part| part.same(&self.1));
    }
}

impl Held for Removed {
    fn close(&self) {
        if let Some((at, member)) = self.1.take() {
            self.0.inner().put_back(at, member);
        }
    }
}

/// Refuses names that are taken or reserved.
pub(crate) fn may_have(call: &Call<'_>, lab: &Lab, name: &str) -> Result<(), Raise> {
    if Lab::is_reserved(name) {
        return Err(call.fail(format_args!("`{name}` is a reserved name")));
    }
    let Some(taken) = lab.inner().find(name) else {
        return Ok(());
    };
    let place = taken
        .tag
        .place
        .map(|place| format!(" ({place})"))
        .unwrap_or_default();
    let (kind, call_of) = match taken.part {
        Part::Vm(_) => ("VM", "vm"),
        Part::Lab(_) => ("lab", "lab"),
    };
    if let Some(fixture) = taken.tag.fixture {
        return Err(call.fail(format_args!(
            "the name `{name}` is taken: fixture `{fixture}` gave it to its VM{place}; use provium:vm(\"{name}\") for \
             that VM, or another name"
        )));
    }
    Err(call.fail(if taken.tag.depth < call.file().scopes.depth() {
        format!(
            "the name `{name}` is taken: the file declared it at file scope{place}; use \
             provium:{call_of}(\"{name}\") for \
             that {kind}, or another name"
        )
    } else {
        let hint = match taken.part {
            Part::Vm(_) => "; a VM that is closed gives its name back",
            Part::Lab(_) => " by a lab",
        };
        format!("the name `{name}` is taken{place}{hint}")
    }))
}

/// The methods about its members.
pub(crate) fn methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "lab",
            signature: "(name?: string): Lab",
            doc: "Finds the lab of this name inside the lab, or makes it; without a name it makes `__lab_0` and so on.",
            run: sub_lab,
        },
        Method {
            name: "include",
            signature: "(member: VM|Lab|(VM|Lab)[]): Lab",
            doc: "Makes VMs and labs members; all of them, or none if one cannot be.",
            run: include,
        },
        Method {
            name: "remove",
            signature: "(member: VM|Lab|string): Lab",
            doc: "Takes a member out; it lives on.",
            run: remove,
        },
        Method {
            name: "members",
            signature: "(): (VM|Lab)[]",
            doc: "Its VMs and labs in the order in which they came.",
            run: |call, lab| {
                call.at_most(0)?;
                let members = lab.members_in_scope(call).into_iter();
                let values: Vec<_> = members.map(|member| member.tag.value).collect();
                one(call.lua(), values)
            },
        },
        Method {
            name: "vm_names",
            signature: "(): string[]",
            doc: "Names of its VMs in the order of their declaration.",
            run: |call, lab| names(call, lab, |part| matches!(part, Part::Vm(_))),
        },
        Method {
            name: "sub_lab_names",
            signature: "(): string[]",
            doc: "Names of the labs inside it.",
            run: |call, lab| names(call, lab, |part| matches!(part, Part::Lab(_))),
        },
        Method {
            name: "bridge_names",
            signature: "(): string[]",
            doc: "Names of its network segments.",
            // There are no segments yet that could be members.
            run: |call, lab| names(call, lab, |_| false),
        },
    ]
}

fn names(call: &Call<'_>, lab: &Lab, wanted: fn(&Part<MemberTag>) -> bool) -> Answer {
    call.at_most(0)?;
    let members = lab.members_in_scope(call).into_iter();
    let parts = members.map(|member| member.part).filter(wanted);
    let names: Vec<String> = parts.map(|part| part.name().to_owned()).collect();
    one(call.lua(), names)
}

fn sub_lab(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let name = match call.arg(0) {
        Value::Nil => (0usize..)
            .map(|number| format!("__lab_{number}"))
            .find(|name| lab.is_free(name))
            .unwrap_or_default(),
        _ => call.name(0, "a string as name")?,
    };
    if let Some(Member {
        part: Part::Lab(_),
        tag,
    }) = lab.inner().find(&name)
    {
        return one(call.lua(), tag.value);
    }
    may_have(call, lab, &name)?;
    let (_, value) = lab.add_lab(call, &name, false)?;
    one(call.lua(), value)
}

fn include(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let values = match call.arg(0) {
        Value::Table(table) => array(table)
            .ok_or_else(|| call.fail("expected an array of VMs and labs without other keys or gaps"))?,
        value => vec![value.clone()],
    };
    let (file, place) = (call.file(), location::caller(call.lua()));
    let mut members = Vec::new();
    for value in values {
        let (Some((part, vm)), Value::UserData(userdata)) = (vm_or_lab(&value), &value) else {
            return Err(call.wrong("a VM or a Lab, or an array of them", &value));
        };
        if !part.is_closed() {
            may_have(call, lab, part.name())?;
        }
        members.push(Member {
            part,
            tag: MemberTag {
                vm,
                value: userdata.clone(),
                depth: file.scopes.depth(),
                declared: false,
                place: place.clone(),
                fixture: None,
            },
        });
    }
    let parts: Vec<_> = members.iter().map(|member| member.part.clone()).collect();
    lab.inner().add(members).map_err(|error| call.fail(error))?;
    for part in parts {
        file.scopes.own(Rc::new(Included(lab.clone(), part)));
    }
    call.this()
}

fn remove(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let (shown, removed) = match call.arg(0) {
        Value::String(_) => {
            let name = call.name(0, "a member's name")?;
            let removed = lab.inner().remove(|part| part.name() == name);
            (name, removed)
        }
        value => match vm_or_lab(value) {
            Some((part, _)) => {
                let removed = lab.inner().remove(|other| other.same(&part));
                (part.name().to_owned(), removed)
            }
            None => return Err(call.wrong("a VM, a Lab or the name of one", value)),
        },
    };
    let Some((at, member)) = removed else {
        let parts = lab.inner().parts();
        let near = nearest(&shown, parts.iter().map(Part::name)).filter(|near| *near != shown);
        let hint = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        return Err(call.fail(format_args!("`{shown}` is not a member of this lab{hint}")));
    };
    let scopes = &call.file().scopes;
    if member.tag.depth < scopes.depth() {
        scopes.own(Rc::new(Removed(lab.clone(), RefCell::new(Some((at, member))))));
    }
    call.this()
}

/// The VM or the lab that a Lua value is; the VM also as Lua has it.
fn vm_or_lab(value: &Value) -> Option<(Part<MemberTag>, Option<Vm>)> {
    if let Some(vm) = this::<Vm>(value) {
        return Some((Part::Vm(vm.handle().clone()), Some(vm)));
    }
    let lab = this::<Lab>(value)?;
    Some((Part::Lab(lab.inner().clone()), None))
}
