//! An ELF file as far as symbols need it: sections, read one by one, and the symbol table.
//!
//! Input: the file of a kernel or a module, of which nothing is believed. Output: an [`Elf`]; sections as
//! bytes, at most [`MAX_SECTIONS_SIZE`] of each. Not here: what DWARF says (`lines`), where a module's
//! sections lie (`module`).
//!
//! Sections are read, not mapped: a kernel that is built anew in the midst of a run makes its file shorter,
//! and a mapping of it would end the process.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use object::LittleEndian as LE;
use object::elf::{
    CompressionHeader64, ELFCOMPRESS_ZLIB, EM_X86_64, ET_REL, FileHeader64, NT_GNU_BUILD_ID, NoteHeader64,
    Rela64, SHF_COMPRESSED, SHT_NOBITS, SHT_NOTE, SHT_SYMTAB, SectionHeader64, Sym64,
};
use object::pod;
use object::read::elf::FileHeader as _;

/// Bytes of sections that are read of one file, unpacked.
pub(crate) const MAX_SECTIONS_SIZE: u64 = 2 << 30;

/// Why a file has no symbols for us.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is no ELF file for x86-64, or a broken one; the text says what is wrong.
    #[error("is no ELF file of a kernel: {0}")]
    Broken(&'static str),
    /// Its sections are larger than what is read.
    #[error("has more than {} GiB of debug information", MAX_SECTIONS_SIZE >> 30)]
    Large,
}

/// An open ELF file of 64 bits for x86-64.
#[derive(Debug)]
pub(crate) struct Elf {
    file: File,
    size: u64,
    relocatable: bool,
    sections: Vec<Section>,
}

/// A section's place in the file.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) name: String,
    header: SectionHeader64<LE>,
}

impl Section {
    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> u64 {
        self.header.sh_size.get(LE)
    }

    /// Whether it is there when the program runs.
    pub(crate) fn is_allocated(&self) -> bool {
        self.has(object::elf::SHF_ALLOC)
    }

    /// Whether it is code.
    pub(crate) fn is_code(&self) -> bool {
        self.has(object::elf::SHF_EXECINSTR)
    }

    /// Index of the section that relocations are for, if this one holds relocations.
    pub(crate) fn relocates(&self) -> Option<usize> {
        (self.header.sh_type.get(LE) == object::elf::SHT_RELA).then(|| self.header.sh_info.get(LE) as usize)
    }

    fn has(&self, flag: object::elf::SectionFlags) -> bool {
        self.header.sh_flags.get(LE).0 & flag.0 != 0
    }
}

/// Symbols, and the strings that their names are in.
pub(crate) type SymbolTable = (Vec<Sym64<LE>>, Arc<[u8]>);

