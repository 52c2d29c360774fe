//! What happens to a followed file while its reader is busy: truncation, and other files under its name.
//!
//! A thread of its own waits for the kernel's word (inotify) or a quarter of a second, whichever is first,
//! and never for the host: a reader that a slow host holds up still gets every file that had the name
//! meanwhile.
//!
//! Input: a path and the file found there.
//! Output: the files that take its place, opened, in their order; a wake-up for the reader.
//! Not here: reading. What is truncated before it was read is gone, as it is for everybody else.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_protocol::EndedThread;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, inotify};
use rustix::io::Errno;

use super::source::LOOK;
use crate::fds;
use crate::lock::Mutex;
use crate::poll::timespec;
use crate::sys::errno_of;
use crate::threads::ThreadWatch;
use crate::wakeup::Wakeup;

/// Most files that wait for the reader. There are more only where the host does not read at all.
const MAX_WAITING: usize = 64;

/// A file that is read, and what is known of its truncations.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) file: File,
    id: (u64, u64),
    seen: Mutex<SizeHistory>,
}

#[derive(Debug, Clone, Copy)]
struct SizeHistory {
    size: u64,
    truncations: u64,
}

impl Followed {
    pub(super) fn new(file: File) -> Result<Followed, Errno> {
        let metadata = file.metadata().map_err(|error| errno_of(&error))?;
        Ok(Followed {
            file,
            id: (metadata.dev(), metadata.ino()),
            seen: Mutex::new(SizeHistory {
                size: metadata.len(),
                truncations: 0,
            }),
        })
    }

    /// Its size now, and the number of times it was seen to have become shorter.
    pub(super) fn look(&self) -> (u64, u64) {
        let mut seen = self.seen.lock();
        if let Ok(metadata) = self.file.metadata() {
            if metadata.len() < seen.size {
                seen.truncations += 1;
            }
            seen.size = metadata.len();
        }
        (seen.size, seen.truncations)
    }
}

/// What watcher and reader share.
#[derive(Debug)]
struct WatchState {
    /// The files that took the name since, oldest first.
    waiting: Mutex<VecDeque<Arc<Followed>>>,
    /// Wakes the reader.
    changed: Wakeup,
    /// Ends the watcher.
    stop: Wakeup,
    /// How the kernel has ended it, if it has.
    lost: Mutex<Option<EndedThread>>,
}

impl WatchState {
    /// Tells the reader that nobody watches any more.
    fn lose(&self, ended: EndedThread) {
        *self.lost.lock() = Some(ended);
        self.changed.wake();
    }
}

/// A watched path; the watching ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch(Arc<WatchState>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.stop.wake();
    }
}

impl Watch {
    /// Watches a file, and the path it was found at for others that come to be there.
    pub(super) fn start(
        first: &Arc<Followed>,
        path: Option<&Path>,
        threads: &Arc<ThreadWatch>,
    ) -> Result<Watch, Errno> {
        let shared = Arc::new(WatchState {
            waiting: Mutex::default(),
            changed: Wakeup::new()?,
            stop: Wakeup::new()?,
            lost: Mutex::default(),
        });
        // Without inotify (a kernel may lack it) the quarter of a second is all there is.
        let events =
            fds::own(|| inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK));
        let watcher = Watcher {
            shared: Arc::clone(&shared),
            events: events.ok(),
            path: path.map(Path::to_owned),
            newest: Arc::clone(first),
        };
        let (threads, reader) = (threads.clone(), shared.clone());
        let thread = std::thread::Builder::new().name("watch".to_owned());
        thread
            .stack_size(64 * 1024)
            .spawn(move || {
                let _watched = threads.watch(move |ended| reader.lose(ended));
                watcher.run();
            })
            .map_err(|error| errno_of(&error))?;
        Ok(Watch(shared))
    }

    /// How the kernel has ended the watcher, if it has.
    pub(super) fn lost(&self) -> Option<EndedThread> {
        *self.0.lost.lock()
    }

    /// Descriptor that is readable when something has changed.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.0.changed.as_fd()
    }

    /// Makes the descriptor unreadable until the next change.
    pub(super) fn clear(&self) {
        self.0.changed.clear();
    }

    /// The next file under the name, once it has content or was replaced itself; the reader is to have read
    /// all of the one before when it takes it.
    pub(super) fn has_next(&self) -> bool {
        let waiting = self.0.waiting.lock();
        waiting.len() > 1 || waiting.front().is_some_and(|next| next.look().0 > 0)
    }

    /// Takes the next file.
    pub(super) fn take_next(&self) -> Option<Arc<Followed>> {
        self.0.waiting.lock().pop_front()
    }
}

struct Watcher {
    shared: Arc<WatchState>,
    events: Option<OwnedFd>,
    path: Option<PathBuf>,
    newest: Arc<Followed>,
}

impl Watcher {
    fn run(mut self) {
        if let Some(folder) = self.path.as_deref().and_then(Path::parent) {
            self.watch(
                folder,
                inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO,
            );
        }
        self.watch_newest();
        loop {
            if self.wait() {
                return;
            }
            self.newest.look();
            self.look_for_another();
            self.shared.changed.wake();
        }
    }

    fn watch(&self, path: &Path, flags: inotify::WatchFlags) {
        if let Some(events) = &self.events {
            // A file system without notifications, or a limit reached: it is looked at all the same.
            let _ = inotify::add_watch(events, path, flags);
        }
    }

    fn watch_newest(&self) {
        // Not `self`, which is the process's first thread: that may have ended.
        let path = format!("/proc/thread-self/fd/{}", self.newest.file.as_raw_fd());
        self.watch(Path::new(&path), inotify::WatchFlags::MODIFY);
    }

    /// Waits for a change or the time of a look; whether to stop.
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::new(&self.shared.stop, PollFlags::IN)];
        if let Some(events) = &self.events {
            fds.push(PollFd::new(events, PollFlags::IN));
        }
        let _ = poll(&mut fds, Some(&timespec(LOOK)));
        if let Some(events) = &self.events {
            // What happened does not matter, only that something did: all of it is looked up.
            let mut buffer = [0; 4096];
            while let Ok(1..) = rustix::io::read(events, &mut buffer) {}
        }
        !fds[0].revents().is_empty()
    }

    /// Notes another file under the path.
    fn look_for_another(&mut self) {
        let Some(Ok(file)) = self.path.as_deref().map(open) else {
            return;
        };
        let Ok(found) = Followed::new(file) else { return };
        // Their inodes cannot have been given to others while they are open here.
        if found.id == self.newest.id {
            return;
        }
        let mut waiting = self.shared.waiting.lock();
        if waiting.len() < MAX_WAITING {
            self.newest = Arc::new(found);
            waiting.push_back(Arc::clone(&self.newest));
            drop(waiting);
            self.watch_newest();
        }
    }
}

/// Opens a file for reading, out of the test's way.
pub(super) fn open(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    fds::own(|| rustix::fs::openat(CWD, path, flags, Mode::empty())).map(File::from)
}
