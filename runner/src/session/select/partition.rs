//! A part of the tests, so that several machines run all of them together: `--partition`.
//!
//! Input: the flag's text; then a test's file, name and number. Output: whether it is in the part. Not here:
//! which tests are divided.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

/// Part `index` of `of`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// How tests are dealt out.
    pub by: Deal,
    /// Which part, from 1.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

/// How tests are dealt out to the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deal {
    /// By a hash of path and name: a test stays in its part, whatever becomes of the others.
    Hash,
    /// In turn: parts are as even as can be.
    Slice,
}

impl Partition {
    /// Whether the test `name` of the file at `path`, the `number`th that is dealt out, is in the part.
    pub fn takes(&self, path: &str, name: &str, number: usize) -> bool {
        let place = match self.by {
            Deal::Hash => xxh3_64(format!("{path}\0{name}").as_bytes()),
            Deal::Slice => number as u64,
        };
        place % self.of == self.index - 1
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Deal::Hash => "hash",
            Deal::Slice => "slice",
        };
        write!(f, "{by}:{}/{}", self.index, self.of)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Partition, String> {
        let (by, numbers) = match text.split_once(':') {
            None => (Deal::Hash, text),
            Some(("hash", numbers)) => (Deal::Hash, numbers),
            Some(("slice", numbers)) => (Deal::Slice, numbers),
            Some((other, _)) => return Err(format!("`{other}` is neither `hash` nor `slice`")),
        };
        let number = |text: &str| text.parse::<u64>().ok();
        match numbers
            .split_once('/')
            .map(|(index, of)| (number(index), number(of)))
        {
            Some((Some(index), Some(of))) if (1..=of).contains(&index) => Ok(Partition { by, index, of }),
            Some((Some(index), Some(of))) => {
                Err(format!("there is no part {index} of {of}; they are 1 to {of}"))
            }
            _ => Err("expected I/N, hash:I/N or slice:I/N, such as hash:1/4".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Partition {
        text.parse().expect(text)
    }

    #[test]
    fn each_test_is_in_one_part() {
        for by in ["hash", "slice"] {
            let parts: Vec<_> = (1..=3).map(|index| part(&format!("{by}:{index}/3"))).collect();
            let mut sizes = [0; 3];
            for number in 0..300 {
                let name = format!("test {number}");
                let takes = parts.iter().map(|part| part.takes("a.test.lua", &name, number));
                let takes: Vec<_> = takes.collect();
                assert_eq!(takes.iter().filter(|takes| **takes).count(), 1, "{by} {name}");
                sizes[takes.iter().position(|takes| *takes).expect("one")] += 1;
            }
            assert!(sizes.iter().all(|size| *size > 60), "{by}: {sizes:?}");
        }
    }

    #[test]
    fn a_hash_looks_at_the_test_alone_and_never_changes() {
        let first = part("1/4");
        assert_eq!((first.by, first.to_string().as_str()), (Deal::Hash, "hash:1/4"));
        let there = (0..12).filter(|n| first.takes("tests/net.test.lua", &format!("test {n}"), 7 * n));
        assert_eq!(there.collect::<Vec<_>>(), HASHED);
    }

    /// What the machines of earlier runs were given.
    const HASHED: [usize; 5] = [0, 2, 3, 4, 7];

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, what) in [
            ("3", "expected I/N, hash:I/N or slice:I/N, such as hash:1/4"),
            ("x/3", "expected I/N"),
            ("0/3", "there is no part 0 of 3; they are 1 to 3"),
            ("4/3", "there is no part 4 of 3"),
            ("count:1/3", "`count` is neither `hash` nor `slice`"),
        ] {
            let error = text.parse::<Partition>().expect_err(text);
            assert!(error.starts_with(what), "{text}: {error}");
        }
    }
}
