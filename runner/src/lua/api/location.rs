//! Which line of the test a call came from.
//!
//! Input: the Lua stack as it is now. Output: `path:line`, of the innermost frame that is the user's own Lua,
//! or of the test file itself. Not here: Lua's `short_src`, which cuts long paths.

use std::path::Path;

use mlua::Lua;
use mlua::debug::Debug;

use super::prelude::PRELUDE;
use super::script::Script;

/// A place in a Lua file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as reports name it.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// The innermost frame of the user's own Lua.
pub(crate) fn caller(lua: &Lua) -> Option<Place> {
    find(lua, |_| true)
}

/// The innermost frame of the test file itself.
pub(crate) fn in_test_file(lua: &Lua) -> Option<u32> {
    let script = Script::of(lua);
    find(lua, |source| source == script.chunk_name()).map(|place| place.line)
}

/// The innermost frame of the user's own Lua, if that is in another file than the test file.
pub(crate) fn in_helper(lua: &Lua) -> Option<Place> {
    let script = Script::of(lua);
    let chunk = calling_chunk(lua)?;
    (chunk.starts_with('@') && chunk != script.chunk_name())
        .then(|| caller(lua))
        .flatten()
}

/// A place in words.
pub(crate) fn shown_place(place: Option<&Place>) -> String {
    place.map_or_else(|| "an unknown place".to_owned(), Place::to_string)
}

/// `path:line: ` of the caller, empty when no frame of the user's is on the stack.
pub(crate) fn prefix(lua: &Lua) -> String {
    caller(lua).map(|place| format!("{place}: ")).unwrap_or_default()
}

/// Lua's name for the chunk of the innermost frame of the user's own Lua.
pub(crate) fn calling_chunk(lua: &Lua) -> Option<String> {
    innermost(lua, |debug| {
        let name = debug.source().source?;
        (name != PRELUDE).then(|| name.into_owned())
    })
}

fn find(lua: &Lua, wanted: impl Fn(&str) -> bool) -> Option<Place> {
    innermost(lua, |debug| {
        let source = debug.source();
        let name = source.source?;
        if name == PRELUDE || !wanted(&name) {
            return None;
        }
        let path = match name.strip_prefix('@') {
            Some(path) => shown(lua, path),
            None => source.short_src?.into_owned(),
        };
        Some(Place {
            path,
            line: u32::try_from(debug.current_line()?).ok()?,
        })
    })
}

/// What `look` finds in the innermost frame of Lua in which it finds something.
fn innermost<T>(lua: &Lua, look: impl Fn(&Debug<'_>) -> Option<T>) -> Option<T> {
    for level in 0.. {
        let frame = lua.inspect_stack(level, |debug| {
            debug.current_line()?;
            look(debug)
        });
        match frame {
            None => return None,
            Some(None) => {}
            Some(found) => return found,
        }
    }
    None
}

/// A helper's path relative to the project where possible.
fn shown(lua: &Lua, path: &str) -> String {
    let script = Script::of(lua);
    let relative = Path::new(path)
        .strip_prefix(script.project())
        .ok()
        .map(Path::to_string_lossy);
    relative.map_or_else(|| path.to_owned(), |relative| relative.into_owned())
}
