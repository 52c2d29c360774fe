//! This process's stderr while a live view has its terminal: what tests and their commands write there.
//!
//! Input: bytes on descriptor 2, whoever writes them. Output: whole lines above the live view, none of which
//! moves its cursor. Not here: what Provium itself says; that has the terminal's own descriptor.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::report::Output;

/// How long a line without an end waits for the rest of it, in nanoseconds.
const PATIENCE: i64 = 200_000_000;

/// Takes what is written to stderr until it is dropped.
pub(super) struct CapturedStderr {
    terminal: OwnedFd,
    ending: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl CapturedStderr {
    /// From now on what is written to stderr goes to `output` line by line.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn to(output: Arc<Output>) -> io::Result<CapturedStderr> {
        let terminal = io::stderr().as_fd().try_clone_to_owned()?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let ending = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ending);
        let reader = thread::Builder::new()
            .name("stderr".into())
            .spawn(move || forward(&File::from(read), &output, &stop))?;
        rustix::stdio::dup2_stderr(&write)?;
        Ok(CapturedStderr {
            terminal,
            ending,
            reader: Some(reader),
        })
    }
}

impl Drop for CapturedStderr {
    fn drop(&mut self) {
        let _ = rustix::stdio::dup2_stderr(&self.terminal);
        self.ending.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Writes what comes as lines, until it is to stop and nothing is left; a process that a test has started may
/// hold the pipe open for ever.
fn forward(mut pipe: &File, output: &Output, stop: &AtomicBool) {
    let (mut bytes, mut line) = (vec![0; 16 << 10], Vec::new());
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: if stopping { 0 } else { PATIENCE },
        };
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&wait));
        let read = match ready {
            Ok(0) => {
                output.write(&whole_lines(&mut line, true));
                if stopping {
                    return;
                }
                continue;
            }
            Ok(_) => pipe.read(&mut bytes),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(0) => return output.write(&whole_lines(&mut line, true)),
            Ok(len) => {
                line.extend_from_slice(&bytes[..len]);
                output.write(&whole_lines(&mut line, false));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Takes the lines out of what has come, without control characters; the last one even if it has no end, when
/// all is wanted.
pub(super) fn whole_lines(came: &mut Vec<u8>, all: bool) -> String {
    let end = match all {
        true => came.len(),
        false => came
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1),
    };
    let lines: Vec<u8> = came.drain(..end).collect();
    let mut text = crate::report::clean(&String::from_utf8_lossy(&lines));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_move_no_cursor() {
        let mut came = b"one\n\x1b[2Atwo\nthr".to_vec();
        assert_eq!(whole_lines(&mut came, false), "one\ntwo\n");
        assert_eq!(whole_lines(&mut came, false), "");
        came.extend_from_slice(b"ee\xff");
        assert_eq!(whole_lines(&mut came, true), "three\u{fffd}\n");
        assert_eq!(whole_lines(&mut came, true), "");
    }
}
