//! Lists that a hostile sender cannot make large.
//!
//! Input: a list being decoded.
//! Output: a `Vec` that takes at most [`MAX_FRAME`] bytes for its elements. One byte on the wire can ask for
//! 24 bytes of memory, so the frame's own limit does not bound it.
//! Not here: limits an honest sender could notice; a frame holds fewer arguments than are allowed here.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::limits::MAX_FRAME;

/// Decodes a list whose elements take at most [`MAX_FRAME`] bytes of memory.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    input.deserialize_seq(ListVisitor(PhantomData))
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let most = MAX_FRAME / size_of::<T>();
        let declared = seq.size_hint().unwrap_or(0);
        if declared > most {
            return Err(A::Error::custom(format_args!(
                "a list of {declared} elements; at most {most} are allowed"
            )));
        }
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            if list.len() == list.capacity() {
                if list.len() == most {
                    return Err(A::Error::custom(format_args!(
                        "a list of more than {most} elements"
                    )));
                }
                // Grows as elements really come, by doubling, and never past what was declared or is allowed.
                let ceiling = if declared > list.len() { declared } else { most };
                list.reserve_exact(list.len().max(16).min(ceiling - list.len()));
            }
            list.push(element);
        }
        Ok(list)
    }
}
