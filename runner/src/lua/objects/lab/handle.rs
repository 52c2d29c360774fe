//! A lab and its members: VMs and labs inside it, by name.
//!
//! Input: declarations and lookups. Output: members, each the same Lua value at every lookup. A member that
//! was closed is none any more. Not here: booting; a declared VM is nothing but a name and its options. And
//! the methods that Lua finds.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use mlua::{AnyUserData, Lua};

use super::rounds::Barriers;
use crate::config::Profile;
use crate::guest::{self, VmError};
use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::objects::boot::options::BootOptions;
use crate::lua::objects::vm::handle::Vm;
use crate::lua::state::scope::Held;

/// Names that would hide what the API means by them.
const RESERVED: [&str; 4] = ["pack", "unpack", "vm_fixture", "lab_fixture"];

/// A lab. The handle is cheap to clone.
#[derive(Clone)]
pub(crate) struct Lab(Rc<NamedLab>);

/// The root lab of a Lua state, as its app data.
struct RootLab(Lab);

/// A lab, which its handles share.
struct NamedLab {
    name: String,
    members: Members,
    barriers: Barriers,
    /// Whether the scope it was made in is left.
    closed: Cell<bool>,
}

impl Lab {
    /// A root lab, which a file knows as `provium`.
    pub(crate) fn root() -> Lab {
        Lab::named("provium")
    }

    /// A lab of this name without members.
    pub(crate) fn named(name: &str) -> Lab {
        Lab(Rc::new(NamedLab {
            name: name.to_owned(),
            members: Members::default(),
            barriers: Barriers::default(),
            closed: Cell::default(),
        }))
    }

    /// The root lab of the file that this Lua state runs.
    pub(crate) fn root_of(lua: &Lua) -> Lab {
        let root = lua
            .app_data_ref::<RootLab>()
            .expect("a file's state is made with a root lab");
        root.0.clone()
    }

    /// Makes it the root lab of a Lua state.
    pub(crate) fn set_root(&self, lua: &Lua) {
        lua.set_app_data(RootLab(self.clone()));
    }

    /// Whether it and `other` are the same lab.
    pub(crate) fn is(&self, other: &Lab) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Drops the members, and with them every Lua value that the lab holds.
    pub(crate) fn forget_members(&self) {
        self.0.members.clear();
    }

    /// Name of the lab.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Members of the lab.
    pub(crate) fn members(&self) -> &Members {
        &self.0.members
    }

    /// Barriers of the lab.
    pub(crate) fn barriers(&self) -> &Barriers {
        &self.0.barriers
    }

    /// Whether the scope it was made in is left.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Whether `other` is a member, or a member of a member.
    pub(crate) fn has_inside(&self, other: &Lab) -> bool {
        let labs = self.0.members.map(|member| match &member.thing {
            VmOrLab::Lab(lab) => Some(lab.clone()),
            VmOrLab::Vm(_) => None,
        });
        labs.iter().any(|lab| lab.is(other) || lab.has_inside(other))
    }

    /// The Lua value of the member of this name.
    pub(crate) fn find(&self, name: &str) -> Option<AnyUserData> {
        self.0.members.find(name, |member| member.value.clone())
    }

    /// Puts a VM into the lab, owned by the file's scope or the innermost one; returns its Lua value.
    pub(crate) fn add(
        &self,
        call: &Call<'_>,
        name: String,
        profile: Profile,
        options: BootOptions,
        for_file: bool,
    ) -> Result<(Vm, AnyUserData), Raise> {
        let file = call.file();
        let fixtures = Arc::clone(&file.job().fixtures);
        let weak = Rc::downgrade(&self.0);
        let on_close = Box::new(move || forget_closed(&weak));
        let vm = Vm::new(name, profile, options, fixtures, on_close).map_err(|message| call.fail(message))?;
        let value = vm.clone().into_userdata(call.lua())?;
        let depth = if for_file { 1 } else { file.scopes.depth() };
        self.0.members.push(Member {
            thing: VmOrLab::Vm(vm.clone()),
            value: value.clone(),
            depth,
            declared: true,
            place: location::caller(call.lua()),
        });
        match for_file {
            true => file.scopes.own_by_file(Rc::new(vm.clone())),
            false => file.scopes.own(Rc::new(vm.clone())),
        }
        Ok((vm, value))
    }

    /// A name like `wanted` that no member has.
    pub(crate) fn free_name(&self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let free = names.find(|name| self.is_free(name));
        free.unwrap_or_default()
    }

    /// Whether a name is the API's own.
    pub(super) fn is_reserved(name: &str) -> bool {
        RESERVED.contains(&name)
    }

    /// Whether a name is free and allowed.
    pub(super) fn is_free(&self, name: &str) -> bool {
        !Lab::is_reserved(name) && self.0.members.find(name, |_| ()).is_none()
    }

    /// The VMs of the lab in the order of their declaration.
    pub(crate) fn vms(&self) -> Vec<Vm> {
        self.0.members.map(|member| match &member.thing {
            VmOrLab::Vm(vm) => Some(vm.clone()),
            VmOrLab::Lab(_) => None,
        })
    }

