//! virtio-blk, virtio 1.2 section 5.2: one queue of requests to a medium.
//!
//! Input: requests of a driver that is not trusted. Output: calls of a [`Backend`], which has the bytes. Not
//! here: more queues, discard and write zeroes; where the bytes are.
//!
//! Requests are served one after the other by whoever calls [`BlockHandle::serve`], which is a thread of the
//! monitor: a medium that takes its time stalls that thread and no vCPU. Without a medium the device is an
//! empty slot, which drivers pass over.
//!
//! A request is looked at first, the backend says what its faults do to it (it may take its time, it may
//! fail), and only when the time is over it is done: a piece of it at a time under one lock, which whoever
//! waits for it gets in between. It is taken off the queue with its last piece. So whenever that lock is free
//! a request is done or still on the queue, from where it is begun anew after a restore, and a pause needs
//! no more than the lock.

mod backend;
mod device;
mod request;
#[cfg(test)]
mod tests;

pub use backend::{Access, Backend, FaultEffect, ID_BYTES, SECTOR};
pub use device::{Block, BlockHandle};
