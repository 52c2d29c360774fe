//! Ending Lua code that would go on: by time limit, Ctrl-C or another test's failure.
//!
//! Input: the file's or the test's [`Cancel`]. Output: an error raised in the running Lua code, whether it
//! computes (a hook looks every few thousand instructions) or waits in a call (which ends because its machine
//! is killed, and reports the ending in place of its own error). Not here: C functions of Lua's own libraries
//! that run long, such as a pathological `string.find`; nothing can end those from inside.

use std::ffi::c_int;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mlua::Lua;
use provium_base::cancel::{Cancel, CancelReason};

use super::script::Script;
use super::value::seconds;
use super::{hook, location};

/// Instructions between two looks at the token.
const INTERVAL: c_int = 10_000;

/// Calls of a test whose lines are noted, each of them.
const NOTED_CALLS: u32 = 1000;

/// Sets the hook that looks at the current token every few thousand instructions.
pub(crate) fn watch(lua: &Lua) -> mlua::Result<()> {
    let look = lua.create_function(|lua, ()| {
        note_line(lua);
        Ok(ending(lua, ""))
    })?;
    hook::set(lua, INTERVAL, Some(look))
}

/// Tells the script's owner which line runs, who can say so when the code never comes back.
pub(crate) fn note_line(lua: &Lua) {
    Script::of(lua).at_line(location::in_test_file(lua));
}

/// The same for a call that does not wait, as long as there were few of them: it would double what one costs
/// in a loop, where the hook looks now and then.
pub(crate) fn note_call(lua: &Lua) {
    let script = Script::of(lua);
    if script.count_call() <= NOTED_CALLS {
        script.at_line(location::in_test_file(lua));
    }
}

/// The message for the running code if it is to end. The first time, the line it was at is noted; `what` is
/// the call it was in, if any.
pub(crate) fn ending(lua: &Lua, what: &str) -> Option<String> {
    let script = Script::of(lua);
    let reason = script.cancel().is_cancelled()?;
    // From now on at each instruction, so that code which catches the error gets no further. Where that
    // cannot be set, the hook that looks now and then remains.
    let _ = hook::set(lua, 1, None);
    Some(script.note_ending(|| (ending_message(&script, reason, what), location::in_test_file(lua))))
}

fn ending_message(script: &Script, reason: CancelReason, what: &str) -> String {
    let limit = match reason {
        CancelReason::TestTimeout => script
            .part_limit()
            .map(|limit| format!("timed out after {}s", seconds(limit))),
        CancelReason::FileTimeout => script
            .whole_limit()
            .map(|limit| format!("the file's time limit of {}s has passed", seconds(limit))),
        CancelReason::Splat => script.splat().lock().clone(),
        CancelReason::Interrupted | CancelReason::FailFast => None,
    };
    let place = if what.is_empty() {
        String::new()
    } else {
        format!(", waiting in {what}")
    };
    format!("{}{place}", limit.unwrap_or_else(|| reason.to_string()))
}

/// A time limit that cancels a token, unless dropped before.
pub(crate) struct Deadline {
    disarm: Arc<Cancel>,
    thread: Option<JoinHandle<()>>,
}

impl Deadline {
    /// Starts a time limit of `limit`, after which `token` is cancelled.
    pub(crate) fn new(token: &Arc<Cancel>, limit: Duration) -> std::io::Result<Deadline> {
        let disarm = Cancel::new();
        let (token, disarmed) = (Arc::clone(token), Arc::clone(&disarm));
        let thread = std::thread::Builder::new()
            .name("test deadline".into())
            .spawn(move || {
                if disarmed.sleep(limit).is_none() {
                    token.cancel(CancelReason::TestTimeout);
                }
            })?;
        Ok(Deadline {
            disarm,
            thread: Some(thread),
        })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm.cancel(CancelReason::Interrupted);
        if let Some(thread) = self.thread.take() {
            // It only sleeps and cancels; a panic in a callback has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
