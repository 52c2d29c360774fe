//! A lab and its members: VMs and labs inside it, by name.
//!
//! Input: declarations and lookups. Output: members, each the same Lua value at every lookup. A member that
//! was closed is none any more. Not here: booting; a declared VM is nothing but a name and its options. And
//! the methods that Lua finds.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{AnyUserData, Lua};
use provium_guest::{BootOptions, Gate, Part, VmHandle};

use crate::config::Profile;
use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::Raise;
use crate::lua::objects::vm::handle::Vm;
use crate::lua::objects::vm::told::Told;
use crate::lua::state::scope::Held;

/// Names that would hide what the API means by them.
const RESERVED: [&str; 6] = [
    "pack",
    "unpack",
    "vm_fixture",
    "lab_fixture",
    "before_each",
    "after_each",
];

/// A lab as Lua has it. The handle is cheap to clone.
#[derive(Clone)]
pub(crate) struct Lab(provium_guest::Lab<MemberTag>);

/// What Lua keeps with a member of a lab.
#[derive(Clone)]
pub(crate) struct MemberTag {
    /// The member, if it is a VM.
    pub(crate) vm: Option<Vm>,
    /// The Lua value, so that each lookup gives the same one.
    pub(crate) value: AnyUserData,
    /// Depth of the scope it was declared or included in.
    pub(crate) depth: usize,
    /// Whether it was declared in this lab, rather than included.
    pub(crate) declared: bool,
    /// Line that declared or included it.
    pub(crate) place: Option<Place>,
    /// Name of the fixture that it came out of, if it did.
    pub(crate) fixture: Option<String>,
}

/// A member of a lab.
pub(crate) type Member = provium_guest::Member<MemberTag>;

/// The root lab of a Lua state, as its app data.
struct RootLab(Lab);

impl Lab {
    /// A root lab, which a file knows as `provium`.
    pub(crate) fn root() -> Lab {
        Lab::named("provium")
    }

    /// A lab of this name without members.
    pub(crate) fn named(name: &str) -> Lab {
        Lab(provium_guest::Lab::new(name))
    }

    /// The lab without Lua.
    pub(crate) fn inner(&self) -> &provium_guest::Lab<MemberTag> {
        &self.0
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
        self.0.same(&other.0)
    }

    /// Drops the members, and with them every Lua value that the lab holds.
    pub(crate) fn forget_members(&self) {
        self.0.clear();
    }

    /// Name of the lab.
    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    /// The Lua value of the member of this name.
    pub(crate) fn find(&self, name: &str) -> Option<AnyUserData> {
        self.0.find(name).map(|member| member.tag.value)
    }

    /// Puts a VM into the lab, owned by the file's scope or the innermost one; returns its Lua value.
    pub(crate) fn add(
        &self,
        call: &Call<'_>,
        name: String,
        profile: Profile,
        options: BootOptions,
        for_file: bool,
        fixture: Option<&str>,
    ) -> Result<(Vm, AnyUserData), Raise> {
        let file = call.file();
        let fixtures = Arc::clone(&file.job().fixtures);
        let weak = self.0.downgrade();
        // Frees the names of members that were closed.
        let on_close = Box::new(move || {
            if let Some(lab) = weak.upgrade() {
                lab.forget_closed();
            }
        });
        let listener = file.splats().listener(&name);
        let vm = Vm::new(name, profile, options, fixtures, on_close).map_err(|message| call.fail(message))?;
        vm.core().on_splat(listener);
        vm.core().set_gate(Arc::clone(file.account()) as Arc<dyn Gate>);
        if file.job().observed {
            let told = Told {
                path: file.job().shown.clone(),
                profile: vm.profile().name.clone(),
                sink: Arc::clone(file.sink()),
            };
            vm.core().set_watch(Arc::new(told));
        }
        let value = vm.clone().into_userdata(call.lua())?;
        let depth = if for_file { 1 } else { file.scopes.depth() };
        let added = self.0.add(vec![Member {
            part: Part::Vm(vm.handle().clone()),
            tag: MemberTag {
                vm: Some(vm.clone()),
                value: value.clone(),
                depth,
                declared: true,
                place: location::caller(call.lua()),
                fixture: fixture.map(str::to_owned),
            },
        }]);
        added.map_err(|error| call.fail(error))?;
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
        !Lab::is_reserved(name) && !self.0.has(name)
    }

    /// The VMs of the lab in the order of their declaration.
    pub(crate) fn vms(&self) -> Vec<Vm> {
        let members = self.0.members().into_iter();
        members.filter_map(|member| member.tag.vm).collect()
    }

    /// The members that a call about all of them means: for `provium` in a test those that came in that test,
    /// so that it does nothing to what the file shares; else every one.
    pub(crate) fn members_in_scope(&self, call: &Call<'_>) -> Vec<Member> {
        let mut members = self.0.members();
        if self.is(&Lab::root_of(call.lua())) {
            let depth = call.file().scopes.depth();
            members.retain(|member| member.tag.depth >= depth);
        }
        members
    }

    /// Whether it has members beside [`members_in_scope`](Self::members_in_scope).
    pub(crate) fn has_more(&self, call: &Call<'_>) -> bool {
        self.0.parts().len() > self.members_in_scope(call).len()
    }

    /// The lab of this name directly inside it.
    pub(crate) fn inner_lab(&self, name: &str) -> Option<Lab> {
        match self.0.find(name)?.part {
            Part::Lab(lab) => Some(Lab(lab)),
            Part::Vm(_) => None,
        }
    }

    /// Puts a lab without members into this one, owned by the file's scope or the innermost one; returns its
    /// Lua value.
    pub(crate) fn add_lab(
        &self,
        call: &Call<'_>,
        name: &str,
        for_file: bool,
    ) -> Result<(Lab, AnyUserData), Raise> {
        let made = Lab::named(name);
        let value = made.clone().into_userdata(call.lua())?;
        let scopes = &call.file().scopes;
        let added = self.0.add(vec![Member {
            part: Part::Lab(made.0.clone()),
            tag: MemberTag {
                vm: None,
                value: value.clone(),
                depth: if for_file { 1 } else { scopes.depth() },
                declared: true,
                place: location::caller(call.lua()),
                fixture: None,
            },
        }]);
        added.map_err(|error| call.fail(error))?;
        match for_file {
            true => scopes.own_by_file(Rc::new(made.clone())),
            false => scopes.own(Rc::new(made.clone())),
        }
        Ok((made, value))
    }

    /// The VMs among [`members_in_scope`](Self::members_in_scope).
    pub(crate) fn vms_in_scope(&self, call: &Call<'_>) -> Vec<Vm> {
        let members = self.members_in_scope(call).into_iter();
        members.filter_map(|member| member.tag.vm).collect()
    }

    /// The VMs of the lab and of the labs inside it that were declared at this depth of scopes or further
    /// inside, each once.
    pub(crate) fn vms_below(&self, depth: usize) -> Vec<VmHandle> {
        let mut found: Vec<VmHandle> = Vec::new();
        let inner = self.0.members().into_iter().flat_map(|member| match member.part {
            Part::Vm(vm) if member.tag.declared && member.tag.depth >= depth => vec![vm],
            Part::Vm(_) => Vec::new(),
            Part::Lab(lab) => Lab(lab).vms_below(depth),
        });
        for vm in inner {
            if !found.iter().any(|other| other.same(&vm)) {
                found.push(vm);
            }
        }
        found
    }
}

/// A lab that was made inside another.
impl Held for Lab {
    fn close(&self) {
        self.0.close();
    }
}
