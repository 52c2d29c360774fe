//! Threads that the kernel may end while the agent goes on: by an oops, by seccomp, by the system call
//! `exit`.
//!
//! Neither the host nor anybody in the agent would hear of it: the process lives, and so do its descriptors.
//! So each thread that somebody waits for is watched, and what its end means for them is done on another
//! thread.
//!
//! ```text
//! mark     a word that the kernel changes when a thread ends
//! watch    the thread that waits for those words; what is done then
//! ```
//!
//! Input: a thread that is to be watched, and what its end means.
//! Output: that, done, with how the thread ended.
//! Not here: the end of the whole process, which closes its connections; threads that end as they should.

mod mark;
mod watch;

pub(crate) use watch::{ThreadWatch, Watched, during_call};
