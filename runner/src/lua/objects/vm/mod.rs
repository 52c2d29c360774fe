//! `VM`: a guest as Lua sees it.
//!
//! Input: calls of a test. Output: what the VM behind the handle did. Not here: the life of a VM itself,
//! which `guest::Vm` has without Lua; and the table of all methods, which `tables` puts together.

pub(crate) mod handle;
pub(crate) mod methods;
pub(crate) mod places;
pub(crate) mod told;
pub(crate) mod wait;
