//! `Lab`: where VMs are declared and found by name; `provium` is the root lab of a file.
//!
//! Enters: declarations and lookups. Leaves: handles; the scope a VM is declared in closes it. Absent on purpose:
//! booting; a declared VM is nothing but a name and its options.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use mlua::{AnyUserData, Value};

use crate::cancel::Cancel;
use crate::config::{Profile, nearest};
use crate::guest::{self, VmError};
use crate::lua::api::binding::{Field, Kind, Method};
use crate::lua::api::call::{Answer, Call, Raise, duration, none, one};
use crate::lua::api::location;
use crate::lua::objects::barrier::Barriers;
use crate::lua::objects::boot_options::BootOptions;
use crate::lua::objects::membership::{Member, Members, Thing, is_free, may_have};
use crate::lua::objects::vm::Vm;
use crate::lua::state::scope::Resource;

/// A lab.
#[derive(Clone)]
pub(crate) struct Lab(Rc<Shared>);

/// A lab that may be gone.
pub(crate) struct WeakLab(Weak<Shared>);

struct Shared {
    name: String,
    members: Members,
    barriers: Barriers,
    closed: Cell<bool>,
}

impl Lab {
    /// The root lab of a file.
    pub(crate) fn root() -> Lab {
        Lab::named("provium")
    }

    /// A lab of its own.
    pub(crate) fn named(name: &str) -> Lab {
        Lab(Rc::new(Shared {
            name: name.to_owned(),
            members: Members::default(),
            barriers: Barriers::default(),
            closed: Cell::default(),
        }))
    }

