//! Whether a file is an initrd that a kernel unpacks, by its first bytes.
//!
//! Input: a path. Output: what is wrong with it, in words. Not here: whether the kernel at hand knows the
//! compression; only the kernel does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes that are looked at: zeros may stand before an archive.
const LOOKED_AT: u64 = 4096;

/// Beginnings of archives and of the compressions that Linux knows.
const BEGINNINGS: [&[u8]; 10] = [
    b"070701",
    b"070702",
    b"\x1f\x8b",         // gzip
    b"\x1f\x9e",         // gzip, long ago
    b"BZh",              // bzip2
    b"\x5d\x00\x00",     // lzma
    b"\xfd7zXZ\0",       // xz
    b"\x89LZO",          // lzo
    b"\x02\x21\x4c\x18", // lz4, as the kernel has it
    b"\x28\xb5\x2f\xfd", // zstd
];

/// What is wrong with the initrd at `path`; nothing where it begins like an archive.
///
/// # Errors
/// When it cannot be read.
pub fn problem(path: &Path) -> io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    File::open(path)?.take(LOOKED_AT).read_to_end(&mut start)?;
    Ok(problem_of(&start))
}

fn problem_of(start: &[u8]) -> Option<&'static str> {
    let archive = start.iter().position(|byte| *byte != 0).map(|at| &start[at..])?;
    if BEGINNINGS.iter().any(|beginning| archive.starts_with(beginning)) {
        return None;
    }
    Some(if archive.starts_with(b"\x04\x22\x4d\x18") {
        "is an lz4 frame, which no kernel unpacks; compress it with `lz4 -l`"
    } else if archive.starts_with(b"070707") || archive.starts_with(b"\xc7\x71") {
        "is a cpio archive of an old format, which no kernel unpacks; make it with `cpio -o -H newc`"
    } else {
        "is no newc cpio archive, nor one in gzip, bzip2, lzma, xz, lzo, lz4 or zstd"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_beginnings() {
        let after_zeros = [&[0; 512][..], b"070701"].concat();
        for fine in [
            &b"070701000"[..],
            b"\x1f\x8b\x08",
            b"\x28\xb5\x2f\xfd",
            b"\x02\x21\x4c\x18",
            &after_zeros,
            b"",
            &[0; 99],
        ] {
            assert_eq!(problem_of(fine), None, "{fine:?}");
        }
        for (bytes, expected) in [
            (&b"root:x:0:0"[..], "no newc cpio"),
            (b"\x04\x22\x4d\x18", "lz4 -l"),
            (b"070707", "-H newc"),
            (b"\xc7\x71", "-H newc"),
            (&[&[0; 1080][..], b"\x53\xef"].concat(), "no newc cpio"),
        ] {
            assert!(
                problem_of(bytes).is_some_and(|problem| problem.contains(expected)),
                "{bytes:?}"
            );
        }
    }
}