impl Elf {
    /// Opens a file and reads its table of sections.
    pub(crate) fn open(path: &Path) -> Result<Elf, ElfError> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ElfError::Broken("it is not a file"));
        }
        let mut elf = Elf {
            file,
            size: metadata.len(),
            relocatable: false,
            sections: Vec::new(),
        };
        let head = elf.bytes(0, size_of::<FileHeader64<LE>>() as u64)?;
        let header =
            FileHeader64::<LE>::parse(&head[..]).map_err(|_| ElfError::Broken("its header is another"))?;
        if header.e_machine.get(LE) != EM_X86_64 || header.e_shentsize.get(LE) != SECTION_HEADER {
            return Err(ElfError::Broken("it is for another processor"));
        }
        elf.relocatable = header.e_type.get(LE) == ET_REL;
        let count = u64::from(header.e_shnum.get(LE));
        let table = elf.bytes(header.e_shoff.get(LE), count * u64::from(SECTION_HEADER))?;
        let headers = all::<SectionHeader64<LE>>(&table);
        let names = match headers.get(usize::from(header.e_shstrndx.get(LE).0)) {
            Some(names) => elf.bytes(names.sh_offset.get(LE), names.sh_size.get(LE))?,
            None => return Err(ElfError::Broken("its sections have no names")),
        };
        elf.sections = headers
            .iter()
            .map(|header| Section {
                name: string(&names, header.sh_name.get(LE)).to_owned(),
                header: *header,
            })
            .collect();
        Ok(elf)
    }

    /// Whether it is a module, which is not linked to addresses yet.
    pub(crate) fn is_relocatable(&self) -> bool {
        self.relocatable
    }

    /// Its sections; the index is what symbols have.
    pub(crate) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section of that name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// What a section contains, unpacked; nothing for one that has no content in the file.
    pub(crate) fn content(&self, section: &Section) -> Result<Arc<[u8]>, ElfError> {
        let header = &section.header;
        if header.sh_type.get(LE) == SHT_NOBITS {
            return Ok(Arc::default());
        }
        let packed = self.bytes(header.sh_offset.get(LE), header.sh_size.get(LE))?;
        if section.has(SHF_COMPRESSED) {
            unpack(&packed)
        } else {
            Ok(packed)
        }
    }

    /// The symbol table with its names; none of either in a file that was stripped.
    pub(crate) fn symbols(&self) -> Result<SymbolTable, ElfError> {
        let Some(table) = self
            .sections
            .iter()
            .find(|section| section.header.sh_type.get(LE) == SHT_SYMTAB)
        else {
            return Ok(Default::default());
        };
        let names = match self.sections.get(table.header.sh_link.get(LE) as usize) {
            Some(names) => self.content(names)?,
            None => return Err(ElfError::Broken("its symbols have no names")),
        };
        Ok((all::<Sym64<LE>>(&self.content(table)?).to_vec(), names))
    }

    /// Relocations of a section that holds some.
    pub(crate) fn relocations(&self, section: &Section) -> Result<Vec<Rela64<LE>>, ElfError> {
        Ok(all::<Rela64<LE>>(&self.content(section)?).to_vec())
    }

    /// The identity that the linker gave the program.
    pub(crate) fn build_id(&self) -> Option<Vec<u8>> {
        let notes = self
            .sections
            .iter()
            .filter(|section| section.header.sh_type.get(LE) == SHT_NOTE);
        notes
            .into_iter()
            .find_map(|section| build_id(&self.content(section).ok()?))
    }

    fn bytes(&self, offset: u64, length: u64) -> Result<Arc<[u8]>, ElfError> {
        // Before anything is allocated.
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(ElfError::Broken("it is shorter than it says"));
        }
        if length > MAX_SECTIONS_SIZE {
            return Err(ElfError::Large);
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length as usize).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            self.file.read_exact_at(bytes, offset)?;
        }
        Ok(bytes)
    }
}

const SECTION_HEADER: u16 = size_of::<SectionHeader64<LE>>() as u16;

/// The whole items that a table has.
fn all<T: pod::Pod>(bytes: &[u8]) -> &[T] {
    let count = bytes.len() / size_of::<T>();
    pod::slice_from_bytes(bytes, count).map_or(&[], |(items, _)| items)
}

/// The string at an offset of a string table.
pub(crate) fn string(table: &[u8], offset: u32) -> &str {
    let rest = table.get(offset as usize..).unwrap_or_default();
    let text = CStr::from_bytes_until_nul(rest).unwrap_or_default();
    text.to_str().unwrap_or_default()
}

fn unpack(packed: &[u8]) -> Result<Arc<[u8]>, ElfError> {
    let (header, content) = pod::from_bytes::<CompressionHeader64<LE>>(packed)
        .map_err(|()| ElfError::Broken("a compressed section has no header"))?;
    if header.ch_type.get(LE) != ELFCOMPRESS_ZLIB {
        return Err(ElfError::Broken(
            "its debug information is compressed, and not with zlib",
        ));
    }
    let size = header.ch_size.get(LE);
    if size > MAX_SECTIONS_SIZE {
        return Err(ElfError::Large);
    }
    // Grows with what is unpacked, not with what the header says.
    let mut unpacked = Vec::new();
    flate2::read::ZlibDecoder::new(content)
        .take(size)
        .read_to_end(&mut unpacked)?;
    Ok(unpacked.into())
}

fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    while let Ok((header, rest)) = pod::from_bytes::<NoteHeader64<LE>>(notes) {
        let padded = |size: u32| (size as usize).checked_next_multiple_of(4);
        let name = padded(header.n_namesz.get(LE))?;
        let size = header.n_descsz.get(LE);
        let description = rest.get(name..)?;
        if header.n_type.get(LE) == NT_GNU_BUILD_ID && rest.starts_with(b"GNU\0") {
            return description.get(..size as usize).map(<[u8]>::to_vec);
        }
        notes = description.get(padded(size)?..)?;
    }
    None
}