    /// Lets go of every Lua value.
    pub(crate) fn forget_members(&self) {
        self.0.members.clear();
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Its members.
    pub(crate) fn members(&self) -> &Members {
        &self.0.members
    }

    /// Its barriers.
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
            Thing::Lab(lab) => Some(lab.clone()),
            Thing::Vm(_) => None,
        });
        labs.iter().any(|lab| lab.same(other) || lab.has_inside(other))
    }

    fn find(&self, name: &str) -> Option<AnyUserData> {
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
        let vm = Vm::new(name, profile, options, WeakLab(Rc::downgrade(&self.0)), fixtures)
            .map_err(|message| call.fail(message))?;
        let value = vm.clone().into_userdata(call.lua())?;
        let depth = if for_file { 1 } else { file.scopes.depth() };
        self.0.members.push(Member {
            thing: Thing::Vm(vm.clone()),
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
        let free = names.find(|name| is_free(self, name));
        free.unwrap_or_default()
    }

    /// Its VMs in the order of their declaration.
    pub(crate) fn vms(&self) -> Vec<Vm> {
        self.0.members.map(|member| match &member.thing {
            Thing::Vm(vm) => Some(vm.clone()),
            Thing::Lab(_) => None,
        })
    }

    /// The VMs of the lab and of the labs inside it, each once.
    pub(crate) fn all_vms(&self) -> Vec<Vm> {
        self.collect(&|_| true)
    }

    /// Those of them that were declared at this depth of scopes or further inside.
    pub(crate) fn vms_below(&self, depth: usize) -> Vec<Vm> {
        self.collect(&|member| member.declared && member.depth >= depth)
    }

    fn collect(&self, wanted: &dyn Fn(&Member) -> bool) -> Vec<Vm> {
        let mut found: Vec<Vm> = Vec::new();
        let inner = self.0.members.map(|member| match &member.thing {
            Thing::Vm(vm) if wanted(member) => Some(vec![vm.clone()]),
            Thing::Vm(_) => None,
            Thing::Lab(lab) => Some(lab.collect(wanted)),
        });
        for vm in inner.into_iter().flatten() {
            if !found.iter().any(|other| other.same(&vm)) {
                found.push(vm);
            }
        }
        found
    }

    /// Runs `action` on each VM in the order of their declaration; the call returns the lab.
    fn each(&self, call: &Call<'_>, action: impl Fn(&mut guest::Vm) -> Result<(), VmError>) -> Answer {
        call.at_most(0)?;
        for vm in self.vms() {
            action(&mut vm.core().borrow_mut()).map_err(|error| call.fail(error))?;
        }
        call.this()
    }
}

/// A lab that was made inside another.
impl Resource for Lab {
    fn close(&self) {
        self.0.closed.set(true);
        self.forget_members();
    }

    fn console_tail(&self) -> Option<(String, String)> {
        None
    }
}

impl WeakLab {
    /// Gives the names of closed members back.
    pub(crate) fn forget_closed(&self) {
        if let Some(lab) = self.0.upgrade() {
            lab.members.forget_closed();
        }
    }
}

impl Kind for Lab {
    const NAME: &'static str = "Lab";
    const PREFIX: &'static str = "provium";
    const OTHERS: Option<&'static str> = Some("VM|Lab|nil");

    fn methods() -> Vec<Method<Lab>> {
        let mut methods = vec![
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
                    let vms = lab.vms();
                    vms.iter().try_for_each(|vm| vm.prepare_declared(call))?;
                    vms.iter().for_each(|vm| vm.console_mark().set(0));
                    all_at_once(call, lab, guest::Vm::boot_all)
                },
            },
            Method {
                name: "shutdown",
                signature: "(): Lab",
                doc: "Shuts every VM of the lab down, all at once.",
                run: |call, lab| all_at_once(call, lab, guest::Vm::shutdown_all),
            },
            Method {
                name: "pause",
                signature: "(): Lab",
                doc: "Pauses every VM of the lab.",
                run: |call, lab| lab.each(call, guest::Vm::pause),
            },
            Method {
                name: "resume",
                signature: "(): Lab",
                doc: "Resumes every VM of the lab.",
                run: |call, lab| lab.each(call, guest::Vm::resume),
            },
            Method {
                name: "name",
                signature: "(): string",
                doc: "Its name.",
                run: |call, lab| one(call.lua(), lab.0.name.as_str()),
            },
        ];
        methods.extend(crate::lua::objects::membership::methods());
        methods.extend(crate::lua::objects::claim::methods());
        methods.extend(crate::lua::objects::barrier::methods());
        methods.extend(crate::lua::test::fixture::lab_methods());
        methods.extend(crate::lua::objects::snapshot::lab_methods());
        methods
    }

    fn fields() -> Vec<Field<Lab>> {
        let mut fields: Vec<Field<Lab>> = vec![
            Field {
                name: "timeout",
                ty: "number|string|nil",
                doc: "Time limit of each test of the file that has none of its own.",
                get: |lua, _| {
                    let limit = crate::lua::test::file::File::of(lua).default_timeout.get();
                    Ok(limit.map_or(Value::Nil, |limit| Value::Number(limit.as_secs_f64())))
                },
            },
            Field {
                name: "reset_between_tests",
                ty: "boolean",
                doc: "Whether the file's VMs are put back, before each test, to what they were after the file's chunk.",
                get: |lua, _| {
                    Ok(Value::Boolean(
                        crate::lua::test::file::File::of(lua).reset_between_tests.get(),
                    ))
                },
            },
            Field {
                name: "fixture",
                ty: "fun(name: string): VM",
                doc: "A VM of the current scope out of a fixture, in the classic dialect.",
                get: |lua, lab| crate::lua::test::fixture::classic(lua, lab.clone()).map(Value::Function),
            },
        ];
        fields.extend(crate::lua::classic::fields());
        fields
    }

    fn missing(call: &mut Call<'_>, lab: &Lab, key: &str) -> Answer {
        one(call.lua(), lab.find(key))
    }

    fn assign(call: &mut Call<'_>, lab: &Lab, key: &str, value: Value) -> Answer {
        if !lab.same(&call.file().lab) {
            return Err(Raise::text(format!(
                "lab `{}` has no settings; those of the file are set as `provium.{key}`",
                lab.name()
            )));
        }
        if key == "reset_between_tests" {
            let Value::Boolean(wanted) = value else {
                let got = crate::lua::api::binding::type_name(&value);
                let message = format!("provium.reset_between_tests: expected true or false, got {got}");
                return Err(Raise::text(message));
            };
            if call.file().running().is_some() {
                let message = "provium.reset_between_tests is set at file scope, and a test runs";
                return Err(Raise::text(message));
            }
            call.file().reset_between_tests.set(wanted);
            return none();
        }
        if key != "timeout" {
            return Err(Raise::text(format!(
                "provium has no setting `{key}`; there are `reset_between_tests` and `timeout`"
            )));
        }
        let limit = match &value {
            Value::Nil => None,
            value => {
                Some(duration(value).map_err(|message| Raise::text(format!("provium.timeout: {message}")))?)
            }
        };
        call.file().default_timeout.set(limit);
        none()
    }

    fn describe(&self) -> String {
        format!("Lab `{}`", self.0.name)
    }

    fn same(&self, other: &Lab) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
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
    let options = BootOptions::read(call, call.options(2)?)?;
    may_have(call, lab, &name)?;

    let (_, value) = lab.add(call, name, profile, options, false)?;
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

/// Does to all its VMs what they do side by side; the call returns the lab.
fn all_at_once(
    call: &Call<'_>,
    lab: &Lab,
    action: fn(&mut [&mut guest::Vm], &Arc<Cancel>) -> Result<(), VmError>,
) -> Answer {
    call.at_most(0)?;
    let (vms, cancel) = (lab.vms(), call.file().cancel());
    let mut cores: Vec<_> = vms.iter().map(|vm| vm.core().borrow_mut()).collect();
    let mut cores: Vec<&mut guest::Vm> = cores.iter_mut().map(|core| &mut **core).collect();
    action(&mut cores, &cancel).map_err(|error| call.fail(error))?;
    call.this()
}
