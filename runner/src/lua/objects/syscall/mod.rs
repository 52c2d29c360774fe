//! System calls of the guest: made and waited for, started, ioctls.
//!
//! Input: numbers, arguments and buffers. Output: the kernel's answers and the buffers afterwards. Not here:
//! the dialect of earlier suites; `classic` has that.

pub(crate) mod arguments;
pub(crate) mod call;
pub(crate) mod handle;
pub(crate) mod ioctl;
