//! A fuzzer's input as a sequence of choices.
//!
//! Input: bytes. Output: numbers and strings out of them, one behind the other; zeros behind the end. Not
//! here: what is chosen. Each choice takes a fixed number of bytes, so that a mutation of one leaves the
//! others as they were.

/// What is left of an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// Whether there is nothing more to choose by.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let len = N.min(self.0.len());
        let (front, rest) = self.0.split_at(len);
        taken[..len].copy_from_slice(front);
        self.0 = rest;
        taken
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// A small number, or one time in eight any.
    pub fn small_or_any(&mut self) -> u64 {
        match self.u8() & 7 {
            0 => self.u64(),
            _ => u64::from(self.u8()),
        }
    }

    /// A number below `end`, which is 256 at most.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()) % end.max(1)
    }

    /// One of a few.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// As many bytes as the next one says, or what is left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8()).min(self.0.len());
        let (front, rest) = self.0.split_at(len);
        self.0 = rest;
        front
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_one_behind_the_other_and_zeros_behind_the_end() {
        let mut input = Input::new(&[1, 2, 3, 2, b'a', b'b', 9, 7]);
        assert_eq!((input.u8(), input.u16()), (1, 0x302));
        assert_eq!(input.bytes(), b"ab");
        assert_eq!(input.pick(&[10, 20, 30]), 10);
        assert!(!input.is_over());
        assert_eq!((input.u32(), input.u64()), (7, 0));
        assert!(input.is_over() && input.rest().is_empty());
        assert_eq!(Input::new(&[200, 5]).bytes(), [5]);
    }
}
