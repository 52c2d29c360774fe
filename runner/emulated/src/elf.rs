//! The two questions that the emulated host has about ELF files.
//!
//! Input: the content of a 64-bit little-endian ELF file. Output: whether a program needs a loader, and
//! whether QEMU can enter a kernel. Not here: reading or unpacking files.

use object::LittleEndian;
use object::elf::{FileHeader64, NoteType, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// Type of the note, named `Xen`, with the address at which a kernel is entered directly (PVH).
const XEN_ELFNOTE_PHYS32_ENTRY: NoteType = NoteType(18);

type Header = FileHeader64<LittleEndian>;

/// Whether a program asks for a loader (PT_INTERP); `None` if it is no such file.
pub(crate) fn asks_for_loader(image: &[u8]) -> Option<bool> {
    let segments = Header::parse(image)
        .ok()?
        .program_headers(LittleEndian, image)
        .ok()?;
    let mut types = segments.iter().map(|segment| segment.p_type(LittleEndian));
    Some(types.any(|segment| segment == PT_INTERP))
}

/// Whether a kernel has the note by which QEMU enters it without the boot protocol.
pub(crate) fn has_pvh_entry(kernel: &[u8]) -> bool {
    let header = Header::parse(kernel);
    let segments = header.and_then(|header| header.program_headers(LittleEndian, kernel));
    let mut notes = segments
        .unwrap_or_default()
        .iter()
        .filter_map(|segment| segment.notes(LittleEndian, kernel).ok().flatten())
        .flat_map(|notes| notes.map_while(Result::ok));
    notes.any(|note| note.name() == b"Xen" && note.n_type(LittleEndian) == XEN_ELFNOTE_PHYS32_ENTRY)
}

#[cfg(test)]
pub(crate) mod testing {
    /// An ELF header with one segment of `segment_type`, which is the rest of the file.
    pub(crate) fn program(segment_type: u32, content: &[u8]) -> Vec<u8> {
        let mut image = header();
        image[32] = 64; // e_phoff
        image[54] = 56; // e_phentsize
        image[56] = 1; // e_phnum
        image.extend(segment_type.to_le_bytes());
        image.extend(4u32.to_le_bytes());
        let size = content.len() as u64;
        for field in [120, 0, 0, size, size, 4] {
            image.extend(u64::to_le_bytes(field));
        }
        image.extend(content);
        image
    }

    fn header() -> Vec<u8> {
        let mut image = vec![0; 64];
        image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        image
    }
}

#[cfg(test)]
mod tests {
    use super::testing::program;
    use super::*;

    #[test]
    fn a_static_program_is_told_from_one_with_a_loader() {
        let mut image = program(1, b"code");
        assert_eq!(asks_for_loader(&image), Some(false));
        assert_eq!(asks_for_loader(&program(3, b"/lib64/ld.so\0")), Some(true));
        assert_eq!(asks_for_loader(&image[..100]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh"), None);
        image[32..40].fill(0xff);
        assert_eq!(asks_for_loader(&image), None);
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(asks_for_loader(&own), Some(true), "tests are linked dynamically");
    }

    #[test]
    fn a_kernel_is_entered_by_its_note() {
        let note = |name: &[u8; 4], kind: u32, address: &[u8]| {
            let lengths = [4, address.len() as u32, kind];
            let header = lengths.into_iter().flat_map(u32::to_le_bytes);
            header
                .chain(*name)
                .chain(address.iter().copied())
                .collect::<Vec<_>>()
        };
        let (other, entry) = (note(b"GNU\0", 18, &[0; 4]), note(b"Xen\0", 18, &[0; 4]));
        assert!(has_pvh_entry(&program(
            4,
            &[other.clone(), entry.clone()].concat()
        )));
        assert!(has_pvh_entry(&program(4, &note(b"Xen\0", 18, &[0; 8]))));
        assert!(!has_pvh_entry(&program(4, &other)));
        assert!(!has_pvh_entry(&program(4, &note(b"Xen\0", 17, &[0; 4]))));
        assert!(!has_pvh_entry(&program(1, &entry)), "not a segment of notes");
        assert!(!has_pvh_entry(b"no kernel"));
    }
}
