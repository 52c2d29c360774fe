//! A VM's serial console: what it prints, waiting for a text in it, typing into it.
//!
//! Input: calls of a test. Output: the userdata `Console`. Not here: the log itself, which the machine keeps;
//! and streams of it, which `stream` has.

mod expect;
pub(crate) mod handle;

pub(crate) use handle::vm_methods;
