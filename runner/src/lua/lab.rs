//! `Lab`: where VMs are declared and found by name; `provium` is the root lab of a file.
//!
//! Enters: declarations and lookups. Leaves: handles; the scope a VM is declared in closes it. Absent on purpose:
//! booting; a declared VM is nothing but a name and its options.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use mlua::{AnyUserData, Value};

use super::binding::{Field, Kind, Method};
use super::boot_options::BootOptions;
use super::call::{Answer, Call, Raise, duration, none, one};
use super::location::{self, Place};
use super::vm::Vm;
use crate::config::{Profile, nearest};
use crate::guest::{self, VmError};

/// Names that would hide what the API means by them.
const RESERVED: [&str; 4] = ["pack", "unpack", "vm_fixture", "lab_fixture"];

/// A lab.
#[derive(Clone)]
pub(crate) struct Lab(Rc<Shared>);

/// A lab that may be gone.
pub(crate) struct WeakLab(Weak<Shared>);

struct Shared {
    name: String,
    members: RefCell<Vec<Member>>,
}

struct Member {
    vm: Vm,
    /// The Lua value, so that each lookup gives the same one.
    value: AnyUserData,
    /// Depth of the scope it was declared in.
    depth: usize,
    place: Option<Place>,
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
            members: RefCell::default(),
        }))
    }

    /// Lets go of every Lua value.
    pub(crate) fn forget_members(&self) {
        self.0.members.take();
    }

    fn find(&self, name: &str) -> Option<AnyUserData> {
        self.0
            .members
            .borrow()
            .iter()
            .find(|member| member.vm.name() == name)
            .map(|member| member.value.clone())
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
        let vm = Vm::new(name, profile, options, WeakLab(Rc::downgrade(&self.0)), fixtures);
        let value = vm.clone().into_userdata(call.lua())?;
        let depth = if for_file { 1 } else { file.scopes.depth() };
        self.0.members.borrow_mut().push(Member {
            vm: vm.clone(),
            value: value.clone(),
            depth,
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
        let free = names.find(|name| self.find(name).is_none() && !RESERVED.contains(&name.as_str()));
        free.unwrap_or_default()
    }

    /// Its VMs in the order of their declaration.
    pub(crate) fn vms(&self) -> Vec<Vm> {
        self.0
            .members
            .borrow()
            .iter()
            .map(|member| member.vm.clone())
            .collect()
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

impl WeakLab {
    /// Gives a member's name back.
    pub(crate) fn forget(&self, name: &str) {
        if let Some(lab) = self.0.upgrade() {
            lab.members.borrow_mut().retain(|member| member.vm.name() != name);
        }
    }
}

impl Kind for Lab {
    const NAME: &'static str = "Lab";
    const PREFIX: &'static str = "provium";

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
                run: boot,
            },
            Method {
                name: "shutdown",
                signature: "(): Lab",
                doc: "Shuts every VM of the lab down.",
                run: |call, lab| {
                    let cancel = call.file().cancel();
                    lab.each(call, |vm| vm.shutdown(&cancel))
                },
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
                name: "vm_names",
                signature: "(): string[]",
                doc: "Names of its VMs in the order of their declaration.",
                run: |call, lab| {
                    let names: Vec<_> = lab.vms().iter().map(|vm| vm.name().to_owned()).collect();
                    one(call.lua(), names)
                },
            },
            Method {
                name: "name",
                signature: "(): string",
                doc: "Its name.",
                run: |call, lab| one(call.lua(), lab.0.name.as_str()),
            },
        ];
        methods.extend(super::fixture::lab_methods());
        methods.extend(super::snapshot::lab_methods());
        methods
    }

    fn fields() -> Vec<Field<Lab>> {
        vec![
            Field {
                name: "timeout",
                ty: "number|string|nil",
                doc: "Time limit of each test of the file that has none of its own.",
                get: |lua, _| {
                    let limit = super::file::File::of(lua).default_timeout.get();
                    Ok(limit.map_or(Value::Nil, |limit| Value::Number(limit.as_secs_f64())))
                },
            },
            Field {
                name: "reset_between_tests",
                ty: "boolean",
                doc: "Whether the file's VMs are put back, before each test, to what they were after the file's chunk.",
                get: |lua, _| {
                    Ok(Value::Boolean(
                        super::file::File::of(lua).reset_between_tests.get(),
                    ))
                },
            },
            Field {
                name: "fixture",
                ty: "fun(name: string): VM",
                doc: "A VM of the current scope out of a fixture, in the classic dialect.",
                get: |lua, lab| super::fixture::classic(lua, lab.clone()).map(Value::Function),
            },
        ]
    }

    fn missing(call: &mut Call<'_>, lab: &Lab, key: &str) -> Answer {
        one(call.lua(), lab.find(key))
    }

    fn assign(call: &mut Call<'_>, _lab: &Lab, key: &str, value: Value) -> Answer {
        if key == "reset_between_tests" {
            let Value::Boolean(wanted) = value else {
                let got = super::binding::type_name(&value);
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
    let options = BootOptions::read(call.options(2)?)?;
    may_declare(call, lab, &name)?;

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

/// Refuses names that are taken or reserved.
fn may_declare(call: &Call<'_>, lab: &Lab, name: &str) -> Result<(), Raise> {
    if RESERVED.contains(&name) {
        return Err(call.fail(format_args!("`{name}` is a reserved name")));
    }
    let members = lab.0.members.borrow();
    let Some(taken) = members.iter().find(|member| member.vm.name() == name) else {
        return Ok(());
    };
    let place = taken
        .place
        .as_ref()
        .map(|place| format!(" ({place})"))
        .unwrap_or_default();
    Err(call.fail(if taken.depth < call.file().scopes.depth() {
        format!(
            "the name `{name}` is taken: the file declared it at file scope{place}; use {}(\"{name}\") for that VM, or \
             another name",
            call.what()
        )
    } else {
        format!("the name `{name}` is taken{place}; a VM that is closed gives its name back")
    }))
}

fn boot(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(0)?;
    let (vms, cancel) = (lab.vms(), call.file().cancel());
    vms.iter().try_for_each(|vm| vm.prepare_declared(call))?;
    let mut cores: Vec<_> = vms.iter().map(|vm| vm.core().borrow_mut()).collect();
    let mut cores: Vec<&mut guest::Vm> = cores.iter_mut().map(|core| &mut **core).collect();
    guest::Vm::boot_all(&mut cores, &cancel).map_err(|error| call.fail(error))?;
    call.this()
}
