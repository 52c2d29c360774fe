//! Fixtures as Lua writes and uses them.
//!
//! Enters: a fixture's name, from a test or from another fixture's source; or a source that is to be run. Leaves: VMs
//! out of its snapshots; or an entry's files. What a source takes in is noted on the way, so that the fixture is built
//! again when it changes. Absent on purpose: the cache's rules, and which machine a VM gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlua::{Function, Lua, Table, Value};

use crate::cancel::Cancel;
use crate::config::Config;
use crate::discover::shown;
use crate::fixture::{Building, FixtureSource, Input};
use crate::guest::{Fixture, FixtureMeta, FixtureVm, Fixtures};
use crate::lua::api::binding::{Kind, Method, function, this, type_name};
use crate::lua::api::call::{Answer, Call, Raise, none, one};
use crate::lua::classic::speaks_classic;
use crate::lua::objects::boot_options::BootOptions;
use crate::lua::objects::lab::Lab;
use crate::lua::objects::snapshot::{LabSnapshot, Snapshot, describe};
use crate::lua::objects::vm::Vm;
use crate::lua::state::create;
use crate::lua::test::file::File;
use crate::lua::test::runner;
use crate::lua::test::test_run::protected;
use crate::run::job::FileJob;
use crate::run::pool::{Amount, Pool};
use crate::run::select::NameFilter;

/// Runs a fixture's source and leaves its snapshots in the build's folder.
///
/// # Errors
/// What went wrong, with the line of the source.
pub fn build(
    config: &Arc<Config>,
    fixtures: &Arc<Fixtures>,
    source: &FixtureSource,
    building: &Building,
    cancel: &Arc<Cancel>,
) -> Result<(), String> {
    let text = std::fs::read_to_string(&source.path)
        .map_err(|error| format!("{}: {error}", source.path.display()))?;
    let job = FileJob {
        // A fixture reserves nothing.
        pool: Pool::new(Amount::default()),
        path: source.path.clone(),
        shown: shown(&source.path, &config.project),
        project: config.project.clone(),
        roots: config.roots.clone(),
        config: Arc::clone(config),
        filter: Arc::new(NameFilter::default()),
        timeout: None,
        fixtures: Arc::clone(fixtures),
        cancel: Arc::clone(cancel),
    };
    let file = File::of_fixture(&job, text, building.clone());
    let lua = create::new(&file).map_err(|error| format!("Lua cannot be set up: {error}"))?;
    file.scopes.enter();
    let kept = runner::run_fixture(&lua, &file).and_then(|value| keep(source, building, &file, &value));
    file.scopes.leave();
    file.forget_lua();
    kept
}

/// Makes what the source returned the content of the entry.
fn keep(source: &FixtureSource, building: &Building, file: &File, value: &Value) -> Result<(), String> {
    let not_here = || "its snapshot is kept in the cache: call snapshot() without a path".to_owned();
    let (lab, vms) = if let Some(snapshot) = this::<Snapshot>(value) {
        (false, vec![snapshot.for_fixture().ok_or_else(not_here)?])
    } else if let Some(snapshot) = this::<LabSnapshot>(value) {
        (true, snapshot.vms())
    } else if let Some(vm) = this::<Vm>(value) {
        let (name, folder) = FixtureMeta::vm_folder(building.dir(), file.next_snapshot())?;
        vm.save(&folder, true, true).map_err(|error| error.to_string())?;
        (false, vec![describe(&vm, name)])
    } else {
        let got = type_name(value);
        return Err(format!(
            "fixture `{}` returned {got}; end it with `return vm:snapshot()`, or `return provium:snapshot()` for a lab",
            source.name
        ));
    };
    remove_others(building.dir(), &vms)?;
    FixtureMeta { lab, vms }.write(building.dir())
}

/// Snapshots that were taken on the way and are not the fixture.
fn remove_others(build: &Path, vms: &[FixtureVm]) -> Result<(), String> {
    let folders = build.join("vm");
    let failed = |error: std::io::Error| format!("{}: {error}", folders.display());
    for entry in std::fs::read_dir(&folders).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !vms.iter().any(|vm| build.join(&vm.folder) == path) {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
    }
    Ok(())
}

/// `Lab:vm_fixture`, `Lab:lab_fixture`, `Lab:depends_on_file`.
pub(crate) fn lab_methods() -> Vec<Method<Lab>> {
    vec![
        Method {
            name: "vm_fixture",
            signature: "(name: string): VM",
            doc: "A running VM out of a fixture, which is built if it is not cached; it lasts until the file ends.",
            run: |call, lab| {
                call.at_most(1)?;
                let name = call.name(0, "a string as the fixture's name")?;
                one_vm(call, lab, &name, true)
            },
        },
        Method {
            name: "lab_fixture",
            signature: "(name: string): Lab",
            doc: "A lab with the running VMs of a fixture; it lasts until the file ends.",
            run: lab_fixture,
        },
        Method {
            name: "depends_on_file",
            signature: "(path: string)",
            doc: "Makes a file of the host an input of the fixture that is being built.",
            run: |call, _| {
                call.at_most(1)?;
                let path = call.file().project().join(call.name(0, "a string as path")?);
                let input = Input::HostFile { path };
                call.file()
                    .takes_in(input)
                    .map_err(|message| call.fail(message))?;
                none()
            },
        },
    ]
}

