//! Files without a name, for what guests write to disks.
//!
//! Input: the folder that they are to be in, and who hears of failures. Output: open files, which go with
//! their descriptors. Not here: what is written. The threads that serve disks may open no file, so another
//! opens them.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use parking_lot::Mutex;

use crate::helper::elsewhere;

/// Gives the folder; asked when a file is needed.
type Folder = dyn Fn() -> io::Result<PathBuf> + Send;

/// Whoever has said where files are to be; the system's folder for temporary files where nobody has.
static FOLDER: Mutex<Option<Box<Folder>>> = Mutex::new(None);

/// Says in which folder the files of all disks are to be, from the next on: it is asked each time.
pub fn keep_overlays_in(folder: impl Fn() -> io::Result<PathBuf> + Send + 'static) {
    *FOLDER.lock() = Some(Box::new(folder));
}

/// Hears of a failure, in a sentence.
type Hears = dyn Fn(String) + Send;

static HEARS: Mutex<Option<Box<Hears>>> = Mutex::new(None);

/// Says who hears when the host cannot do what a guest asked of a disk; the guest itself sees an I/O error.
pub fn tell_of_failures(hears: impl Fn(String) + Send + 'static) {
    *HEARS.lock() = Some(Box::new(hears));
}

/// Tells of a failure.
pub(super) fn failed(what: String) {
    // If there is no thread for that any more, nobody is left who could be told.
    let _ = elsewhere(move || {
        if let Some(hears) = HEARS.lock().as_ref() {
            hears(what);
        }
    });
}

/// A file without a name.
pub(super) fn unnamed() -> io::Result<File> {
    let (answer, answered) = sync_channel(1);
    elsewhere(move || {
        let folder = FOLDER.lock().as_ref().map(|folder| folder());
        let folder = folder.unwrap_or_else(|| Ok(std::env::temp_dir()));
        // Whoever asked waits.
        let _ = answer.send(folder.and_then(tempfile::tempfile_in));
    })?;
    let gone = |_| io::Error::other("the thread that opens files has ended");
    answered.recv().map_err(gone)?
}
