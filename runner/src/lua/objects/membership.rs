//! Who belongs to a lab: VMs and sub-labs, by name.
//!
//! Enters: declarations, `include` and `remove`. Leaves: members, each the same Lua value at every lookup. A member that
//! was closed is none any more, and what a test includes or removes is undone when it ends. Absent on purpose: the life of
//! a member; the scope it was made in closes it, and removing it from a lab only takes its name out of there.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{AnyUserData, Value};

use crate::config::nearest;
use crate::lua::api::binding::{Kind, Method, this};
use crate::lua::api::call::{Answer, Call, Raise, one};
use crate::lua::api::location::{self, Place};
use crate::lua::api::options::array;
use crate::lua::objects::lab::Lab;
use crate::lua::objects::vm::Vm;
use crate::lua::state::scope::Resource;

/// Names that would hide what the API means by them.
const RESERVED: [&str; 4] = ["pack", "unpack", "vm_fixture", "lab_fixture"];

/// What can be in a lab.
#[derive(Clone)]
pub(crate) enum Thing {
    /// A VM.
    Vm(Vm),
    /// A lab inside the lab.
    Lab(Lab),
}

impl Thing {
    /// What a Lua value is, if it can be in a lab.
    fn of(value: &Value) -> Option<Thing> {
        this::<Vm>(value)
            .map(Thing::Vm)
            .or_else(|| this::<Lab>(value).map(Thing::Lab))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Thing::Vm(vm) => vm.name(),
            Thing::Lab(lab) => lab.name(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Thing::Vm(vm) => vm.is_closed(),
            Thing::Lab(lab) => lab.is_closed(),
        }
    }

    fn same(&self, other: &Thing) -> bool {
        match (self, other) {
            (Thing::Vm(a), Thing::Vm(b)) => a.same(b),
            (Thing::Lab(a), Thing::Lab(b)) => a.same(b),
            (Thing::Vm(_), Thing::Lab(_)) | (Thing::Lab(_), Thing::Vm(_)) => false,
        }
    }
}

/// A member of a lab.
#[derive(Clone)]
pub(crate) struct Member {
    /// What it is.
    pub(crate) thing: Thing,
    /// The Lua value, so that each lookup gives the same one.
    pub(crate) value: AnyUserData,
    /// Depth of the scope it was declared or included in.
    pub(crate) depth: usize,
    /// Whether it was made here, rather than included.
    pub(crate) declared: bool,
    /// Where it was declared or included.
    pub(crate) place: Option<Place>,
}

/// The members of a lab, in the order in which they came.
#[derive(Default)]
pub(crate) struct Members(RefCell<Vec<Member>>);

impl Members {
    /// Adds one.
    pub(crate) fn push(&self, member: Member) {
        self.0.borrow_mut().push(member);
    }

    /// Lets go of all, and of what they hold.
    pub(crate) fn clear(&self) {
        for member in self.0.take() {
            if let Thing::Lab(lab) = member.thing {
                lab.forget_members();
            }
        }
    }

    /// What `read` makes of each that lives.
    pub(crate) fn map<R>(&self, read: impl FnMut(&Member) -> Option<R>) -> Vec<R> {
        self.forget_closed();
        self.0.borrow().iter().filter_map(read).collect()
    }

    /// What `read` makes of the one of this name.
    pub(crate) fn find<R>(&self, name: &str, read: impl Fn(&Member) -> R) -> Option<R> {
        let named = |member: &Member| (member.thing.name() == name).then(|| read(member));
        self.map(named).pop()
    }

    /// Takes out what was closed.
    pub(crate) fn forget_closed(&self) {
        self.0.borrow_mut().retain(|member| !member.thing.is_closed());
    }

    /// Takes the one out for which `wanted` holds; returns it and its place among the others.
    fn remove(&self, wanted: impl Fn(&Thing) -> bool) -> Option<(usize, Member)> {
        self.forget_closed();
        let mut members = self.0.borrow_mut();
        let at = members.iter().position(|member| wanted(&member.thing))?;
        Some((at, members.remove(at)))
    }

    /// Puts one back where it was.
    fn put_back(&self, at: usize, member: Member) {
        let mut members = self.0.borrow_mut();
        let at = at.min(members.len());
        members.insert(at, member);
    }
}

/// What `include` has done in a test.
struct Included(Lab, Thing);

/// What `remove` has done in a test to a member of the file.
struct Removed(Lab, RefCell<Option<(usize, Member)>>);

impl Resource for Included {
    fn close(&self) {
        self.0.members().remove(|thing| thing.same(&self.1));
    }

    fn console_tail(&self) -> Option<(String, String)> {
        None
    }
}

impl Resource for Removed {
    fn close(&self) {
        if let Some((at, member)) = self.1.take() {
            self.0.members().put_back(at, member);
        }
    }

    fn console_tail(&self) -> Option<(String, String)> {
        None
    }
}

