//! The live view: the last lines of a terminal, which show what runs now and what it has come to so far.
//!
//! Input: events; text that others write to the same terminal, which goes above. Output: lines that are drawn
//! over, and gone when the run is. Not here: anything that stays.
//!
//! ```text
//! state     what is known of the run, from its events
//! frame     the lines for that, for a time and a size: a pure function
//! terminal  the lines on the terminal, from frame to frame
//! ```

pub(super) mod frame;
pub(super) mod state;
mod terminal;

use std::io::Write;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};

use state::LiveState;
use terminal::Drawn;

/// Time between two frames.
const TICK: Duration = Duration::from_millis(100);

/// The size of a terminal, as columns and rows; `None` when it is not known.
type Size = dyn Fn() -> Option<(u16, u16)> + Send;

/// A live view on a terminal.
pub struct LiveView(Mutex<Screen>);

struct Screen {
    writer: Box<dyn Write + Send>,
    size: Box<Size>,
    state: LiveState,
    drawn: Drawn,
}

impl LiveView {
    /// A view on the terminal that `writer` writes to; a thread of its own draws it until it is dropped.
    pub fn new(writer: Box<dyn Write + Send>, size: Box<Size>) -> Arc<LiveView> {
        let view = Arc::new(LiveView(Mutex::new(Screen {
            writer,
            size,
            state: LiveState::new(Instant::now()),
            drawn: Drawn::default(),
        })));
        let weak = Arc::downgrade(&view);
        // Without the thread the view is drawn when something is written above it, and no more.
        let _ = thread::Builder::new()
            .name("live view".into())
            .spawn(move || draw(&weak));
        view
    }

    /// Runs `write`, which writes whole lines to the same terminal, with the view out of its way.
    pub fn above<R>(&self, write: impl FnOnce() -> R) -> R {
        let mut screen = self.0.lock();
        screen.clear();
        let result = write();
        screen.draw();
        result
    }

    /// Takes the view off the terminal for good, if nobody holds it just now: for a process that ends at
    /// once.
    pub fn abandon(&self) {
        if let Some(mut screen) = self.0.try_lock_for(TICK) {
            screen.state.end();
            screen.clear();
        }
    }
}

impl Sink for LiveView {
    fn event(&self, event: &Event) {
        let mut screen = self.0.lock();
        screen.state.apply(event, Instant::now());
        if screen.state.is_over() {
            screen.clear();
        }
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

impl Screen {
    fn clear(&mut self) {
        let bytes = self.drawn.clear();
        self.write(&bytes);
    }

    fn draw(&mut self) {
        let size = (self.size)();
        let (width, height) = size.unwrap_or((80, 24));
        let lines = frame::frame(&self.state, Instant::now(), width.into(), height.into());
        let bytes = self.drawn.replace(lines, size);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            // A terminal that has gone away shows nothing.
            let _ = self.writer.write_all(bytes).and_then(|()| self.writer.flush());
        }
    }
}

/// Draws until nobody has the view any more.
fn draw(view: &Weak<LiveView>) {
    loop {
        thread::sleep(TICK);
        match view.upgrade() {
            Some(view) => view.0.lock().draw(),
            None => return,
        }
    }
}
