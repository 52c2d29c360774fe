//! Pages of mapped files that cannot be had any more, noticed instead of died of.
//!
//! Input: ranges of this process that files are mapped into. Output: whether a page of one was lost. Not
//! here: which file that was, and what follows for whom.
//!
//! The system sends SIGBUS to a thread that touches a page behind the end of its file, of a file that another
//! has cut short, or a hole of a file in a tmpfs that is full. The handler here gives that thread a page of
//! zeros, so that it goes on with what it does, and notes the loss; whoever watches the range ends what
//! depends on it. A fault outside of all ranges is a bug and ends the process as without the handler.
//!
//! The handler takes no lock and no memory: the ranges are in a list that only grows, of nodes that are used
//! again.

use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use vmm_sys_util::signal::register_signal_handler;

use crate::layer::PAGE;

/// A range that is watched; dropping this ends that.
#[derive(Debug)]
pub(crate) struct WatchedRange(&'static Node);

/// A place in the list of ranges.
#[derive(Debug)]
struct Node {
    /// Address of the first byte; 0 while the node is free.
    start: AtomicUsize,
    /// Address behind the last byte.
    end: AtomicUsize,
    lost: AtomicBool,
    /// An event counter that is raised at a loss, or -1.
    wake: AtomicI32,
    next: OnceLock<&'static Node>,
}

static FIRST: Node = Node::new();
/// Held by whoever looks for a free node; the handler never does.
static CLAIM: Mutex<()> = Mutex::new(());

impl Node {
    const fn new() -> Node {
        Node {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            wake: AtomicI32::new(-1),
            next: OnceLock::new(),
        }
    }

    fn all() -> impl Iterator<Item = &'static Node> {
        std::iter::successors(Some(&FIRST), |node| node.next.get().copied())
    }
}

impl WatchedRange {
    /// Watches the `len` bytes at `base`; at a loss the event counter `wake` is raised, which has to be open
    /// for as long as anybody uses the range.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub(crate) fn new(base: *const u8, len: usize, wake: Option<RawFd>) -> io::Result<WatchedRange> {
        install()?;
        let _claim = CLAIM.lock();
        let free = |node: &&Node| node.start.load(Ordering::Relaxed) == 0;
        let node = Node::all().find(free).unwrap_or_else(|| {
            let node: &'static Node = Box::leak(Box::new(Node::new()));
            if let Some(last) = Node::all().last() {
                // Empty: the last has no next, and nobody else appends.
                let _ = last.next.set(node);
            }
            node
        });
        let start = base as usize;
        node.lost.store(false, Ordering::Relaxed);
        node.wake.store(wake.unwrap_or(-1), Ordering::Relaxed);
        node.end.store(start + len, Ordering::Relaxed);
        node.start.store(start, Ordering::Release);
        Ok(WatchedRange(node))
    }

    /// Whether somebody in this process has touched a page of it that could not be had. What it read there
    /// was zero.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for WatchedRange {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

/// Installs the handler, once in the life of the process.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED
        .get_or_init(|| register_signal_handler(libc::SIGBUS, on_bus_error).map_err(|error| error.errno()));
    installed.map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands the handler of SIGBUS a valid `siginfo_t`, whose address is set.
    let address = unsafe { (*info).si_addr() } as usize;
    let hit = |node: &&Node| {
        let start = node.start.load(Ordering::Acquire);
        start != 0 && (start..node.end.load(Ordering::Relaxed)).contains(&address)
    };
    let replaced = Node::all().find(hit).filter(|_| {
        let page = address & !(PAGE as usize - 1);
        // SAFETY: the page lies within a range that is watched, which is a mapping that nobody has Rust
        // references into, and which is being used by this very thread, so that it is not being unmapped.
        let mapped = unsafe {
            mmap_anonymous(
                page as *mut c_void,
                PAGE as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED,
            )
        };
        mapped.is_ok()
    });
    let Some(node) = replaced else {
        // Not ours: the instruction is tried again, and this time the system's own way.
        // SAFETY: takes plain numbers; the default action is one.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        return;
    };
    node.lost.store(true, Ordering::Release);
    let wake = node.wake.load(Ordering::Relaxed);
    if wake >= 0 {
        let one = 1u64.to_ne_bytes();
        // SAFETY: reads eight bytes that are there; the counter is open while the range is used.
        unsafe { libc::write(wake, one.as_ptr().cast(), one.len()) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::mm::{mmap, munmap};
    use vmm_sys_util::eventfd::EventFd;

    use super::*;

    #[test]
    fn a_page_that_is_cut_off_reads_as_zeros_and_is_noted() {
        let file = tempfile::tempfile().unwrap();
        let len = 4 * PAGE as usize;
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![7; len], 0).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file.as_fd(),
                0,
            )
        };
        let base = base.unwrap().cast::<u8>();
        let read = |page: usize| {
            // SAFETY: within the mapping above; a volatile read of what others may change.
            unsafe { base.add(page * PAGE as usize + 5).read_volatile() }
        };
        let wake = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let other = WatchedRange::new(std::ptr::without_provenance(1 << 46), len, None).unwrap();
        let watched = WatchedRange::new(base, len, Some(wake.as_raw_fd())).unwrap();
        assert_eq!((read(2), watched.is_lost()), (7, false));
        file.set_len(PAGE).unwrap();
        assert_eq!((read(0), watched.is_lost()), (7, false));
        assert!(wake.read().is_err());
        assert_eq!([read(1), read(3), read(3)], [0, 0, 0]);
        assert!(watched.is_lost() && !other.is_lost());
        assert_eq!(wake.read().unwrap(), 2);
        drop(watched);
        let again = WatchedRange::new(base, len, None).unwrap();
        assert!(!again.is_lost());
        // SAFETY: exactly the mapping above, which nobody uses any more.
        unsafe { munmap(base.cast(), len) }.unwrap();
    }
}
