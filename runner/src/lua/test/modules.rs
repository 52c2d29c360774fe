//! How `require` finds a module.
//!
//! Input: a module's name. Output: its code and its file, for Lua's own `require`, from the templates of
//! `package.path` and from folders that no template can name; or an error with the nearest name there is. In
//! a fixture's source each file is noted as an input, and so is each place before it. Not here: modules in C,
//! which could break the state.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mlua::{Lua, LuaString, MultiValue, Table, Value};
use provium_base::cause::Cause;
use provium_base::nearest::nearest;
use provium_base::walk::is_searched;
use provium_cache::Input;
use walkdir::WalkDir;

use super::file::File;
use crate::discover::{SUFFIX, shown};
use crate::lua::api::binding::function;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::source::Source;
use crate::lua::state::create::can_be_named;
use crate::lua::state::guards;

/// Files that are looked at for the nearest name.
const MOST_FILES: usize = 10_000;

/// Puts the search in place of Lua's own, behind `package.preload`.
pub(crate) fn install(lua: &Lua) -> mlua::Result<()> {
    let package: Table = lua.globals().get("package")?;
    let preload: Value = package.get::<Table>("searchers")?.get(1)?;
    let searchers =
        lua.create_sequence_from([preload, Value::Function(function(lua, "require", search)?)])?;
    package.set("searchers", searchers)
}

fn search(call: &mut Call<'_>) -> Answer {
    let name = call.string(0, "a string as the module's name")?;
    let places = places(call, &name)?;
    for place in &places {
        let found = place.is_file();
        call.takes_in(match found {
            true => Input::Helper {
                name: name.to_string_lossy(),
                path: place.clone(),
            },
            // One that appears there later would be found first.
            false => Input::HostFile { path: place.clone() },
        })?;
        if found {
            return loaded(call, place);
        }
    }
    let message = missing(&call.file(), &name.to_string_lossy());
    // A searcher of the test's own behind this one has its turn.
    let package: Table = call.lua().globals().get("package")?;
    match package.get::<Table>("searchers")?.raw_len() {
        0..=2 => Err(Raise::text(message)),
        _ => one(call.lua(), message),
    }
}

/// The code of a module and its path, as `require` wants them.
fn loaded(call: &Call<'_>, path: &Path) -> Answer {
    let file = call.file();
    let shown = shown(path, file.project());
    let source = Source::read(path).map_err(|error| call.fail(format_args!("{shown}: {}", Cause(&error))))?;
    let chunk = source.function(call.lua(), &format!("@{shown}"));
    let chunk = chunk.map_err(|message| call.fail(message))?;
    let loader = guards::module(call.lua(), chunk)?;
    let path = call.lua().create_string(path.as_os_str().as_bytes())?;
    Ok(MultiValue::from_vec(vec![
        Value::Function(loader),
        Value::String(path),
    ]))
}

/// Files that a module can be, in the order in which they are looked for.
fn places(call: &Call<'_>, name: &LuaString) -> mlua::Result<Vec<PathBuf>> {
    let name: Vec<u8> = name
        .as_bytes()
        .iter()
        .map(|byte| if *byte == b'.' { b'/' } else { *byte })
        .collect();
    let package: Table = call.lua().globals().get("package")?;
    let templates = package.get::<LuaString>("path")?.as_bytes().to_vec();
    let templates = templates
        .split(|byte| *byte == b';')
        .filter(|one| !one.is_empty());
    let file = call.file();
    let mut places: Vec<PathBuf> = templates
        .map(|template| {
            template
                .split(|byte| *byte == b'?')
                .collect::<Vec<_>>()
                .join(&name[..])
        })
        .map(|path| file.project().join(OsStr::from_bytes(&path)))
        .collect();
    for folder in file.module_folders() {
        if !can_be_named(folder) {
            for end in [&b".lua"[..], b"/init.lua"] {
                places.push(folder.join(OsStr::from_bytes(&[&name[..], end].concat())));
            }
        }
    }
    Ok(places)
}

/// What is said of a module that is nowhere.
fn missing(file: &File, name: &str) -> String {
    let folders = file.module_folders();
    let known = modules(&folders);
    let hint = nearest(name, known.iter().map(String::as_str))
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    let below: Vec<_> = folders
        .iter()
        .map(|folder| match shown(folder, file.project()) {
            here if here == "." => folder.display().to_string(),
            there => there,
        })
        .collect();
    let path = name.replace('.', "/");
    format!(
        "module `{name}` not found: no {path}.lua below {}{hint}",
        below.join(" or ")
    )
}

/// Names of the modules below these folders.
fn modules(folders: &[&Path]) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| {
        let walk = WalkDir::new(folder).into_iter().filter_entry(is_searched);
        let entries = walk.filter_map(Result::ok).take(MOST_FILES);
        entries.filter_map(move |entry| {
            let path = entry.path().strip_prefix(folder).ok()?.to_str()?.to_owned();
            let module = path.strip_suffix(".lua").filter(|_| !path.ends_with(SUFFIX))?;
            Some(module.strip_suffix("/init").unwrap_or(module).replace('/', "."))
        })
    });
    files.collect()
}
