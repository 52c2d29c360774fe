//! An output of a started program, kept until it is wanted.
//!
//! Enters: what the program writes. Leaves: the same to any number of readers, each from where it likes. All is kept
//! from the first byte on while it is at most [`MOST`] bytes. Beyond that the oldest bytes go, but only those that
//! have been sent to the host and that no reader is still to have; where there are none to drop, the program has to
//! wait. Absent on purpose: locks, threads.

use std::collections::VecDeque;

/// Most bytes kept; one read of a pipe more for a moment.
pub(crate) const MOST: usize = 16 << 20;
/// Most bytes in one piece. Small writes are gathered.
const PIECE: usize = 64 * 1024;

/// The bytes of one output from `start` on.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Where the first piece lies in the whole output.
    start: u64,
    pieces: VecDeque<Vec<u8>>,
    length: usize,
    /// Up to here somebody at the host has had it.
    sent: u64,
    /// Readers by number, and what each is still to have.
    readers: Vec<(u64, u64)>,
    next_reader: u64,
    /// No more will come.
    over: bool,
}

/// What a reader finds.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// So many bytes in its buffer.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing ever.
    End,
}

impl Kept {
    /// Whether more may be put in.
    pub(crate) fn has_room(&self) -> bool {
        self.length <= MOST
    }

    /// Keeps what the program has written.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.to_vec()),
        }
        self.length += bytes.len();
        self.trim();
    }

    /// The program's last byte has been put in.
    pub(crate) fn finish(&mut self) {
        self.over = true;
    }

    /// Adds a reader; its number, and where it begins.
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

    /// Copies what comes next for a reader. It stays until [`Kept::delivered`].
    pub(crate) fn read(&self, reader: u64, buffer: &mut [u8]) -> Found {
        let Some((_, position)) = self.readers.iter().find(|(other, _)| *other == reader) else {
            return Found::End;
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
            0 if self.over => Found::End,
            0 => Found::Nothing,
            n => Found::Bytes(n),
        }
    }

    /// A reader's next bytes have reached the host.
    pub(crate) fn delivered(&mut self, reader: u64, count: usize) {
        if let Some((_, position)) = self.readers.iter_mut().find(|(other, _)| *other == reader) {
            *position += count as u64;
            self.sent = self.sent.max(*position);
        }
        self.trim();
    }

    /// Drops the oldest pieces that nobody needs, down to what is to be kept.
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

    fn fill(kept: &mut Kept) -> u64 {
        let mut total = 0;
        while kept.has_room() {
            kept.put(&chunk(total as u8));
            total += 1;
        }
        total
    }

    #[test]
    fn what_nobody_has_had_is_never_dropped() {
        let mut kept = Kept::default();
        let pieces = fill(&mut kept);
        assert_eq!(pieces as usize, MOST / PIECE + 1, "one beyond the limit");
        let (reader, position) = kept.add_reader(0);
        assert_eq!((position, kept.start), (0, 0));
        let mut buffer = chunk(9);
        assert_eq!(kept.read(reader, &mut buffer), Found::Bytes(PIECE));
        assert_eq!(kept.start, 0, "read, and not yet with the host");
        kept.delivered(reader, PIECE);
        assert_eq!(kept.start, PIECE as u64);
        assert!(kept.has_room());
        kept.put(&chunk(1));
        assert!(!kept.has_room(), "the next piece has not been sent");
    }

    #[test]
    fn the_slowest_reader_decides() {
        let mut kept = Kept::default();
        let (slow, _) = kept.add_reader(0);
        let (fast, _) = kept.add_reader(0);
        fill(&mut kept);
        let mut buffer = chunk(0);
        for _ in 0..4 {
            assert_eq!(kept.read(fast, &mut buffer), Found::Bytes(PIECE));
            kept.delivered(fast, PIECE);
        }
        assert!(!kept.has_room());
        assert_eq!(kept.read(slow, &mut buffer), Found::Bytes(PIECE));
        kept.delivered(slow, PIECE);
        assert!(kept.has_room());
        kept.put(&chunk(2));
        assert!(!kept.has_room());
        kept.remove_reader(slow);
        assert!(kept.has_room(), "one that has gone needs nothing");
        let (late, position) = kept.add_reader(0);
        assert_eq!(position, 2 * PIECE as u64, "the oldest that is kept");
        assert_eq!(kept.read(late, &mut buffer), Found::Bytes(PIECE));
        assert_eq!(buffer[0], 2);
    }

    #[test]
    fn readers_begin_anywhere() {
        let mut kept = Kept::default();
        kept.put(b"abc");
        kept.put(b"def");
        let mut buffer = [0; 4];
        let (middle, _) = kept.add_reader(2);
        assert_eq!(kept.read(middle, &mut buffer), Found::Bytes(4));
        assert_eq!(&buffer, b"cdef");
        let (ahead, position) = kept.add_reader(8);
        assert_eq!(position, 8);
        assert_eq!(kept.read(ahead, &mut buffer), Found::Nothing);
        kept.put(b"ghij");
        assert_eq!(kept.read(ahead, &mut buffer), Found::Bytes(2));
        assert_eq!(&buffer[..2], b"ij");
        kept.delivered(ahead, 2);
        kept.finish();
        assert_eq!(kept.read(ahead, &mut buffer), Found::End);
        assert_eq!(kept.read(99, &mut buffer), Found::End);
    }
}
