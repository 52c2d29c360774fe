//! The method tables that are put together from several files: of VMs, labs and workers.
//!
//! Input: lists of methods. Output: a [`Kind`](super::api::binding::Kind) for each, in the order in which the
//! stubs have it. The other userdata have their table beside them. Not here: what a method does.

mod batch;
mod lab;
mod remote;
mod vm;
mod worker;

pub(crate) use remote::methods as remote;
