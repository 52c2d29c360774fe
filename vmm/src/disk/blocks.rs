//! A set of block numbers that takes the space of what is in it, however large the disk.
//!
//! Input: block numbers. Output: a [`BlockSet`]. Not here: the blocks' bytes.

use std::collections::BTreeMap;

/// Number of blocks whose bits lie together: 16 MiB of a disk.
const GROUP: u64 = 4096;
const WORDS: usize = (GROUP / 64) as usize;

/// A set of block numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlockSet(BTreeMap<u64, Box<[u64; WORDS]>>);

impl BlockSet {
    fn place(block: u64) -> (u64, usize, u64) {
        let within = block % GROUP;
        (block / GROUP, (within / 64) as usize, 1 << (within % 64))
    }

    /// Whether `block` is in it.
    pub(crate) fn contains(&self, block: u64) -> bool {
        let (group, word, bit) = Self::place(block);
        self.0.get(&group).is_some_and(|words| words[word] & bit != 0)
    }

    /// Adds `block`.
    pub(crate) fn insert(&mut self, block: u64) {
        let (group, word, bit) = Self::place(block);
        self.0.entry(group).or_insert_with(|| Box::new([0; WORDS]))[word] |= bit;
    }

    /// Takes `block` out.
    pub(crate) fn remove(&mut self, block: u64) {
        let (group, word, bit) = Self::place(block);
        if let Some(words) = self.0.get_mut(&group) {
            words[word] &= !bit;
        }
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Its blocks, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(group, words)| {
            words.iter().enumerate().flat_map(move |(at, word)| {
                let first = group * GROUP + at as u64 * 64;
                (0..64)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| first + bit)
            })
        })
    }
}

impl Extend<u64> for BlockSet {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, blocks: T) {
        blocks.into_iter().for_each(|block| self.insert(block));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        let mut set = BlockSet::default();
        let all = [0, 63, 64, 4095, 4096, 1 << 40];
        set.extend(all);
        assert_eq!(set.iter().collect::<Vec<_>>(), all);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(1 << 41));
        set.remove(64);
        set.remove(1 << 50);
        assert_eq!(set.iter().count(), 5);
        set.clear();
        assert_eq!(set, BlockSet::default());
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..3u64, 0..200u64), 0..200)) {
            let (mut set, mut model) = (BlockSet::default(), BTreeSet::new());
            for (adds, far, near) in steps {
                // Around the ends of words and groups.
                let block = far * GROUP + near;
                match adds {
                    true => {
                        set.insert(block);
                        model.insert(block);
                    }
                    false => {
                        set.remove(block);
                        model.remove(&block);
                    }
                }
                prop_assert_eq!(set.contains(block), adds);
            }
            prop_assert!(set.iter().eq(model));
        }
    }
}
