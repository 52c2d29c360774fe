//! Listing a test file: its own code runs with handles that boot nothing, and none of its tests run.
//!
//! Input: a file and its Lua state. Output: a [`Listed`]. What the code finds in place of `provium` is
//! `listing.lua`; a file whose tests hang on what a guest says cannot be listed so, and the reason is said.
//! Not here: which files, and how a list is shown.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};
use provium_base::cancel::CancelReason;

use super::chunk::run_chunk;
use super::file::File;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Raise, one};
use crate::session::listed::{Listed, ListedTest};
use crate::session::select::Labels;

/// What a text of a guest is read as.
const MARK: &str = "\u{fffc}guest\u{fffc}";
/// Registry key of the value that stands for what a guest says.
const GUEST: &str = "provium.listing.guest";

/// Puts handles that boot nothing in the place of `provium`.
pub(crate) fn install(lua: &Lua, file: &Rc<File>) -> mlua::Result<()> {
    let in_place = {
        let file = Rc::downgrade(file);
        lua.create_function(move |_, ()| {
            if let Some(file) = file.upgrade() {
                file.in_place.set(true);
            }
            Ok(())
        })?
    };
    *file.listed.borrow_mut() = Some(Vec::new());
    let chunk = lua.load(include_str!("listing.lua")).set_name("=[provium]");
    let (root, guest): (Table, Table) = chunk.call((MARK, in_place))?;
    lua.set_named_registry_value(GUEST, guest)?;
    lua.globals().set("provium", root)
}

/// Runs the file's own code and tells of its tests.
pub(crate) fn list(lua: &Lua, file: &Rc<File>) -> Listed {
    file.scopes.enter();
    let ended = run_chunk(lua, file);
    file.scopes.leave();
    let job = file.job();
    let todo = file.todo.borrow().clone();
    if ended.is_ok() && file.is_a_test() {
        let name = job.name_of_file();
        let wanted = job.found(&name, &Labels::new(), None);
        add(
            file,
            ListedTest {
                name,
                line: None,
                labels: Labels::new(),
                skip: None,
                wanted,
            },
        );
    }
    let mut tests = file.listed.take().unwrap_or_default();
    for test in &mut tests {
        test.skip = todo.clone().or(test.skip.take());
    }
    file.forget_lua();
    let error = match (ended, job.cancel.is_cancelled()) {
        (_, Some(CancelReason::FileTimeout)) => Some("its own code does not end without a guest".to_owned()),
        (Err(failed), _) => Some(failed.error),
        (Ok(()), _) => None,
    };
    Listed {
        shown: job.shown.clone(),
        path: job.path.clone(),
        // Some of the tests of a file are no list of them.
        tests: if error.is_some() { Vec::new() } else { tests },
        error,
    }
}

/// Whether the file is listed and not run.
pub(crate) fn is_listed(file: &File) -> bool {
    file.listed.borrow().is_some()
}

/// Adds a test to the list.
pub(crate) fn add(file: &File, test: ListedTest) {
    file.listed.borrow_mut().get_or_insert_default().push(test);
}

/// Whether the value stands for what a guest says, or is a text with it.
fn hangs_on_a_guest(lua: &Lua, value: &Value) -> bool {
    match value {
        Value::Table(table) => lua
            .named_registry_value::<Table>(GUEST)
            .is_ok_and(|guest| guest == *table),
        Value::String(text) => text.to_string_lossy().contains(MARK),
        _ => false,
    }
}

/// Refuses a test whose name is what a guest says, when files are listed.
pub(crate) fn check_name(call: &Call<'_>) -> Result<(), Raise> {
    match is_listed(&call.file()) && hangs_on_a_guest(call.lua(), call.arg(0)) {
        true => Err(call.fail("its name depends on what a guest says")),
        false => Ok(()),
    }
}

/// What a function returns that waits for a guest or asserts something of it, when files are listed.
pub(crate) fn guest(call: &Call<'_>) -> Option<Result<MultiValue, Raise>> {
    if !is_listed(&call.file()) {
        return None;
    }
    let guest = call.lua().named_registry_value::<Table>(GUEST);
    Some(
        guest
            .map_err(Raise::from)
            .and_then(|guest| one(call.lua(), guest)),
    )
}
