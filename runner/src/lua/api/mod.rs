//! How Rust becomes Lua: calls and their arguments, userdata, errors, values in words.
//!
//! Input: what Lua passes. Output: Rust values, and errors at the line of the caller. Not here: tests and
//! guests; this floor would serve any program that is scripted in Lua.

pub(crate) mod absent;
pub(crate) mod binding;
pub(crate) mod call;
pub(crate) mod condition;
pub(crate) mod equal;
mod hook;
pub(crate) mod interrupt;
pub(crate) mod json;
pub(crate) mod location;
pub(crate) mod options;
pub(crate) mod prelude;
pub(crate) mod protect;
pub(crate) mod raise;
pub(crate) mod render;
pub(crate) mod script;
pub(crate) mod signal;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod value;
