//! The thread that watches the others.
//!
//! One waits for all, on a futex of each (`futex_waitv`). Before Linux 5.16, and for those beyond the number
//! of futexes that one call takes, it looks at them four times a second; a look is no system call.
//!
//! Input: threads, each with what its end means.
//! Output: that, done on a thread made for it: what a kernel that is broken holds up there, it holds up
//! alone.
//! Not here: what the end of a session, a program or a call means; whoever has a thread watched knows.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use provium_protocol::{EndedThread, ThreadEnd};
use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::Timespec;

use super::mark::{Held, Mark};
use crate::console::say;
use crate::lock::Mutex;
use crate::poll::timespec;

/// Most futexes that one call waits for; one of them is the watch's own.
const MOST: usize = 128;
/// How often the marks are looked at where the kernel cannot wait for all of them.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of a stack of the threads made here.
const STACK: usize = 128 * 1024;

/// What a thread's end means.
type Then = Box<dyn FnOnce(EndedThread) + Send>;

/// The threads that are watched.
#[derive(Debug, Default)]
pub(crate) struct ThreadWatch {
    list: Mutex<List>,
    /// Goes up with each thread that comes, at which the watching thread looks at the list again.
    changes: AtomicU32,
}

#[derive(Debug, Default)]
struct List {
    watched: Vec<Arc<Entry>>,
    /// There is a thread that watches them.
    is_watched: bool,
}

/// A thread that is watched.
struct Entry {
    mark: Arc<Mark>,
    call: RawCall,
    then: Mutex<Option<Then>>,
}

/// The raw system call that a thread makes, if it makes one.
#[derive(Debug)]
struct RawCall {
    /// Its number; -1 for none.
    nr: AtomicI64,
    argument: AtomicI64,
    /// An earlier one has restricted what the thread may call.
    is_restricted: AtomicBool,
}

thread_local! {
    /// The calling thread's entry.
    static OWN: RefCell<Option<Arc<Entry>>> = const { RefCell::new(None) };
}

impl ThreadWatch {
    /// Watches the calling thread for as long as the guard lives. If the kernel ends it meanwhile, `then` is
    /// done, on another thread.
    pub(crate) fn watch(self: &Arc<Self>, then: impl FnOnce(EndedThread) + Send + 'static) -> Watched {
        let entry = Arc::new(Entry {
            mark: Mark::new(),
            call: RawCall {
                nr: AtomicI64::new(-1),
                argument: AtomicI64::new(0),
                is_restricted: AtomicBool::new(false),
            },
            then: Mutex::new(Some(Box::new(then))),
        });
        let held = Held::new(entry.mark.clone());
        OWN.set(Some(entry.clone()));
        let mut list = self.list.lock();
        list.watched.push(entry.clone());
        if !list.is_watched {
            let watch = self.clone();
            match spawn("thread-watch", move || watch.run()) {
                Ok(()) => list.is_watched = true,
                Err(error) => say!("cannot start a thread that watches the others: {error}"),
            }
        }
        drop(list);
        self.changes.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&self.changes, Flags::PRIVATE, 1);
        Watched {
            watch: self.clone(),
            entry,
            _held: held,
        }
    }

    /// Waits for ends, for ever.
    fn run(&self) -> ! {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            let mut list = self.list.lock();
            let ended = list.watched.extract_if(.., |entry| entry.mark.has_ended());
            let ended: Vec<_> = ended.collect();
            let alive = list.watched.clone();
            drop(list);
            for entry in ended {
                let Some(then) = entry.then.lock().take() else {
                    continue;
                };
                let then = Arc::new(Mutex::new(Some((then, entry.ended()))));
                let doing = then.clone();
                let act = move || {
                    let taken = doing.lock().take();
                    if let Some((then, ended)) = taken {
                        then(ended);
                    }
                };
                // Without another thread, it is done here, and the others wait for it.
                if spawn("ended-thread", act.clone()).is_err() {
                    act();
                }
            }
            self.wait(changes, &alive);
        }
    }

    /// Waits for an end among `alive`, or for a change after those that were counted.
    fn wait(&self, changes: u32, alive: &[Arc<Entry>]) {
        let own = waiter(&self.changes, changes, WaitFlags::PRIVATE);
        let marks = alive.iter().map(|entry| {
            // One that has changed by now is no wait at all.
            waiter(entry.mark.word(), entry.mark.held(), WaitFlags::empty())
        });
        let waiters: Vec<_> = [own].into_iter().chain(marks).take(MOST).collect();
        let limit = (alive.len() >= MOST).then(|| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            now + timespec(LOOK)
        });
        match futex::waitv(&waiters, WaitvFlags::empty(), limit.as_ref(), ClockId::Monotonic) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            Err(_) => {
                let limit: Timespec = timespec(LOOK);
                let _ = futex::wait(&self.changes, Flags::PRIVATE, changes, Some(&limit));
            }
        }
    }
}

