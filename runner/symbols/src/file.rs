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
        let lines = self
            .lines
            .get_or_init(|| Lines::read(&self.elf, &self.layout).ok().flatten());
        lines.as_ref().map(|lines| lines.at(address)).unwrap_or_default()
    }

    /// What makes paths of this kernel's sources short.
    pub(crate) fn shortener(&self) -> &Shortener {
        self.shortener.get_or_init(|| {
            let (function, source) = LANDMARK;
            let frames = self.table.address(function).map(|address| self.frames(address));
            let outermost = frames.and_then(|mut frames| frames.pop());
            Shortener::new(outermost.as_ref().map(|frame| frame.file.as_str()), source)
        })
    }
}
