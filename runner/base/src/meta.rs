//! A test's metadata as plain data, which results and events carry.
//!
//! Input: what a test file wrote between a test's name and its body. Output: a [`Meta`], which JSON and
//! MessagePack can hold. Not here: which keys the runner obeys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The metadata of a test: a value for each key.
pub type Meta = BTreeMap<String, MetaValue>;

/// A value of metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetaValue {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list; before bytes, which JSON writes as one.
    Array(Vec<MetaValue>),
    /// Named values.
    Map(BTreeMap<String, MetaValue>),
    /// Bytes that are no text.
    Binary(ByteBuf),
}

/// The texts of a key: its value, or each of a list's, as far as they are text.
pub fn texts<'a>(meta: &'a Meta, key: &str) -> Vec<&'a str> {
    let items = match meta.get(key) {
        Some(MetaValue::Array(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let text = |item: &'a MetaValue| match item {
        MetaValue::Text(text) => Some(text.as_str()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_and_a_list_of_texts_are_texts_and_nothing_else_is() {
        let text = |text: &str| MetaValue::Text(text.to_owned());
        let list = MetaValue::Array(vec![text("a"), MetaValue::Int(1), text("b")]);
        let meta = Meta::from([
            ("one".to_owned(), text("x")),
            ("list".to_owned(), list),
            ("number".to_owned(), MetaValue::Int(7)),
        ]);
        assert_eq!(texts(&meta, "one"), ["x"]);
        assert_eq!(texts(&meta, "list"), ["a", "b"]);
        assert!(texts(&meta, "number").is_empty() && texts(&meta, "none").is_empty());
    }
}