fn waiter(word: &AtomicU32, value: u32, sharing: WaitFlags) -> Wait {
    let mut waiter = Wait::new();
    waiter.val = value.into();
    waiter.uaddr = WaitPtr::new(word.as_ptr().cast());
    waiter.flags = WaitFlags::SIZE_U32 | sharing;
    waiter
}

fn spawn(name: &str, act: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.stack_size(STACK).spawn(act).map(|_| ())
}

/// The calling thread is watched until this is dropped.
#[must_use]
pub(crate) struct Watched {
    watch: Arc<ThreadWatch>,
    entry: Arc<Entry>,
    // Given back after it has left the list.
    _held: Held,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut list = self.watch.list.lock();
        list.watched.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        drop(list);
        OWN.set(None);
        // The watching thread may have the entry until it next looks, and must not keep connections open.
        drop(self.entry.then.lock().take());
    }
}

impl Entry {
    fn ended(&self) -> EndedThread {
        let how = if self.call.nr.load(Ordering::Acquire) == libc::SYS_exit {
            let status = self.call.argument.load(Ordering::Relaxed) as i32;
            ThreadEnd::Exit { status }
        } else if self.call.is_restricted.load(Ordering::Relaxed) {
            ThreadEnd::Seccomp
        } else {
            ThreadEnd::Killed
        };
        EndedThread {
            tid: self.mark.tid(),
            how,
            served: false,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("mark", &self.mark)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

/// Makes a raw system call, which the thread's end would be put down to.
pub(crate) fn during_call(nr: i64, argument: u64, call: impl FnOnce() -> i64) -> i64 {
    let entry = OWN.with_borrow(Clone::clone);
    let Some(entry) = entry else { return call() };
    let noted = &entry.call;
    noted.argument.store(argument.cast_signed(), Ordering::Relaxed);
    noted.nr.store(nr, Ordering::Release);
    let result = call();
    noted.nr.store(-1, Ordering::Release);
    let restricts = nr == libc::SYS_seccomp
        || (nr == libc::SYS_prctl && argument == u64::from(libc::PR_SET_SECCOMP.cast_unsigned()));
    if restricts && result == 0 {
        noted.is_restricted.store(true, Ordering::Relaxed);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A test that hangs fails after this.
    const LONG: Duration = Duration::from_secs(60);

    fn end_this_thread() {
        during_call(libc::SYS_exit, 7, || crate::sys::end_this_thread(7));
    }

    #[test]
    fn what_is_watched_no_more_holds_nothing() {
        let watch = Arc::new(ThreadWatch::default());
        let connection = Arc::new(());
        let held = Arc::downgrade(&connection);
        let watched = watch.watch(move |_| drop(connection));
        // The list, the guard, the thread's own, and the watching thread, which waits for it now.
        while Arc::strong_count(&watched.entry) < 4 {
            thread::yield_now();
        }
        drop(watched);
        assert!(held.upgrade().is_none());
    }

    #[test]
    fn the_end_of_a_thread_is_told_and_no_other() {
        let watch = Arc::new(ThreadWatch::default());
        let (tell, told) = channel();
        let count = 3 * MOST;
        let (release, hold) = channel::<()>();
        let hold = Arc::new(std::sync::Mutex::new(hold));
        // More than one call can wait for, of which every other ends as it should.
        for number in 0..count {
            let (watch, tell, hold) = (watch.clone(), tell.clone(), hold.clone());
            thread::spawn(move || {
                let own = rustix::thread::gettid().as_raw_pid().cast_unsigned();
                let watched = watch.watch(move |ended| tell.send((number, own, ended)).expect("told"));
                drop(hold.lock().map(|hold| hold.recv()));
                if number % 2 == 0 {
                    end_this_thread();
                }
                drop(watched);
            });
        }
        drop((tell, release));
        let mut numbers = Vec::new();
        while numbers.len() < count / 2 {
            let (number, own, ended) = told.recv_timeout(LONG).expect("an end that nobody noticed");
            let how = ThreadEnd::Exit { status: 7 };
            assert_eq!((ended.tid, ended.how, ended.served), (own, how, false));
            numbers.push(number);
        }
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq((0..count).step_by(2)), "{numbers:?}");
        assert!(told.recv().is_err(), "nobody else has ended so");
    }
}
