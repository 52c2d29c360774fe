//! The door to a kernel's symbols.
//!
//! Input: files, then questions from any thread. Output: answers, or the question unchanged where nothing is
//! known, where the files are damaged, or where they take too long. Not here: the answers themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::annotate::{self, Instruction};
use crate::kernel::{Kernel, KernelFiles};
use crate::trace;

/// Time for one question. A kernel with all its debug information takes a second or two, in the emulated
/// host ten times that.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The symbols of one kernel; see the package's documentation.
pub struct Symbolizer {
    files: KernelFiles,
    /// The files, open once there was a question.
    kernel: Arc<Mutex<Option<Kernel>>>,
    /// Whether a question went past the limit; its thread may still run.
    given_up: AtomicBool,
}

impl std::fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbolizer")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Symbolizer {
    /// Symbols of the kernel in these files, which are not touched yet.
    pub fn new(files: KernelFiles) -> Symbolizer {
        Symbolizer {
            files,
            kernel: Arc::default(),
            given_up: AtomicBool::new(false),
        }
    }

    /// The text with ` (file:line)` behind each place of the kernel's code that it names.
    pub fn annotate(&self, text: &str) -> String {
        if text.lines().all(|line| trace::places(line).is_empty()) {
            return text.to_owned();
        }
        let asked = text.to_owned();
        let annotated = self.ask(move |kernel| annotate::annotate(kernel, &asked));
        annotated.unwrap_or_else(|| text.to_owned())
    }

    /// The instruction at `address` of the running kernel as `function+0xoffset/0xsize (file:line)`.
    ///
    /// The kernel enters system calls at `syscall_entry`, by which it is known how far it was moved; 0 where
    /// it has not set that yet. `halted`: the instruction meant is the one before.
    pub fn name(&self, address: u64, syscall_entry: u64, halted: bool) -> Option<String> {
        let at = Instruction {
            address,
            behind: halted,
        };
        self.ask(move |kernel| {
            let offset = match syscall_entry {
                0 => kernel.fixed_offset(),
                entry => kernel.offset_by_syscall_entry(entry),
            };
            annotate::name(kernel, at, offset?)
        })?
    }

    /// The answer to a question, which is asked on a thread of its own; `None` when it does not come in time.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Kernel) -> T + Send + 'static) -> Option<T> {
        if self.given_up.load(Ordering::Relaxed) {
            return None;
        }
        let (kernel, files) = (Arc::clone(&self.kernel), self.files.clone());
        let (sender, answer) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("symbols".to_owned())
            .spawn(move || {
                let mut kernel = kernel.lock();
                let kernel = kernel.get_or_insert_with(|| Kernel::open(&files));
                // Nobody waits any more when it took too long.
                let _ = sender.send(question(kernel));
            });
        thread.ok()?;
        let answer = answer.recv_timeout(LIMIT);
        if answer.is_err() {
            self.given_up.store(true, Ordering::Relaxed);
        }
        answer.ok()
    }
}
