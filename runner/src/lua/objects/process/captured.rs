//! Streams of a program's output.
//!
//! Input: the captured output of a process. Output: its bytes, as a [`ByteSource`]. A thread takes the output
//! in at once, so that the program never waits for the test. Not here: how the pieces are put together;
//! `capture` does that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::capture::{Capture, Feeder};
use crate::lua::api::call::Call;
use crate::lua::objects::agent::Made;
use crate::lua::objects::stream::handle::{ByteSource, Tail};

/// A program's captured output.
struct Captured {
    made: Made,
    capture: RefCell<Arc<Capture>>,
    which: usize,
    at: Cell<u64>,
    feeder: RefCell<Option<Rc<Feeder>>>,
    /// Called when the stream has let go of the feeder.
    closed: Box<dyn Fn()>,
    shown: String,
}

impl ByteSource for Captured {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let bytes = self.capture.borrow().since(self.which, self.at.get(), limit)?;
        self.at.set(self.at.get() + bytes.len() as u64);
        Ok(bytes)
    }

    fn is_over(&self) -> bool {
        self.capture.borrow().is_over(self.which)
    }

    fn close(&self) {
        self.feeder.take();
        (self.closed)();
    }

    fn vm(&self) -> String {
        self.made.agent().vm()
    }

    fn is_gone(&self) -> bool {
        !self.made.is_there()
    }

    fn shown(&self) -> String {
        self.shown.clone()
    }
}

/// A stream of a program's output, from its first byte on; `feeder` brings what is not captured yet.
pub(crate) fn of_output(
    call: &Call<'_>,
    made: Made,
    capture: &Arc<Capture>,
    which: usize,
    feeder: Option<Rc<Feeder>>,
    shown: String,
    closed: Box<dyn Fn()>,
) -> Tail {
    let agent = Rc::clone(made.agent());
    let tail = Tail::open(
        call,
        Box::new(Captured {
            made,
            capture: RefCell::new(Arc::clone(capture)),
            which,
            at: Cell::new(0),
            feeder: RefCell::new(feeder),
            closed,
            shown,
        }),
    );
    agent.outlives(tail.weak());
    tail
}
