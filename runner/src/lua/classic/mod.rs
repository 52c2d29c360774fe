//! The classic dialect: the API of earlier test suites, on the same VMs.
//!
//! Input: `provium.create`, `provium.fixture` and what such suites call on VMs and workers. Output: the same
//! guests and agents as everywhere else. Every VM has every method of both dialects; where the two contradict
//! each other (`syscall`, `ioctl`, `dmesg`), a VM that `create` or `fixture` made answers as the classic one
//! does. Not here: a second kind of VM.

pub(crate) mod calls;
pub(crate) mod dmesg;
mod exec;
mod grep;
mod jobs;
pub(crate) mod lab;
mod pack;

use crate::lua::api::binding::Method;
use crate::lua::objects::remote::Remote;

/// The methods of VMs and workers that only this dialect has.
pub(crate) fn methods<T: Remote>() -> Vec<Method<T>> {
    let mut methods = exec::methods();
    methods.extend(calls::methods());
    methods.extend(jobs::methods());
    methods
}
