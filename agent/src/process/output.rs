//! The buffer of one output of a started program.
//!
//! It holds everything from the first byte on while that is at most [`MOST`] bytes. Beyond that the oldest
//! bytes are dropped, but only those that have been sent to the host and that no reader still needs; where
//! there are none to drop, the program has to wait.
//!
//! Input: what the program writes.
//! Output: the same to any number of readers, each from the offset it likes.
//! Not here: locks, threads.

use std::collections::VecDeque;

/// Most bytes buffered; one read of a pipe more for a moment.
pub(crate) const MOST: usize = 16 << 20;
/// Most bytes in one piece. Small writes are gathered.
const PIECE: usize = 64 * 1024;

/// The bytes of one output from `start` on.
#[derive(Debug, Default)]
pub(crate) struct OutputBuffer {
    /// Offset of the first piece in the whole output.
    start: u64,
    pieces: VecDeque<Vec<u8>>,
    length: usize,
    /// Offset up to which the output has been sent to the host.
    sent: u64,
    /// `(number, offset)` of each reader: the next byte it needs.
    readers: Vec<(u64, u64)>,
    next_reader: u64,
    /// No more will come.
    over: bool,
}

/// Result of a read.
#[derive(Debug, PartialEq)]
pub(crate) enum Fetched {
    /// Number of bytes in the reader's memory.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing now or later.
    End,
}

impl OutputBuffer {
    /// Whether more may be put in.
    pub(crate) fn has_room(&self) -> bool {
        self.length <= MOST
    }

    /// Adds what the program has written.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.to_vec()),
        }
        self.length += bytes.len();
        self.trim();
    }

    /// Marks the end: the program's last byte has been put in.
    pub(crate) fn finish(&mut self) {
        self.over = true;
    }

    /// Adds a reader: its number, and the offset at which it begins.
    pub(crate) fn add_reader(&mut self, from: u64) -> (u64, u64) {
        let reader = self.next_reader;
        self.next_reader += 1;
        let position = from.max(self.start);
        self.readers.push((reader, position));
        (reader, position)
    }

    pub(crate) fn remove_reader(&mut self, reader: u64) {
        self.readers.retain(|(other, _)| *other != reader);
        self.trim();
    }

    /// Copies what comes next for a reader. It stays in the buffer until [`OutputBuffer::delivered`].
    pub(crate) fn read(&self, reader: u64, buffer: &mut [u8]) -> Fetched {
        let Some((_, position)) = self.readers.iter().find(|(other, _)| *other == reader) else {
            return Fetched::End;
        };
        // A reader may wait for bytes that have not been written yet.
        let mut skip = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let mut copied = 0;
        for piece in &self.pieces {
            if copied == buffer.len() {
                break;
            }
            let rest = &piece[skip.min(piece.len())..];
            skip -= piece.len().min(skip);
            let n = rest.len().min(buffer.len() - copied);
            buffer[copied..copied + n].copy_from_slice(&rest[..n]);
            copied += n;
        }
        match copied {
            0 if self.over => Fetched::End,
            0 => Fetched::Nothing,
            n => Fetched::Bytes(n),
        }
    }

    /// Notes that a reader's next bytes have reached the host.
    pub(crate) fn delivered(&mut self, reader: u64, count: usize) {
        if let Some((_, position)) = self.readers.iter_mut().find(|(other, _)| *other == reader) {
            *position += count as u64;
            self.sent = self.sent.max(*position);
        }
        self.trim();
    }

    /// Drops the oldest pieces that nobody needs, down to [`MOST`] bytes.
    fn trim(&mut self) {
        let wanted = self.readers.iter().map(|(_, position)| *position).min();
        let droppable = wanted.map_or(self.sent, |wanted| wanted.min(self.sent));
        while self.length > MOST
            && let Some(first) = self.pieces.front()
            && self.start + first.len() as u64 <= droppable
        {
            self.start += first.len() as u64;
            self.length -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(fill: u8) -> Vec<u8> {
        vec![fill; PIECE]
    }

    fn fill(output: &mut OutputBuffer) -> u64 {
        let mut total = 0;
        while output.has_room() {
            output.put(&chunk(total as u8));
            total += 1;
        }
        total
    }

    #[test]
    fn what_nobody_has_had_is_never_dropped() {
        let mut output = OutputBuffer::default();
        let pieces = fill(&mut output);
        assert_eq!(pieces as usize, MOST / PIECE + 1, "one beyond the limit");
        let (reader, position) = output.add_reader(0);
        assert_eq!((position, output.start), (0, 0));
        let mut buffer = chunk(9);
        assert_eq!(output.read(reader, &mut buffer), Fetched::Bytes(PIECE));
        assert_eq!(output.start, 0, "read, and not yet with the host");
        output.delivered(reader, PIECE);
        assert_eq!(output.start, PIECE as u64);
        assert!(output.has_room());
        output.put(&chunk(1));
        assert!(!output.has_room(), "the next piece has not been sent");
    }

    #[test]
    fn the_slowest_reader_decides() {
        let mut output = OutputBuffer::default();
        let (slow, _) = output.add_reader(0);
        let (fast, _) = output.add_reader(0);
        fill(&mut output);
        let mut buffer = chunk(0);
        for _ in 0..4 {
            assert_eq!(output.read(fast, &mut buffer), Fetched::Bytes(PIECE));
            output.delivered(fast, PIECE);
        }
        assert!(!output.has_room());
        assert_eq!(output.read(slow, &mut buffer), Fetched::Bytes(PIECE));
        output.delivered(slow, PIECE);
        assert!(output.has_room());
        output.put(&chunk(2));
        assert!(!output.has_room());
        output.remove_reader(slow);
        assert!(output.has_room(), "one that has gone needs nothing");
        let (late, position) = output.add_reader(0);
        assert_eq!(position, 2 * PIECE as u64, "the oldest in the buffer");
        assert_eq!(output.read(late, &mut buffer), Fetched::Bytes(PIECE));
        assert_eq!(buffer[0], 2);
    }

    #[test]
    fn readers_begin_anywhere() {
        let mut output = OutputBuffer::default();
        output.put(b"abc");
        output.put(b"def");
        let mut buffer = [0; 4];
        let (middle, _) = output.add_reader(2);
        assert_eq!(output.read(middle, &mut buffer), Fetched::Bytes(4));
        assert_eq!(&buffer, b"cdef");
        let (ahead, position) = output.add_reader(8);
        assert_eq!(position, 8);
        assert_eq!(output.read(ahead, &mut buffer), Fetched::Nothing);
        output.put(b"ghij");
        assert_eq!(output.read(ahead, &mut buffer), Fetched::Bytes(2));
        assert_eq!(&buffer[..2], b"ij");
        output.delivered(ahead, 2);
        output.finish();
        assert_eq!(output.read(ahead, &mut buffer), Fetched::End);
        assert_eq!(output.read(99, &mut buffer), Fetched::End);
    }
}