/// `provium.fixture(name)`, with a dot or a colon.
pub(crate) fn classic(lua: &Lua, lab: Lab) -> mlua::Result<Function> {
    function(lua, "provium.fixture", move |call| {
        if this::<Lab>(call.arg(0)).is_some() {
            call.take_self();
        }
        call.at_most(1)?;
        let name = call.name(0, "a string as the fixture's name")?;
        one_vm(call, &lab, &name, false)
    })
}

fn one_vm(call: &Call<'_>, lab: &Lab, name: &str, for_file: bool) -> Answer {
    let fixture = obtain(call, name)?;
    if fixture.lab {
        return Err(call.fail(format_args!(
            "fixture `{name}` is a lab of {} VM(s); use provium:lab_fixture(\"{name}\")",
            fixture.vms.len()
        )));
    }
    match fixture.vms.first() {
        Some((vm, snapshot)) => {
            let own = match for_file {
                true => &vm.name,
                // The classic dialect knows it by its fixture, and has the profile's name for what it creates itself.
                false => short_name(name),
            };
            let value = materialise(call, lab, own, vm, snapshot, for_file)?;
            // Only the classic dialect's fixtures end with their test.
            if !for_file && let Some(vm) = this::<Vm>(&Value::UserData(value.clone())) {
                speaks_classic(call, &vm);
            }
            one(call.lua(), value)
        }
        None => Err(call.fail(format_args!("fixture `{name}` has no VM"))),
    }
}

/// The last part of a fixture's name, without what a source's path ends with.
fn short_name(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    let stem = last.strip_suffix(".fixture.lua").or(last.strip_suffix(".lua"));
    stem.unwrap_or(last)
}

fn lab_fixture(call: &mut Call<'_>, _: &Lab) -> Answer {
    call.at_most(1)?;
    let name = call.name(0, "a string as the fixture's name")?;
    let fixture = obtain(call, &name)?;
    if !fixture.lab {
        return Err(call.fail(format_args!(
            "fixture `{name}` is one VM; use provium:vm_fixture(\"{name}\")"
        )));
    }
    let lab = Lab::named(&name);
    for (vm, snapshot) in &fixture.vms {
        materialise(call, &lab, &vm.name, vm, snapshot, true)?;
    }
    one(call.lua(), lab.into_userdata(call.lua())?)
}

fn materialise(
    call: &Call<'_>,
    lab: &Lab,
    name: &str,
    vm: &FixtureVm,
    snapshot: &Arc<provium_vmm::snapshot::Snapshot>,
    for_file: bool,
) -> Result<mlua::AnyUserData, Raise> {
    let config = Arc::clone(&call.file().job().config);
    let profile = config
        .profile(&vm.profile)
        .map_err(|message| call.fail(message))?
        .clone();
    let options: BootOptions = serde_json::from_value(vm.options.clone())
        .map_err(|error| call.fail(format_args!("the fixture's options of VM `{}`: {error}", vm.name)))?;
    let (made, value) = lab.add(call, lab.free_name(name), profile, options, for_file)?;
    made.enter(snapshot, false)
        .map_err(|error| made.failed(call, error))?;
    Ok(value)
}

/// The fixture from the cache, or built now, in a Lua state of its own.
fn obtain(call: &Call<'_>, name: &str) -> Result<Arc<Fixture>, Raise> {
    let file = call.file();
    let job = file.job();
    let fixtures = &job.fixtures;
    let cancel = file.cancel();
    let source = fixtures.source(name).map_err(|message| call.fail(message))?;
    let chain = file
        .building()
        .map(|building| building.chain().clone())
        .unwrap_or_default();
    let mut run = |building: &Building| build(&job.config, fixtures, &source, building, &cancel);
    let fixture = fixtures
        .obtain(&source, &chain, &job.shown, &cancel, &mut run)
        .map_err(|message| call.fail(message))?;
    if let Some(building) = file.building() {
        building.inputs().uses(&fixture.entry);
    }
    Ok(fixture)
}

/// Makes `require` note what it finds, and what it looked for before.
pub(crate) fn watch_require(lua: &Lua) -> mlua::Result<()> {
    let original: Function = lua.globals().get("require")?;
    let watched = function(lua, "require", move |call| {
        let name = call.name(0, "a string as the module's name")?;
        let package: Table = call.lua().globals().get("package")?;
        let loaded: Value = package.get::<Table>("loaded")?.get(name.as_str())?;
        if loaded.is_nil() {
            let path: String = package.get("path")?;
            note_module(call, &name, &path)?;
        }
        let mut result = protected_with(call.lua(), &original, call.arg(0).clone())?;
        match result.pop_front() {
            Some(Value::Boolean(true)) => Ok(result),
            _ => Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
        }
    })?;
    lua.globals().set("require", watched)
}

fn note_module(call: &Call<'_>, name: &str, path: &str) -> Result<(), Raise> {
    let file = name.replace('.', "/");
    for candidate in path
        .split(';')
        .map(|pattern| PathBuf::from(pattern.replace('?', &file)))
    {
        let found = candidate.is_file();
        let input = match found {
            true => Input::Helper {
                name: name.to_owned(),
                path: candidate,
            },
            // One that appears there later would be found first.
            false => Input::HostFile { path: candidate },
        };
        call.file()
            .takes_in(input)
            .map_err(|message| call.fail(message))?;
        if found {
            break;
        }
    }
    Ok(())
}

fn protected_with(lua: &Lua, function: &Function, argument: Value) -> mlua::Result<mlua::MultiValue> {
    let bound = function.bind(argument)?;
    protected(lua, &bound)
}
