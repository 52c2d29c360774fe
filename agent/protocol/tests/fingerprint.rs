//! Two builds that call themselves the same version must speak the same bytes.

mod common;

use common::{encoded, examples};
use provium_protocol::{FINGERPRINTS, MAGIC, VERSION};

/// FNV-1a over the encodings of all examples and the words both sides agree on.
fn fingerprint() -> u64 {
    let bytes = examples()
        .iter()
        .flat_map(encoded)
        .chain(MAGIC.bytes())
        .collect::<Vec<_>>();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn a_change_of_the_messages_needs_a_new_version() {
    let now = fingerprint();
    match FINGERPRINTS.iter().find(|(version, _)| *version == VERSION) {
        Some((_, known)) => assert_eq!(
            *known,
            now,
            "the messages of version {VERSION} have changed: raise VERSION and add ({}, {now:#x}) to FINGERPRINTS",
            VERSION + 1
        ),
        None => panic!("version {VERSION} is new: add ({VERSION}, {now:#x}) to FINGERPRINTS"),
    }
}

#[test]
fn versions_are_told_apart() {
    for window in FINGERPRINTS.windows(2) {
        assert!(
            window[0].0 < window[1].0 && window[0].1 != window[1].1,
            "{window:?}"
        );
    }
}

/// What an agent of any version must be able to say and hear, byte for byte.
#[test]
fn the_introduction_never_changes() {
    let frames = examples();
    let hello = b"\x00\x00\x00\x18\x01\x94\xadprovium-agent\x07\xa50.1.0\x2a";
    assert_eq!(encoded(&frames[0]), hello);
    assert_eq!(encoded(&frames[1]), b"\x00\x00\x00\x03\x02\x91\x07");
    assert_eq!(
        encoded(&frames[2]),
        b"\x00\x00\x00\x1d\x03\x91\xbathe agent speaks version 7"
    );
}
