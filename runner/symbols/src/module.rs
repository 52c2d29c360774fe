//! A module's sections put to addresses, which the kernel does only when it loads them.
//!
//! Input: a relocatable ELF file. Output: an address for each section, all different; the content of a
//! section with its relocations applied. Not here: the addresses in a guest, which traces do not need.

use std::sync::Arc;

use object::LittleEndian as LE;
use object::elf::{R_X86_64_32, R_X86_64_32S, R_X86_64_64, Sym64};

use crate::elf::{Elf, ElfError, Section};

/// Where the first section lies; small enough for the relocations of 32 bits.
const FIRST: u64 = 0x1000;
const ALIGNMENT: u64 = 0x1000;

/// Where the sections of a file lie.
pub(crate) enum Layout {
    /// Where they were linked to: a kernel.
    Linked,
    /// Where they were put: a module. By index of the section; 0 for those that are not in memory.
    Placed(Placed),
}

/// Addresses and symbols by which a module's sections are relocated.
pub(crate) struct Placed {
    addresses: Vec<u64>,
    symbols: Vec<Sym64<LE>>,
}

impl Layout {
    /// The layout of a file with these symbols.
    pub(crate) fn new(elf: &Elf, symbols: &[Sym64<LE>]) -> Layout {
        if !elf.is_relocatable() {
            return Layout::Linked;
        }
        let mut next = FIRST;
        let place = |section: &Section| {
            if !section.is_allocated() {
                return 0;
            }
            let address = next;
            next = next
                .saturating_add(section.size())
                .next_multiple_of(ALIGNMENT)
                .max(address);
            address
        };
        Layout::Placed(Placed {
            addresses: elf.sections().iter().map(place).collect(),
            symbols: symbols.to_vec(),
        })
    }

    /// The address of a symbol; `None` for one that is elsewhere.
    pub(crate) fn address(&self, symbol: &Sym64<LE>) -> Option<u64> {
        match self {
            Layout::Linked => Some(symbol.st_value.get(LE)),
            Layout::Placed(placed) => placed.address(symbol),
        }
    }

    /// The content of a section of debug information.
    pub(crate) fn content(&self, elf: &Elf, section: &Section) -> Result<Arc<[u8]>, ElfError> {
        let mut content = elf.content(section)?;
        let Layout::Placed(placed) = self else {
            return Ok(content);
        };
        let index = elf.sections().iter().position(|other| other.name == section.name);
        let tables = elf
            .sections()
            .iter()
            .filter(|table| index.is_some() && table.relocates() == index);
        for table in tables {
            if let Some(content) = Arc::get_mut(&mut content) {
                placed.relocate(content, &elf.relocations(table)?);
            }
        }
        Ok(content)
    }
}

impl Placed {
    fn address(&self, symbol: &Sym64<LE>) -> Option<u64> {
        let section = symbol.st_shndx.get(LE).index()?;
        let base = *self.addresses.get(usize::from(section))?;
        Some(base.wrapping_add(symbol.st_value.get(LE)))
    }

    fn relocate(&self, content: &mut [u8], relocations: &[object::elf::Rela64<LE>]) {
        for relocation in relocations {
            let symbol = self.symbols.get(relocation.r_sym(LE, false) as usize);
            let address = symbol.and_then(|symbol| self.address(symbol)).unwrap_or(0);
            let value = address
                .wrapping_add_signed(relocation.r_addend.get(LE))
                .to_le_bytes();
            let width = match relocation.r_type(LE, false) {
                R_X86_64_64 => 8,
                R_X86_64_32 | R_X86_64_32S => 4,
                _ => continue,
            };
            let at = usize::try_from(relocation.r_offset.get(LE)).unwrap_or(usize::MAX);
            let end = at.saturating_add(width);
            if let Some(place) = content.get_mut(at..end) {
                place.copy_from_slice(&value[..width]);
            }
        }
    }
}
