//! The hook that looks at running Lua code now and then, and can end it.
//!
//! Input: a function that returns an error for the running code, or nil. Output: the error, raised in that
//! code. Not here: why code is ended. mlua's own hook is not used: before it raises, it empties the frame of
//! the function that it has interrupted, which runs `__close` of that function's variables with hooks off, so
//! that nothing could end those.

use std::ffi::{CStr, c_int};

use mlua::{Function, Lua, ffi};

/// Registry key of the function.
const LOOK: &CStr = c"provium.look";

/// Has `look` called every `interval` instructions, in the running coroutine and in all that it makes from
/// now on.
pub(super) fn set(lua: &Lua, interval: c_int, look: Option<Function>) -> mlua::Result<()> {
    if let Some(look) = look {
        lua.set_named_registry_value(&LOOK.to_string_lossy(), look)?;
    }
    // SAFETY: the state is the running one, and lua_sethook neither raises nor uses its stack.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, interval)
        })
    }
}

/// Calls the function and raises what it returns.
unsafe extern "C-unwind" fn hook(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: Lua calls a hook with a valid state and LUA_MINSTACK free slots, of which two are used. Nothing
    // in this frame has a destructor, so that an error may leave it by a jump; the function itself is called
    // in protected mode, so that none leaves its frames.
    unsafe {
        ffi::lua_getfield(state, ffi::LUA_REGISTRYINDEX, LOOK.as_ptr());
        let failed = ffi::lua_pcall(state, 0, 1, 0) != ffi::LUA_OK;
        if failed || ffi::lua_isnil(state, -1) == 0 {
            // From now on at each instruction, so that code which catches the error gets no further.
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, 1);
            ffi::lua_error(state);
        }
        ffi::lua_pop(state, 1);
    }
}
