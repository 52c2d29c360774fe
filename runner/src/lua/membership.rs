//! Who belongs to a lab: VMs and sub-labs, by name.
//!
//! Enters: declarations, `include` and `remove`. Leaves: members, each the same Lua value at every lookup. A member that
//! was closed is none any more. Absent on purpose: the life of a member; the scope it was made in closes it, and removing it
//! from a lab only takes its name out of there.

use std::cell::RefCell;

use mlua::{AnyUserData, Value};

use super::binding::{Kind, Method, this};
use super::call::{Answer, Call, Raise, one};
use super::lab::Lab;
use super::location::{self, Place};
use super::options::array;
use super::vm::Vm;

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
pub(crate) struct Member {
    /// What it is.
    pub(crate) thing: Thing,
    /// The Lua value, so that each lookup gives the same one.
    pub(crate) value: AnyUserData,
    /// Depth of the scope it was made in.
    pub(crate) depth: usize,
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

    /// Takes the ones out for which `gone` holds; returns how many they were.
    fn remove(&self, gone: impl Fn(&Thing) -> bool) -> usize {
        let mut members = self.0.borrow_mut();
        let before = members.len();
        members.retain(|member| !gone(&member.thing));
        before - members.len()
    }
}

/// Refuses names that are taken or reserved.
pub(crate) fn may_have(call: &Call<'_>, lab: &Lab, name: &str) -> Result<(), Raise> {
    if RESERVED.contains(&name) {
        return Err(call.fail(format_args!("`{name}` is a reserved name")));
    }
    let taken = lab
        .members()
        .find(name, |taken| (taken.depth, taken.place.clone()));
    let Some((depth, place)) = taken else {
        return Ok(());
    };
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    Err(call.fail(if depth < call.file().scopes.depth() {
        format!(
            "the name `{name}` is taken: the file declared it at file scope{place}; use {}(\"{name}\") for that VM, or \
             another name",
            call.what()
        )
    } else {
        format!("the name `{name}` is taken{place}; a VM that is closed gives its name back")
    }))
}

/// Whether a name is free and allowed.
pub(crate) fn is_free(lab: &Lab, name: &str) -> bool {
    !RESERVED.contains(&name) && lab.members().find(name, |_| ()).is_none()
}

pub(super) fn methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "lab",
            signature: "(name?: string): Lab",
            doc: "Makes a lab inside the lab, `__lab_0` and so on when it is given no name.",
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
    may_have(call, lab, &name)?;
    let made = Lab::named(&name);
    let value = made.clone().into_userdata(call.lua())?;
    let scopes = &call.file().scopes;
    lab.members().push(Member {
        thing: Thing::Lab(made.clone()),
        value: value.clone(),
        depth: scopes.depth(),
        place: location::caller(call.lua()),
    });
    scopes.own(std::rc::Rc::new(made));
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
    let (depth, place) = (call.file().scopes.depth(), location::caller(call.lua()));
    for (thing, value) in things {
        lab.members().push(Member {
            thing,
            value,
            depth,
            place: place.clone(),
        });
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
    match removed {
        0 => Err(call.fail(format_args!("`{shown}` is not a member of this lab"))),
        _ => call.this(),
    }
}
