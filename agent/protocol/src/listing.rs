//! The entries of a folder, as they travel: one list, within limits that an honest agent keeps.
//!
//! Input: [`DirEntry`]s, or the content of a listing's `Data` frames from a sender that is not trusted.
//! Output: the other.
//! Not here: looking into a folder.

use crate::bounded;
use crate::file::DirEntry;
use crate::frame::MAX_DEPTH;
use crate::limits::{MAX_ENTRIES, MAX_LISTING};

/// The entries as bytes.
///
/// # Errors
/// What there is too much of, in words.
pub fn encode_listing(entries: &[DirEntry]) -> Result<Vec<u8>, String> {
    if entries.len() > MAX_ENTRIES {
        return Err(format!("it has more than {MAX_ENTRIES} entries"));
    }
    let bytes = rmp_serde::to_vec(entries).map_err(|error| format!("it cannot be told: {error}"))?;
    match bytes.len() <= MAX_LISTING {
        true => Ok(bytes),
        false => Err(too_long()),
    }
}

/// The entries that the bytes stand for.
///
/// # Errors
/// What is wrong with them, in words.
pub fn decode_listing(bytes: &[u8]) -> Result<Vec<DirEntry>, String> {
    if bytes.len() > MAX_LISTING {
        return Err(too_long());
    }
    let mut left = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut left);
    decoder.set_max_depth(MAX_DEPTH);
    let entries = bounded::list(&mut decoder).map_err(|error| error.to_string())?;
    match left.len() {
        0 => Ok(entries),
        extra => Err(format!("{extra} bytes follow them")),
    }
}

fn too_long() -> String {
    format!("they take more than {} MiB", MAX_LISTING >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::EntryType;

    fn entries(count: usize, name: &[u8]) -> Vec<DirEntry> {
        let entry = DirEntry {
            name: name.to_vec().into(),
            entry_type: EntryType::Fifo,
        };
        vec![entry; count]
    }

    #[test]
    fn entries_go_there_and_back() {
        for listed in [entries(0, b""), entries(1, b"\xff"), entries(MAX_ENTRIES, b"ab")] {
            let bytes = encode_listing(&listed).expect("it fits");
            assert!(decode_listing(&bytes) == Ok(listed));
        }
    }

    #[test]
    fn what_is_too_much_is_neither_sent_nor_taken() {
        let error = encode_listing(&entries(MAX_ENTRIES + 1, b"")).unwrap_err();
        assert_eq!(error, "it has more than 1000000 entries");
        let error = encode_listing(&entries(300_000, &[b'x'; 255])).unwrap_err();
        assert_eq!(error, "they take more than 64 MiB");
        assert_eq!(decode_listing(&vec![0; MAX_LISTING + 1]), Err(error));
        // The smallest entries that there are, three bytes each.
        let many = [&[0xdd, 0, 0x40, 0, 0][..], &[0x92, 0xa0, 0].repeat(0x40_0000)].concat();
        let error = decode_listing(&many).unwrap_err();
        assert!(error.contains("a list of 4194304 elements; at most"), "{error}");
        let error = decode_listing(&[0x90, 0]).unwrap_err();
        assert_eq!(error, "1 bytes follow them");
    }
}
