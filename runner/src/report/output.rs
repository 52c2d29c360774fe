//! Where reports are written: one stream that whole blocks go to, past the live view.
//!
//! Input: text, from many threads. Output: the text on the stream, block by block; the first error. Not here:
//! what is written.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::LiveView;

/// A stream that blocks of text are written to, one at a time and flushed.
pub struct Output {
    stream: Mutex<Stream>,
    /// The live view, which has to step aside while something else is written to the terminal.
    live: Option<Arc<LiveView>>,
}

/// A stream and what went wrong with it.
struct Stream {
    writer: Box<dyn Write + Send>,
    error: Option<io::Error>,
}

impl Output {
    /// Writes to `writer`; `live` is the live view that shares its terminal, if any.
    pub fn new(writer: Box<dyn Write + Send>, live: Option<Arc<LiveView>>) -> Self {
        Output {
            stream: Mutex::new(Stream { writer, error: None }),
            live,
        }
    }

    /// Writes to this process's stderr, which has no live view.
    pub fn stderr() -> Self {
        Output::new(Box::new(io::stderr()), None)
    }

    /// Writes the whole text and flushes. After a first error nothing more is tried.
    pub fn write(&self, text: &str) {
        let mut stream = self.stream.lock();
        if stream.error.is_some() || text.is_empty() {
            return;
        }
        let mut write = || {
            stream
                .writer
                .write_all(text.as_bytes())
                .and_then(|()| stream.writer.flush())
        };
        let written = match &self.live {
            Some(live) => live.above(write),
            None => write(),
        };
        stream.error = written.err();
    }

    /// The first error, such as a closed pipe.
    pub fn take_error(&self) -> Option<io::Error> {
        self.stream.lock().error.take()
    }
}
