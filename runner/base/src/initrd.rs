//! Whether a file is an initrd that a kernel unpacks, by its first bytes.
//!
//! Input: a path. Output: what is wrong with it, in words. Not here: whether the kernel at hand knows the
//! compression; only the kernel does.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
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

/// Bytes of an entry's header, where its numbers of content and name are, and the last entry's name.
const HEAD: usize = 110;
const SIZE: usize = 54;
const NAME: usize = 94;
const TRAILER: &[u8; 11] = b"TRAILER!!!\0";

/// What is wrong with the initrd at `path`; nothing where it begins like an archive.
///
/// # Errors
/// When it cannot be read.
pub fn problem(path: &Path) -> io::Result<Option<&'static str>> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(LOOKED_AT).read_to_end(&mut start)?;
    Ok(match problem_of(&start) {
        None if start.starts_with(b"07070") && is_cut(&file)? => {
            Some("is a cpio archive whose end is missing; it was truncated, or its making failed")
        }
        problem => problem,
    })
}

/// Whether a plain archive ends before its trailer; how it goes on behind that is not looked at.
fn is_cut(file: &File) -> io::Result<bool> {
    let (length, mut at) = (file.metadata()?.len(), 0);
    let mut head = [0; HEAD];
    while at + HEAD as u64 <= length {
        file.read_exact_at(&mut head, at)?;
        // A header that is none is for the kernel to complain about.
        let (Some(size), Some(name)) = (field(&head, SIZE), field(&head, NAME)) else {
            return Ok(false);
        };
        let content = (at + HEAD as u64 + name).next_multiple_of(4);
        if name == TRAILER.len() as u64 {
            let mut bytes = [0; TRAILER.len()];
            if content <= length
                && file.read_exact_at(&mut bytes, at + HEAD as u64).is_ok()
                && bytes == *TRAILER
            {
                return Ok(false);
            }
        }
        at = (content + size).next_multiple_of(4);
    }
    Ok(true)
}

/// A number of a header: eight hexadecimal digits.
fn field(head: &[u8; HEAD], at: usize) -> Option<u64> {
    let digits = std::str::from_utf8(&head[at..at + 8]).ok()?;
    head.starts_with(b"07070")
        .then(|| u64::from_str_radix(digits, 16).ok())?
}

fn problem_of(start: &[u8]) -> Option<&'static str> {
    if start.get(1080..1082) == Some(b"\x53\xef") || start.starts_with(b"hsqs") {
        return Some("is an image of a file system and no initramfs; give it as `rootfs`");
    }
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
    use crate::initramfs::{InitramfsFile, archive};

    #[test]
    fn an_archive_without_its_end_is_found_out() {
        let file = InitramfsFile {
            path: "/etc/long",
            mode: 0o644,
            content: &[7; 1000],
        };
        let whole = archive(&[file]).expect("an archive");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("initrd");
        let judged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            problem(&path).expect("read")
        };
        assert_eq!(judged(&whole), None);
        assert_eq!(judged(&[&whole[..], b"\x1f\x8b and more"].concat()), None);
        for cut in [120, 400, 1200, whole.len() - 10] {
            assert!(
                judged(&whole[..cut]).is_some_and(|problem| problem.contains("truncated")),
                "{cut}"
            );
        }
    }

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
            (&[&[0; 1080][..], b"\x53\xef"].concat(), "as `rootfs`"),
            (b"hsqs", "as `rootfs`"),
        ] {
            assert!(
                problem_of(bytes).is_some_and(|problem| problem.contains(expected)),
                "{bytes:?}"
            );
        }
    }
}
