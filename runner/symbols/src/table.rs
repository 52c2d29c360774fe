//! Symbols of code: by name with their sizes, and by address.
//!
//! Input: the symbol table of an ELF file, or a `System.map`. Output: [`Found`], addresses, names. Not here:
//! files and lines.

use std::sync::Arc;

use object::LittleEndian as LE;
use object::elf::{SHN_UNDEF, STB_LOCAL, STT_FUNC, STT_NOTYPE, Sym64};

use crate::elf::{Elf, string};
use crate::module::Layout;

/// Symbols of code in the order of their addresses.
pub(crate) struct Table {
    symbols: Vec<Symbol>,
    /// Indices in the order of names.
    by_name: Vec<u32>,
    names: Arc<[u8]>,
    /// Whether a size that a trace prints says nothing where a symbol is the last of its section.
    module: bool,
}

#[derive(Clone, Copy)]
struct Symbol {
    address: u64,
    /// Bytes that it says it has; 0 for a label.
    size: u64,
    /// Bytes up to the next symbol, which is what kernels call its size.
    span: u64,
    name: u32,
    /// Which of several at one address is named: the smallest.
    rank: u8,
}

/// Where in which function an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// Name of the function.
    pub(crate) name: &'a str,
    /// Bytes from its start.
    pub(crate) offset: u64,
    /// Bytes that it has, as kernels count them.
    pub(crate) size: u64,
}

impl Table {
    /// The table of an ELF file; empty if it was stripped.
    pub(crate) fn of_elf(elf: &Elf, table: &[Sym64<LE>], names: Arc<[u8]>, layout: &Layout) -> Table {
        let code: Vec<bool> = elf.sections().iter().map(crate::elf::Section::is_code).collect();
        let symbols = table.iter().filter_map(|symbol| {
            let kind = symbol.st_type();
            let section = symbol.st_shndx.get(LE);
            let in_code = section
                .index()
                .is_some_and(|index| code.get(index as usize) == Some(&true));
            if section == SHN_UNDEF || !in_code || !(kind == STT_FUNC || kind == STT_NOTYPE) {
                return None;
            }
            let offset = symbol.st_name.get(LE);
            let name = string(&names, offset);
            let local = name.is_empty() || name.starts_with(".L") || name.starts_with('$');
            (!local).then_some(())?;
            let rank = 2 * u8::from(kind != STT_FUNC) + u8::from(symbol.st_bind() == STB_LOCAL);
            Some(Symbol {
                address: layout.address(symbol)?,
                size: symbol.st_size.get(LE),
                span: 0,
                name: offset,
                rank,
            })
        });
        let symbols = symbols.collect();
        Table::new(symbols, names, elf.is_relocatable())
    }

