//! A word that the kernel changes when its thread ends, whatever ends it.
//!
//! Each thread can leave a list of locks with the kernel (`set_robust_list`). On the thread's way out, after
//! an oops as after `exit`, the kernel marks those that the thread held as orphaned and wakes who waits for
//! them. A list of one lock that is never given back makes that the notice of a death, and costs nothing
//! until then. The C library's own list, which this takes the place of, is for robust mutexes; the agent has
//! none.
//!
//! Input: the calling thread.
//! Output: whether it has ended, and a futex to wait on.
//! Not here: the waiting; see `watch`.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use rustix::thread::futex::{OWNER_DIED, WAITERS};

use crate::sys;

/// The list of one lock, as the kernel reads it: `struct robust_list_head`, then the lock with its link.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Mark {
    first: AtomicPtr<c_void>,
    /// Bytes from a link to its lock.
    offset: isize,
    pending: AtomicPtr<c_void>,
    /// Link to the next lock; the list's head where there is none.
    next: AtomicPtr<c_void>,
    /// The lock: its holder's thread id until the kernel has marked it, and two bits of the kernel's.
    word: AtomicU32,
    tid: AtomicU32,
}

/// Bytes of a `robust_list_head`.
const HEAD: usize = 3 * size_of::<usize>();

impl Mark {
    /// A mark of no thread yet.
    pub(super) fn new() -> Arc<Mark> {
        let mark = Arc::new(Mark {
            first: AtomicPtr::default(),
            offset: offset_of!(Mark, word).cast_signed() - offset_of!(Mark, next).cast_signed(),
            pending: AtomicPtr::default(),
            next: AtomicPtr::default(),
            word: AtomicU32::new(0),
            tid: AtomicU32::new(0),
        });
        mark.first
            .store((&raw const mark.next).cast_mut().cast(), Ordering::Relaxed);
        mark.next
            .store((&raw const *mark).cast_mut().cast(), Ordering::Relaxed);
        mark
    }

    /// The futex that is woken when the thread ends.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// What the futex is while its thread lives. Without WAITERS the kernel would wake nobody.
    pub(super) fn held(&self) -> u32 {
        self.tid() | WAITERS
    }

    /// Whether the kernel has ended the thread.
    pub(super) fn has_ended(&self) -> bool {
        self.word.load(Ordering::Acquire) & OWNER_DIED != 0
    }

    /// Thread id of its thread.
    pub(super) fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }
}

/// The calling thread has the mark until this is dropped. It stays on its thread.
#[derive(Debug)]
pub(super) struct Held {
    mark: Arc<Mark>,
    _stays: PhantomData<*const ()>,
}

impl Held {
    /// Gives the mark to the calling thread. A kernel without futexes never changes it.
    pub(super) fn new(mark: Arc<Mark>) -> Held {
        let tid = rustix::thread::gettid().as_raw_pid().cast_unsigned();
        mark.tid.store(tid, Ordering::Relaxed);
        mark.word.store(mark.held(), Ordering::Release);
        // SAFETY: the head and its one link are valid, and stay where they are: `mark` keeps them until
        // `drop` has taken the list back. A thread that the kernel ends never drops it.
        let _ = unsafe { sys::set_robust_list((&raw const *mark).cast(), HEAD) };
        Held {
            mark,
            _stays: PhantomData,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: no list is what a thread begins with.
        let _ = unsafe { sys::set_robust_list(ptr::null(), HEAD) };
        self.mark.word.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_changes_it_at_the_end_of_the_thread_and_not_before() {
        let mark = Mark::new();
        let held = mark.clone();
        let thread = std::thread::spawn(move || {
            let held = Held::new(held);
            assert_eq!(
                held.mark.tid(),
                rustix::thread::gettid().as_raw_pid().cast_unsigned()
            );
            assert!(!held.mark.has_ended());
        });
        thread.join().expect("no panic");
        assert!(!mark.has_ended(), "it was given back");
        let held = mark.clone();
        std::thread::spawn(move || {
            let _held = Held::new(held);
            sys::end_this_thread(0);
        });
        while !mark.has_ended() {
            std::thread::yield_now();
        }
    }
}
