//! The bytes of every message, one by one: what a split or a renaming of the types must not change.
//!
//! `fingerprint.rs` ties all of them together to the version; this says which message has changed, and how.

mod common;

use common::{encoded, examples};

#[test]
fn every_message_has_the_bytes_it_had() {
    let lines = examples()
        .iter()
        .map(|frame| format!("{frame:?}\n    {}\n", encoded(frame).escape_ascii()))
        .collect::<String>();
    insta::assert_snapshot!(lines);
}
