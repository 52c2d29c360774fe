//! Where reports are written: one stream that whole blocks go to, past the live view.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

/// A stream that blocks of text are written to, one at a time and flushed.
pub struct Output {
    inner: Mutex<Inner>,
    /// The live view, which has to step aside while something else is written to the terminal.
    live: Option<MultiProgress>,
}

struct Inner {
    stream: Box<dyn Write + Send>,
    error: Option<io::Error>,
}

impl Output {
    /// Writes to `stream`; `live` is the live view that shares its terminal, if any.
    pub fn new(stream: Box<dyn Write + Send>, live: Option<MultiProgress>) -> Self {
        Output {
            inner: Mutex::new(Inner { stream, error: None }),
            live,
        }
    }

    /// Writes the whole text and flushes. After a first error nothing more is tried.
    pub fn write(&self, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.error.is_some() || text.is_empty() {
            return;
        }
        let mut write = || {
            inner
                .stream
                .write_all(text.as_bytes())
                .and_then(|()| inner.stream.flush())
        };
        let written = match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        };
        inner.error = written.err();
    }

    /// The first error, such as a closed pipe.
    pub fn take_error(&self) -> Option<io::Error> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .error
            .take()
    }
}
