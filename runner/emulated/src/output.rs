//! The output of an emulated host: what waits to be written to this process's streams, and what was said
//! last.
//!
//! Input: bytes of the command, of QEMU and of its kernel. Output: bytes on standard streams; the end of what
//! was said, for error messages. Not here: when to read and write.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Bytes that are written at once to a stream that poll calls writable, without any danger to block
/// (PIPE_BUF).
const WRITE: usize = 4096;
/// Bytes of the console and of QEMU's standard error that are kept for messages.
const TAIL: usize = 4096;

/// The last output of QEMU and its kernel, for error messages.
#[derive(Debug, Default)]
pub(crate) struct LastOutput {
    /// End of the kernel's console.
    pub(crate) console: Vec<u8>,
    /// End of QEMU's standard error.
    pub(crate) qemu: Vec<u8>,
}

impl LastOutput {
    /// Both, as lines indented below an error; empty when there are none.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        for (who, said) in [("QEMU", &self.qemu), ("its kernel", &self.console)] {
            let said = String::from_utf8_lossy(said);
            // QEMU warns of each CPU feature that it cannot emulate.
            let lines: Vec<_> = said
                .lines()
                .filter(|line| !line.contains("TCG doesn't support"))
                .collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            if last.iter().any(|line| !line.trim().is_empty()) {
                text += &format!("\n  {who} said last:");
                for line in last {
                    text += &format!("\n    {}", line.trim_end());
                }
            }
        }
        text
    }
}

/// Output of the command that waits to be written to a standard stream of this process.
#[derive(Default)]
pub(crate) struct PendingOutput {
    bytes: Vec<u8>,
    /// Whether nobody reads the stream any more.
    broken: bool,
}

impl PendingOutput {
    /// Number of bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends bytes, unless nobody reads the stream any more.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes up to 4 KiB, after poll has said that the stream is writable.
    ///
    /// # Errors
    /// When nobody reads the stream any more; later output is dropped.
    pub(crate) fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        let len = self.bytes.len().min(WRITE);
        match to.write(&self.bytes[..len]) {
            Ok(len) => drop(self.bytes.drain(..len)),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => {
                self.broken = true;
                self.bytes = Vec::new();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A standard stream without the buffer of [`std::io`], of which poll would not know.
pub(crate) struct Unbuffered<T>(pub(crate) T);

impl<T: AsFd> Read for Unbuffered<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, bytes)?)
    }
}

impl<T: AsFd> Write for Unbuffered<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is there and keeps the end of it in `tail`; false at the stream's end.
pub(crate) fn read_tail(from: &mut impl Read, tail: &mut Vec<u8>) -> bool {
    let mut bytes = [0; TAIL];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(len) => {
            tail.extend_from_slice(&bytes[..len]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = vec![b'a'; TAIL - 1];
        assert!(read_tail(&mut &b"bcd"[..], &mut tail));
        assert_eq!(tail.len(), TAIL);
        assert!(tail.ends_with(b"abcd"));
        assert!(!read_tail(&mut io::empty(), &mut tail));
    }

    #[test]
    fn output_is_written_in_pieces_and_forgotten_once_nobody_reads() {
        let mut pending = PendingOutput::default();
        pending.push(&[b'x'; WRITE + 1]);
        let mut written = Vec::new();
        pending.write(&mut written).unwrap();
        assert_eq!((written.len(), pending.bytes.len()), (WRITE, 1));
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(pending.write(&mut Closed).is_err());
        pending.push(b"more");
        assert!(pending.bytes.is_empty());
    }

    #[test]
    fn the_last_words_are_shown_without_what_qemu_always_says() {
        let tails = LastOutput {
            console: b"[1.0] Linux\r\n[2.0] Kernel panic\r\n".to_vec(),
            qemu: b"qemu: warning: TCG doesn't support requested feature: CPUID\n".to_vec(),
        };
        assert_eq!(
            tails.show(),
            "\n  its kernel said last:\n    [1.0] Linux\n    [2.0] Kernel panic"
        );
        assert_eq!(LastOutput::default().show(), "");
    }
}
