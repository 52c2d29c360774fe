//! A frame of the event stream: its length, then a MessagePack map.
//!
//! Input: a kind and its payload. Output: `{ts, kind, payload}` as bytes behind a big-endian length of four.
//! Not here: which kinds there are.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use provium_base::meta::MetaValue;
use serde::Serialize;

use crate::report::text;

/// What a frame carries: a value for each key.
pub(super) type Payload = BTreeMap<String, MetaValue>;

/// The map of a frame.
#[derive(Serialize)]
struct Frame<'a> {
    /// Nanoseconds since 1970.
    ts: i64,
    kind: &'a str,
    payload: &'a Payload,
}

/// The bytes of a frame.
pub(super) fn frame(kind: &str, payload: &Payload) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let frame = Frame {
        ts: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        kind,
        payload,
    };
    let map = rmp_serde::to_vec_named(&frame).expect("a map of plain values can be written to memory");
    let length = u32::try_from(map.len()).expect("results are bounded far below four gigabytes");
    [length.to_be_bytes().as_slice(), &map].concat()
}

/// A payload, key by key.
#[derive(Default)]
pub(super) struct Fields(Payload);

impl Fields {
    /// Text, a guest's too: without escape sequences and commands to a CI's runner.
    pub(super) fn text(self, key: &str, text: &str) -> Fields {
        self.value(key, MetaValue::Text(text::clean(text)))
    }

    /// Text that is left out if there is none.
    pub(super) fn maybe(self, key: &str, text: Option<&str>) -> Fields {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    /// A number.
    pub(super) fn number(self, key: &str, number: impl TryInto<i64>) -> Fields {
        self.value(key, MetaValue::Int(number.try_into().unwrap_or(i64::MAX)))
    }

    /// Any value.
    pub(super) fn value(mut self, key: &str, value: MetaValue) -> Fields {
        self.0.insert(key.to_owned(), value);
        self
    }

    /// The payload.
    pub(super) fn done(self) -> Payload {
        self.0
    }

    /// The payload as a value of another.
    pub(super) fn map(self) -> MetaValue {
        MetaValue::Map(self.0)
    }
}
