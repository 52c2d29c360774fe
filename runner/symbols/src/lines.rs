//! What DWARF says of an address: file and line, through everything that was inlined there.
//!
//! Input: an ELF file with debug information. Output: [`Frame`]s, innermost first. Not here: names of
//! symbols (`table`), how a frame is shown (`annotate`).
//!
//! Sections are read when the first address is asked for, and a unit is parsed when an address lies in it.

use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian, Reader, SectionId};

use crate::elf::{Elf, ElfError, MAX_SECTIONS_SIZE};
use crate::module::Layout;

type Bytes = EndianArcSlice<LittleEndian>;

/// Frames that are given of one address.
const MAX_FRAMES: usize = 16;

/// The debug information of one file.
pub(crate) struct Lines {
    context: Context<Bytes>,
}

/// A function and where in it an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Name of the function, if it has one.
    pub(crate) function: Option<String>,
    /// Source file as the compiler was given it.
    pub(crate) file: String,
    /// Line in it, from 1.
    pub(crate) line: u32,
}

impl Lines {
    /// Whether a file has debug information with lines.
    pub(crate) fn are_in(elf: &Elf) -> bool {
        elf.section(".debug_line").is_some() && elf.section(".debug_info").is_some()
    }

    /// Reads the sections; `None` when there is no debug information.
    pub(crate) fn read(elf: &Elf, layout: &Layout) -> Result<Option<Lines>, ElfError> {
        if !Lines::are_in(elf) {
            return Ok(None);
        }
        let mut left = MAX_SECTIONS_SIZE;
        let load = |id: SectionId| -> Result<Bytes, ElfError> {
            let content = match elf.section(id.name()).filter(|_| is_used(id)) {
                Some(section) => layout.content(elf, section)?,
                None => Arc::default(),
            };
            left = left.checked_sub(content.len() as u64).ok_or(ElfError::Large)?;
            Ok(Bytes::new(content, LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(load)?;
        let context = Context::from_dwarf(dwarf).map_err(|_| ElfError::Broken("its DWARF is damaged"))?;
        Ok(Some(Lines { context }))
    }

    /// The folder in which the compiler was called that made what is at an address.
    pub(crate) fn folder(&self, address: u64) -> Option<String> {
        let unit = self.context.find_dwarf_and_unit(address).skip_all_loads()?;
        let folder = unit.comp_dir.as_ref()?;
        Some(folder.to_string_lossy().ok()?.into_owned())
    }

    /// What is at an address, the innermost inlined function first; nothing where nothing is known, or where
    /// the information is damaged.
    pub(crate) fn at(&self, address: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Ok(mut found) = self.context.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = found.next() {
            let Some((file, line)) = frame.location.and_then(|at| Some((at.file?, at.line?))) else {
                continue;
            };
            let function = frame
                .function
                .and_then(|name| Some(name.raw_name().ok()?.into_owned()));
            let file = file.to_owned();
            frames.push(Frame { function, file, line });
            if frames.len() == MAX_FRAMES {
                break;
            }
        }
        frames
    }
}

/// Whether finding lines needs the section; the others are as large and stay unread.
fn is_used(id: SectionId) -> bool {
    use SectionId as Id;
    matches!(
        id,
        Id::DebugAbbrev
            | Id::DebugAddr
            | Id::DebugAranges
            | Id::DebugInfo
            | Id::DebugLine
            | Id::DebugLineStr
            | Id::DebugRanges
            | Id::DebugRngLists
            | Id::DebugStr
            | Id::DebugStrOffsets
    )
}
