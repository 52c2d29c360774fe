//! One file with symbols: a kernel or a module.
//!
//! Input: its path. Output: addresses of names, names of addresses, frames with short paths. Not here: which
//! files there are (`kernel`).

use std::cell::OnceCell;
use std::path::Path;

use crate::elf::{Elf, ElfError};
use crate::lines::{Frame, Lines};
use crate::module::Layout;
use crate::paths::Shortener;
use crate::table::Table;

/// A file's symbols, and its lines once one was asked for.
pub(crate) struct SymbolFile {
    elf: Elf,
    layout: Layout,
    table: Table,
    lines: OnceCell<Option<Lines>>,
    shortener: OnceCell<Shortener>,
}

/// A function and source file of every kernel, by which the folder of the sources is found.
const LANDMARK: (&str, &str) = ("start_kernel", "init/main.c");

impl SymbolFile {
    /// Reads the symbol table.
    pub(crate) fn open(path: &Path) -> Result<SymbolFile, ElfError> {
        let elf = Elf::open(path)?;
        let (symbols, names) = elf.symbols()?;
        let layout = Layout::new(&elf, &symbols);
        let table = Table::of_elf(&elf, &symbols, names, &layout);
        Ok(SymbolFile {
            elf,
            layout,
            table,
            lines: OnceCell::new(),
            shortener: OnceCell::new(),
        })
    }

    /// Its symbols of code.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether it is a module.
    pub(crate) fn is_module(&self) -> bool {
        self.elf.is_relocatable()
    }

    /// What is at an address, innermost first, with the paths as the file has them.
    pub(crate) fn frames(&self, address: u64) -> Vec<Frame> {
        self.lines().map(|lines| lines.at(address)).unwrap_or_default()
    }

    fn lines(&self) -> Option<&Lines> {
        let lines = self
            .lines
            .get_or_init(|| Lines::read(&self.elf, &self.layout).ok().flatten());
        lines.as_ref()
    }

    /// What makes paths of this kernel's sources short.
    pub(crate) fn shortener(&self) -> &Shortener {
        self.shortener.get_or_init(|| {
            let (function, source) = LANDMARK;
            let address = self.table.address(function);
            let outermost = address.and_then(|address| self.frames(address).pop());
            let objects = address.and_then(|address| self.lines()?.folder(address));
            let file = outermost.as_ref().map(|frame| frame.file.as_str());
            Shortener::new(file, source, objects.as_deref())
        })
    }
}