    /// The VMs of the lab and of the labs inside it, each once.
    pub(crate) fn all_vms(&self) -> Vec<Vm> {
        self.collect(&|_| true)
    }

    /// The VMs of the lab and of the labs inside it that were declared at this depth of scopes or further
    /// inside.
    pub(crate) fn vms_below(&self, depth: usize) -> Vec<Vm> {
        self.collect(&|member| member.declared && member.depth >= depth)
    }

    fn collect(&self, wanted: &dyn Fn(&Member) -> bool) -> Vec<Vm> {
        let mut found: Vec<Vm> = Vec::new();
        let inner = self.0.members.map(|member| match &member.thing {
            VmOrLab::Vm(vm) if wanted(member) => Some(vec![vm.clone()]),
            VmOrLab::Vm(_) => None,
            VmOrLab::Lab(lab) => Some(lab.collect(wanted)),
        });
        for vm in inner.into_iter().flatten() {
            if !found.iter().any(|other| other.is(&vm)) {
                found.push(vm);
            }
        }
        found
    }

    /// Runs `action` on each VM in the order of their declaration; the call returns the lab.
    pub(super) fn each(
        &self,
        call: &Call<'_>,
        action: impl Fn(&mut guest::Vm) -> Result<(), VmError>,
    ) -> Answer {
        call.at_most(0)?;
        for vm in self.vms() {
            action(&mut vm.core().borrow_mut()).map_err(|error| call.fail(error))?;
        }
        call.this()
    }
}

/// A lab that was made inside another.
impl Held for Lab {
    fn close(&self) {
        self.0.closed.set(true);
        self.forget_members();
    }
}

/// Frees the names of members that were closed.
fn forget_closed(lab: &Weak<NamedLab>) {
    if let Some(lab) = lab.upgrade() {
        lab.members.forget_closed();
    }
}

/// A member of a lab: a VM or a lab inside it.
#[derive(Clone)]
pub(crate) enum VmOrLab {
    /// A VM.
    Vm(Vm),
    /// A lab inside the lab.
    Lab(Lab),
}

impl VmOrLab {
    /// Name of the VM or lab.
    pub(crate) fn name(&self) -> &str {
        match self {
            VmOrLab::Vm(vm) => vm.name(),
            VmOrLab::Lab(lab) => lab.name(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            VmOrLab::Vm(vm) => vm.is_closed(),
            VmOrLab::Lab(lab) => lab.is_closed(),
        }
    }

    pub(super) fn same(&self, other: &VmOrLab) -> bool {
        match (self, other) {
            (VmOrLab::Vm(a), VmOrLab::Vm(b)) => a.is(b),
            (VmOrLab::Lab(a), VmOrLab::Lab(b)) => a.is(b),
            (VmOrLab::Vm(_), VmOrLab::Lab(_)) | (VmOrLab::Lab(_), VmOrLab::Vm(_)) => false,
        }
    }
}

/// A member of a lab.
#[derive(Clone)]
pub(crate) struct Member {
    /// The VM or lab itself.
    pub(crate) thing: VmOrLab,
    /// The Lua value, so that each lookup gives the same one.
    pub(crate) value: AnyUserData,
    /// Depth of the scope it was declared or included in.
    pub(crate) depth: usize,
    /// Whether it was declared in this lab, rather than included.
    pub(crate) declared: bool,
    /// Line that declared or included it.
    pub(crate) place: Option<Place>,
}

/// The members of a lab, in the order in which they came.
#[derive(Default)]
pub(crate) struct Members(RefCell<Vec<Member>>);

impl Members {
    /// Adds a member.
    pub(crate) fn push(&self, member: Member) {
        self.0.borrow_mut().push(member);
    }

    /// Drops all members, and those of labs among them.
    pub(crate) fn clear(&self) {
        for member in self.0.take() {
            if let VmOrLab::Lab(lab) = member.thing {
                lab.forget_members();
            }
        }
    }

    /// The results of `read` for all members that are not closed, where it has one.
    pub(crate) fn map<R>(&self, read: impl FnMut(&Member) -> Option<R>) -> Vec<R> {
        self.forget_closed();
        self.0.borrow().iter().filter_map(read).collect()
    }

    /// The result of `read` for the member of this name.
    pub(crate) fn find<R>(&self, name: &str, read: impl Fn(&Member) -> R) -> Option<R> {
        let named = |member: &Member| (member.thing.name() == name).then(|| read(member));
        self.map(named).pop()
    }

    /// Drops members that were closed.
    pub(crate) fn forget_closed(&self) {
        self.0.borrow_mut().retain(|member| !member.thing.is_closed());
    }

    /// Removes the member for which `wanted` holds; returns it and its place among the others.
    pub(super) fn remove(&self, wanted: impl Fn(&VmOrLab) -> bool) -> Option<(usize, Member)> {
        self.forget_closed();
        let mut members = self.0.borrow_mut();
        let at = members.iter().position(|member| wanted(&member.thing))?;
        Some((at, members.remove(at)))
    }

    /// Inserts a member at the place that it had.
    pub(super) fn put_back(&self, at: usize, member: Member) {
        let mut members = self.0.borrow_mut();
        let at = at.min(members.len());
        members.insert(at, member);
    }
}
