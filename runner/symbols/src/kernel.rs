//! The files that know a kernel, found and opened.
//!
//! Input: [`KernelFiles`]. Output: a [`Kernel`]: its symbols, those of modules, the address it ran at. Not
//! here: reading traces (`annotate`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::file::SymbolFile;
use crate::lines::Lines;
use crate::table::Table;

/// A kernel, and what is said to know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KernelFiles {
    /// The kernel that is booted: bzImage or ELF.
    pub kernel: PathBuf,
    /// A vmlinux with debug information, modules with debug information, any of them. Where no vmlinux is
    /// among them, it is looked for.
    pub debuginfo: Vec<PathBuf>,
}

/// Names of files beside a kernel that may know it.
const BESIDE: [&str; 2] = ["vmlinux.debug", "vmlinux"];
/// Bytes of a `System.map` that are read.
const MAX_SYSTEM_MAP: u64 = 64 << 20;
/// Function at which a processor enters the kernel by `syscall`, as its register LSTAR says.
const SYSCALL_ENTRY: &str = "entry_SYSCALL_64";
/// A function of each kernel that can be linked to one address and run at another.
const MOVES: &str = "kernel_randomize_memory";

/// What is known of a kernel and its modules.
pub(crate) struct Kernel {
    vmlinux: Option<SymbolFile>,
    /// Names alone, where there is no vmlinux.
    map: Option<Table>,
    modules: BTreeMap<String, SymbolFile>,
}

impl Kernel {
    /// Opens what there is. A file that cannot be read is as good as none.
    pub(crate) fn open(files: &KernelFiles) -> Kernel {
        let mut kernel = Kernel {
            vmlinux: None,
            map: None,
            modules: BTreeMap::new(),
        };
        for path in &files.debuginfo {
            match SymbolFile::open(path) {
                Ok(file) if file.is_module() => drop(kernel.modules.insert(module_name(path), file)),
                Ok(file) if kernel.vmlinux.is_none() => kernel.vmlinux = Some(file),
                _ => {}
            }
        }
        if kernel.vmlinux.is_none() {
            kernel.vmlinux = find(&files.kernel).and_then(|path| SymbolFile::open(&path).ok());
        }
        if kernel.vmlinux.as_ref().is_none_or(|file| file.table().is_empty()) {
            kernel.map = system_map(&files.kernel);
        }
        kernel
    }

    /// The kernel's own file.
    pub(crate) fn vmlinux(&self) -> Option<&SymbolFile> {
        self.vmlinux.as_ref()
    }

    /// The file of a module.
    pub(crate) fn module(&self, name: &str) -> Option<&SymbolFile> {
        self.modules.get(&name.replace('-', "_"))
    }

    /// The kernel's symbols.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.vmlinux {
            Some(file) if !file.table().is_empty() => Some(file.table()),
            _ => self.map.as_ref(),
        }
    }

    /// How far the kernel ran from where it was linked to, if that cannot be anything else than 0.
    pub(crate) fn fixed_offset(&self) -> Option<u64> {
        self.table()?.address(MOVES).is_none().then_some(0)
    }

    /// The same, from the address at which `syscall` enters the kernel.
    pub(crate) fn offset_by_syscall_entry(&self, entry: u64) -> Option<u64> {
        Some(entry.wrapping_sub(self.table()?.address(SYSCALL_ENTRY)?))
    }
}

/// The name that a kernel has for the module in a file.
fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let name = file.split('.').next().unwrap_or_default();
    name.replace('-', "_")
}

/// The file with symbols of the kernel in `path`: itself, or one beside it that is the same kernel.
fn find(path: &Path) -> Option<PathBuf> {
    let own = Elf::open(path).ok();
    if own.as_ref().is_some_and(Lines::are_in) {
        return Some(path.to_owned());
    }
    let beside = BESIDE.map(|name| path.with_file_name(name));
    let others: Vec<(&PathBuf, Elf)> = beside
        .iter()
        .filter(|other| *other != path)
        .filter_map(|other| Some((other, Elf::open(other).ok()?)))
        .collect();
    // One without content, which has what was stripped of another, is known by its build id alone.
    let build_id = match (&own, bz_image_version(path)) {
        (Some(own), _) => own.build_id(),
        (None, Some(version)) => others
            .iter()
            .find(|(_, other)| has_banner(other, &version))
            .and_then(|(_, other)| other.build_id()),
        (None, None) => None,
    };
    let is_same = |(_, other): &&(&PathBuf, Elf)| build_id.is_some() && other.build_id() == build_id;
    let known = others.iter().find(is_same).map(|(path, _)| (*path).clone());
    known.or_else(|| own.map(|_| path.to_owned()))
}

/// Whether a kernel begins its console with this release and version.
fn has_banner(elf: &Elf, (release, version): &(String, String)) -> bool {
    let Some(content) = elf
        .section(".rodata")
        .and_then(|section| elf.content(section).ok())
    else {
        return false;
    };
    let start = format!("Linux version {release} (");
    memchr::memmem::find_iter(&content, start.as_bytes()).any(|at| {
        let line = content[at..].split(|byte| matches!(byte, 0 | b'\n')).next();
        line.is_some_and(|line| line.ends_with(version.as_bytes()))
    })
}

/// Release and version of a bzImage: its header points at `RELEASE (who@where) VERSION`.
fn bz_image_version(path: &Path) -> Option<(String, String)> {
    let file = File::open(path).ok()?;
    let mut head = [0; 0x210];
    file.read_exact_at(&mut head, 0).ok()?;
    if head[0x202..0x206] != *b"HdrS" {
        return None;
    }
    let at = u64::from(u16::from_le_bytes([head[0x20e], head[0x20f]])) + 0x200;
    let mut text = [0; 512];
    let length = file.read_at(&mut text, at).ok()?;
    let text = text[..length].split(|byte| *byte == 0).next()?;
    let (release, rest) = std::str::from_utf8(text).ok()?.split_once(" (")?;
    let (_, version) = rest.split_once(") ")?;
    Some((release.to_owned(), version.trim_end().to_owned()))
}

/// The `System.map` beside a kernel: of that name, or with the version that is in the name of the kernel.
fn system_map(kernel: &Path) -> Option<Table> {
    let name = kernel.file_name()?.to_string_lossy();
    let version = name
        .split_once('-')
        .map(|(_, version)| format!("System.map-{version}"));
    let names = version.into_iter().chain(["System.map".to_owned()]);
    names.into_iter().find_map(|name| {
        let mut text = Vec::new();
        let file = File::open(kernel.with_file_name(name)).ok()?;
        file.take(MAX_SYSTEM_MAP).read_to_end(&mut text).ok()?;
        let table = Table::of_system_map(&text);
        (!table.is_empty()).then_some(table)
    })
}