/// Refuses names that are taken or reserved.
pub(crate) fn may_have(call: &Call<'_>, lab: &Lab, name: &str) -> Result<(), Raise> {
    if RESERVED.contains(&name) {
        return Err(call.fail(format_args!("`{name}` is a reserved name")));
    }
    let taken = lab.members().find(name, Member::clone);
    let Some(taken) = taken else {
        return Ok(());
    };
    let place = taken.place.map(|place| format!(" ({place})")).unwrap_or_default();
    let (kind, call_of) = match taken.thing {
        Thing::Vm(_) => ("VM", "vm"),
        Thing::Lab(_) => ("lab", "lab"),
    };
    Err(call.fail(if taken.depth < call.file().scopes.depth() {
        format!(
            "the name `{name}` is taken: the file declared it at file scope{place}; use provium:{call_of}(\"{name}\") for \
             that {kind}, or another name"
        )
    } else {
        let hint = match taken.thing {
            Thing::Vm(_) => "; a VM that is closed gives its name back",
            Thing::Lab(_) => " by a lab",
        };
        format!("the name `{name}` is taken{place}{hint}")
    }))
}

/// Whether a name is free and allowed.
pub(crate) fn is_free(lab: &Lab, name: &str) -> bool {
    !RESERVED.contains(&name) && lab.members().find(name, |_| ()).is_none()
}

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
                one(call.lua(), lab.members().map(|member| Some(member.value.clone())))
            },
        },
        Method {
            name: "vm_names",
            signature: "(): string[]",
            doc: "Names of its VMs in the order of their declaration.",
            run: |call, lab| names(call, lab, |thing| matches!(thing, Thing::Vm(_))),
        },
        Method {
            name: "sub_lab_names",
            signature: "(): string[]",
            doc: "Names of the labs inside it.",
            run: |call, lab| names(call, lab, |thing| matches!(thing, Thing::Lab(_))),
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

fn names(call: &Call<'_>, lab: &Lab, wanted: fn(&Thing) -> bool) -> Answer {
    call.at_most(0)?;
    let names = lab
        .members()
        .map(|member| wanted(&member.thing).then(|| member.thing.name().to_owned()));
    one(call.lua(), names)
}

fn sub_lab(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let name = match call.arg(0) {
        Value::Nil => (0usize..)
            .map(|number| format!("__lab_{number}"))
            .find(|name| is_free(lab, name))
            .unwrap_or_default(),
        _ => call.name(0, "a string as name")?,
    };
    let there = lab.members().find(&name, Member::clone);
    if let Some(Member {
        thing: Thing::Lab(_),
        value,
        ..
    }) = there
    {
        return one(call.lua(), value);
    }
    may_have(call, lab, &name)?;
    let made = Lab::named(&name);
    let value = made.clone().into_userdata(call.lua())?;
    let scopes = &call.file().scopes;
    lab.members().push(Member {
        thing: Thing::Lab(made.clone()),
        value: value.clone(),
        depth: scopes.depth(),
        declared: true,
        place: location::caller(call.lua()),
    });
    scopes.own(Rc::new(made));
    one(call.lua(), value)
}

fn include(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let values = match call.arg(0) {
        Value::Table(table) => array(table)
            .ok_or_else(|| call.fail("expected an array of VMs and labs without other keys or gaps"))?,
        value => vec![value.clone()],
    };
    let mut things: Vec<(Thing, AnyUserData)> = Vec::new();
    for value in values {
        let (Some(thing), Value::UserData(userdata)) = (Thing::of(&value), &value) else {
            return Err(call.wrong("a VM or a Lab, or an array of them", &value));
        };
        let name = thing.name().to_owned();
        if thing.is_closed() {
            return Err(call.fail(format_args!("`{name}` is closed")));
        }
        may_have(call, lab, &name)?;
        if things.iter().any(|(other, _)| other.name() == name) {
            return Err(call.fail(format_args!("the name `{name}` is there twice")));
        }
        if let Thing::Lab(inner) = &thing
            && (inner.same(lab) || inner.has_inside(lab))
        {
            return Err(call.fail(format_args!("lab `{name}` has this lab inside it, or is it")));
        }
        things.push((thing, userdata.clone()));
    }
    let (file, place) = (call.file(), location::caller(call.lua()));
    for (thing, value) in things {
        lab.members().push(Member {
            thing: thing.clone(),
            value,
            depth: file.scopes.depth(),
            declared: false,
            place: place.clone(),
        });
        file.scopes.own(Rc::new(Included(lab.clone(), thing)));
    }
    call.this()
}

fn remove(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(1)?;
    let (shown, removed) = match call.arg(0) {
        Value::String(_) => {
            let name = call.name(0, "a member's name")?;
            let removed = lab.members().remove(|thing| thing.name() == name);
            (name, removed)
        }
        value => match Thing::of(value) {
            Some(thing) => {
                let removed = lab.members().remove(|other| other.same(&thing));
                (thing.name().to_owned(), removed)
            }
            None => return Err(call.wrong("a VM, a Lab or the name of one", value)),
        },
    };
    let Some((at, member)) = removed else {
        let names = lab.members().map(|member| Some(member.thing.name().to_owned()));
        let near = nearest(&shown, names.iter().map(String::as_str)).filter(|near| *near != shown);
        let hint = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        return Err(call.fail(format_args!("`{shown}` is not a member of this lab{hint}")));
    };
    let scopes = &call.file().scopes;
    if member.depth < scopes.depth() {
        scopes.own(Rc::new(Removed(lab.clone(), RefCell::new(Some((at, member))))));
    }
    call.this()
}