    /// The table of a `System.map`: lines `address type name`.
    pub(crate) fn of_system_map(text: &[u8]) -> Table {
        let (mut names, mut symbols) = (Vec::new(), Vec::new());
        for line in text.split(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line).unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let (Ok(address), "t" | "T" | "w" | "W") = (u64::from_str_radix(address, 16), kind) else {
                continue;
            };
            let Ok(offset) = u32::try_from(names.len()) else {
                break;
            };
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            symbols.push(Symbol {
                address,
                size: 0,
                span: 0,
                name: offset,
                rank: u8::from(matches!(kind, "t" | "w")),
            });
        }
        Table::new(symbols, names.into(), false)
    }

    fn new(mut symbols: Vec<Symbol>, names: Arc<[u8]>, module: bool) -> Table {
        symbols.sort_unstable_by_key(|symbol| (symbol.address, symbol.rank, symbol.name));
        let mut next = None;
        for at in (0..symbols.len()).rev() {
            let address = symbols[at].address;
            if symbols.get(at + 1).is_some_and(|above| above.address != address) {
                next = Some(symbols[at + 1].address);
            }
            symbols[at].span = next.map_or(symbols[at].size, |next| next - address);
        }
        let mut by_name: Vec<u32> = (0..u32::try_from(symbols.len()).unwrap_or(u32::MAX)).collect();
        let name = |index: &u32| string(&names, symbols[*index as usize].name);
        by_name.sort_by(|one, other| name(one).cmp(name(other)));
        Table {
            symbols,
            by_name,
            names,
            module,
        }
    }

    /// Whether there is no symbol.
    pub(crate) fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The addresses that `name+offset/size` can mean: those of the functions of that name with that size.
    /// None where the sizes of all are others, since it is another kernel then.
    pub(crate) fn addresses(&self, name: &str, offset: u64, size: u64) -> Vec<u64> {
        let fits = |symbol: &&Symbol| {
            let ends = symbol.size == size || symbol.span == size;
            let last = self.module && size >= symbol.size && offset <= symbol.span.max(symbol.size);
            offset <= size && (ends || last)
        };
        let all = self.named(name);
        let exact = all
            .iter()
            .filter(|symbol| symbol.size == size || symbol.span == size)
            .count()
            > 0;
        let mut addresses: Vec<u64> = all
            .iter()
            .filter(fits)
            .filter(|symbol| !exact || symbol.size == size || symbol.span == size)
            .map(|symbol| symbol.address.wrapping_add(offset))
            .collect();
        addresses.dedup();
        addresses
    }

    /// The address of the only symbol of that name.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        match self.named(name)[..] {
            [only] => Some(only.address),
            _ => None,
        }
    }

    /// The function that an address is in.
    pub(crate) fn at(&self, address: u64) -> Option<Found<'_>> {
        let above = self.symbols.partition_point(|symbol| symbol.address <= address);
        let below = self.symbols.get(above.checked_sub(1)?)?.address;
        let first = self.symbols.partition_point(|symbol| symbol.address < below);
        let symbol = self.symbols[first];
        let size = symbol.span.max(symbol.size);
        let offset = address - symbol.address;
        (offset < size).then(|| Found {
            name: string(&self.names, symbol.name),
            offset,
            size,
        })
    }

    fn named(&self, name: &str) -> Vec<Symbol> {
        let of = |index: &u32| string(&self.names, self.symbols[*index as usize].name);
        let first = self.by_name.partition_point(|index| of(index) < name);
        let rest = self.by_name[first..].iter().take_while(|index| of(index) == name);
        rest.map(|index| self.symbols[*index as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &[u8] = b"ffffffff81000000 T _text\nffffffff81000000 T startup_64\nffffffff81000040 t helper\n\
        ffffffff81000060 t helper\nffffffff810000a0 T last\nffffffff810000c0 T _etext\nffffffff81800000 D data\n\
        nonsense\nzz T no_address\n";

    #[test]
    fn a_name_that_is_there_twice_is_told_by_its_size() {
        let table = Table::of_system_map(MAP);
        assert_eq!(table.addresses("helper", 4, 0x20), [0xffff_ffff_8100_0044]);
        assert_eq!(table.addresses("helper", 4, 0x40), [0xffff_ffff_8100_0064]);
        assert_eq!(table.addresses("last", 0x1f, 0x20), [0xffff_ffff_8100_00bf]);
        assert!(
            table.addresses("helper", 4, 0x30).is_empty(),
            "the size of another kernel's"
        );
        assert!(table.addresses("helper", 0x21, 0x20).is_empty(), "behind its end");
        assert!(table.addresses("absent", 0, 0x20).is_empty());
        assert_eq!(table.address("helper"), None);
        assert_eq!(table.address("last"), Some(0xffff_ffff_8100_00a0));
    }

    #[test]
    fn an_address_is_named() {
        let table = Table::of_system_map(MAP);
        let found = table.at(0xffff_ffff_8100_0044).unwrap();
        assert_eq!((found.name, found.offset, found.size), ("helper", 4, 0x20));
        assert_eq!(table.at(0xffff_ffff_8100_0000).unwrap().name, "_text");
        assert_eq!(table.at(0xffff_ffff_80ff_ffff), None, "before the first");
        assert_eq!(
            table.at(0xffff_ffff_8100_00c0),
            None,
            "nobody knows how far the last goes"
        );
        assert!(Table::of_system_map(b"").is_empty());
    }
}
