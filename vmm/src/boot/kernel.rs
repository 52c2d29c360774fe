//! Loads the kernel and its initial RAM disk.
//!
//! Input: paths and archives. Output: both in guest memory, with their addresses. Not here: the boot
//! parameters.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::elf::Error as ElfError;
use linux_loader::loader::{BzImage, Elf, Error as LoaderError, KernelLoader};
use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::host_file;
use crate::layout;

/// Why a kernel or initrd cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the {what} `{}`: {source}", path.display())]
    Read {
        /// `kernel` or `initrd`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is neither a bzImage nor an x86-64 ELF file.
    #[error("`{}` is no kernel this monitor can boot: it is neither a bzImage nor an x86-64 ELF vmlinux ({found})", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// The file ends before its contents do.
    #[error("the kernel `{}` is truncated: {detail}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// The file is a kernel, but of a kind that cannot be started.
    #[error("cannot load the kernel `{}`: {detail}", path.display())]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The guest's memory is too small for kernel and initrd.
    #[error("{memory_mib} MiB of memory is too small: {what} needs {needed_mib} MiB; raise `memory`")]
    TooSmall {
        /// The guest's memory, in MiB.
        memory_mib: u64,
        /// What does not fit.
        what: String,
        /// Memory that would be enough for it, in MiB.
        needed_mib: u64,
    },
}

/// A kernel that is in guest memory.
pub(crate) struct LoadedKernel {
    /// Address of the 64-bit entry.
    pub(crate) entry: GuestAddress,
    /// First address behind the kernel, its bss and the room it unpacks in.
    pub(crate) end: u64,
    /// Highest address an initrd may have.
    pub(crate) initrd_max: u64,
    /// The setup header that the boot parameters start from.
    pub(crate) header: setup_header,
}

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
const BZIMAGE_MAGIC: u32 = 0x5372_6448; // "HdrS"
const XLF_KERNEL_64: u16 = 1;
const EM_X86_64: u16 = 62;

/// Loads a bzImage or an ELF vmlinux into guest memory.
pub(crate) fn load_kernel(ram: &GuestRam, path: &Path) -> Result<LoadedKernel, LoadError> {
    let read_error = |source| LoadError::Read {
        what: "kernel",
        path: path.to_owned(),
        source,
    };
    let mut file = host_file::open(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => LoadError::NotAKernel {
            path: path.to_owned(),
            found: error.to_string(),
        },
        _ => read_error(error),
    })?;
    let metadata = file.metadata().map_err(read_error)?;
    let mut head = Vec::new();
    Read::by_ref(&mut file)
        .take(4096)
        .read_to_end(&mut head)
        .map_err(read_error)?;
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    if head.starts_with(&ELF_MAGIC) {
        load_elf(ram, path, &mut file, &head)
    } else if u32_at(&head, 0x202) == Some(BZIMAGE_MAGIC) {
        load_bzimage(ram, path, &mut file, metadata.len())
    } else {
        let start: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let found = match start.len() {
            0 => "it is empty".to_owned(),
            _ => format!("{} bytes that start with {}", metadata.len(), start.join(" ")),
        };
        Err(LoadError::NotAKernel {
            path: path.to_owned(),
            found,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn load_elf(ram: &GuestRam, path: &Path, file: &mut File, head: &[u8]) -> Result<LoadedKernel, LoadError> {
    let class_64 = head.get(4) == Some(&2);
    let machine = u32_at(head, 16).map(|v| (v >> 16) as u16);
    if !class_64 || machine != Some(EM_X86_64) {
        let bits = if class_64 { 64 } else { 32 };
        let found = format!(
            "it is an ELF file of {bits} bits for machine {}",
            machine.unwrap_or(0)
        );
        return Err(LoadError::NotAKernel {
            path: path.to_owned(),
            found,
        });
    }
    check_elf_segments(ram, path, file)?;
    let loaded = Elf::load(ram, None, file, Some(layout::HIMEM_START)).map_err(|error| match error {
        // What begins below the first megabyte, or nowhere, is what a compiler makes for Linux.
        LoaderError::Elf(ElfError::InvalidEntryAddress) => LoadError::NotAKernel {
            path: path.to_owned(),
            found: "it is a program or a library".to_owned(),
        },
        error => LoadError::Unloadable {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    })?;
    let header = setup_header {
        boot_flag: 0xaa55,
        header: BZIMAGE_MAGIC,
        kernel_alignment: 0x100_0000,
        ..setup_header::default()
    };
    // Linux maps an initrd below 4 GiB wherever it lies; the old limit of 0x7fffffff is the bzImage's.
    Ok(LoadedKernel {
        entry: loaded.kernel_load,
        end: loaded.kernel_end,
        initrd_max: 0x7fff_ffff,
        header,
    })
}

/// Finds missing bytes and memory that is too small, both of which the loader only calls a failed read.
fn check_elf_segments(ram: &GuestRam, path: &Path, file: &mut File) -> Result<(), LoadError> {
    let read_error = |source| LoadError::Read {
        what: "kernel",
        path: path.to_owned(),
        source,
    };
    let truncated = |detail| LoadError::Truncated {
        path: path.to_owned(),
        detail,
    };
    let len = file.metadata().map_err(read_error)?.len();
    let mut header = [0u8; 64];
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    file.read_exact(&mut header)
        .map_err(|_| truncated(format!("{len} bytes do not hold an ELF header")))?;
    let u64_at = |bytes: &[u8], at: usize| {
        bytes[at..at + 8]
            .iter()
            .rev()
            .fold(0u64, |v, b| (v << 8) | u64::from(*b))
    };
    let table = u64_at(&header, 32);
    let entry_size = usize::from(u16::from_le_bytes([header[54], header[55]]));
    let count = u16::from_le_bytes([header[56], header[57]]);
    if entry_size < 56 {
        let detail = format!("its program headers have {entry_size} bytes, not 56");
        return Err(LoadError::Unloadable {
            path: path.to_owned(),
            detail,
        });
    }
    file.seek(SeekFrom::Start(table)).map_err(read_error)?;
    for _ in 0..count {
        let mut segment = vec![0u8; entry_size];
        file.read_exact(&mut segment)
            .map_err(|_| truncated("its program headers are missing".to_owned()))?;
        const PT_LOAD: u32 = 1;
        if u32_at(&segment, 0) != Some(PT_LOAD) {
            continue;
        }
        let [offset, physical, file_size, memory_size] = [8, 24, 32, 40].map(|at| u64_at(&segment, at));
        if offset.checked_add(file_size).is_none_or(|end| end > len) {
            return Err(truncated(format!(
                "a segment ends at byte {}, the file at {len}",
                offset.saturating_add(file_size)
            )));
        }
        check_fits(ram, "the kernel", physical.saturating_add(memory_size))?;
    }
    Ok(())
}

fn load_bzimage(ram: &GuestRam, path: &Path, file: &mut File, len: u64) -> Result<LoadedKernel, LoadError> {
    let unloadable = |detail: String| LoadError::Unloadable {
        path: path.to_owned(),
        detail,
    };
    let mut head = vec![0; 0x268];
    file.read_exact(&mut head).map_err(|_| LoadError::Truncated {
        path: path.to_owned(),
        detail: format!("{len} bytes do not hold a bzImage's header"),
    })?;
    let sectors = match head[0x1f1] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let paragraphs = u64::from(u32_at(&head, 0x1f4).unwrap_or(0));
    let expected = (sectors + 1) * 512 + paragraphs * 16;
    if len < expected {
        let detail = format!("its header announces {expected} bytes, the file has {len}");
        return Err(LoadError::Truncated {
            path: path.to_owned(),
            detail,
        });
    }
    check_fits(
        ram,
        "the compressed kernel",
        layout::HIMEM_START.0 + paragraphs * 16,
    )?;
    let loaded = BzImage::load(ram, Some(layout::HIMEM_START), file, Some(layout::HIMEM_START))
        .map_err(|error| unloadable(error.to_string()))?;
    let header = loaded
        .setup_header
        .ok_or_else(|| unloadable("it has no header".to_owned()))?;
    if header.version < 0x020c || header.xloadflags & XLF_KERNEL_64 == 0 {
        let version = header.version;
        return Err(unloadable(format!(
            "its boot protocol {:#06x} has no 64-bit entry",
            version
        )));
    }
    // Unpacking happens between the preferred address and `init_size` behind it.
    let unpack_at = header.pref_address.max(layout::HIMEM_START.0);
    let end = unpack_at
        .saturating_add(u64::from(header.init_size))
        .max(loaded.kernel_end);
    check_fits(ram, "unpacking the kernel", end)?;
    let initrd_max = u64::from(header.initrd_addr_max);
    Ok(LoadedKernel {
        entry: GuestAddress(loaded.kernel_load.0 + 0x200),
        end,
        initrd_max,
        header,
    })
}

fn check_fits(ram: &GuestRam, what: &str, end: u64) -> Result<(), LoadError> {
    if end > low_end(ram) {
        return Err(too_small(ram, what, end));
    }
    Ok(())
}

fn too_small(ram: &GuestRam, what: &str, end: u64) -> LoadError {
    let memory: u64 = ram.iter().map(|region| region.len()).sum();
    let needed_mib = end.div_ceil(1 << 20);
    LoadError::TooSmall {
        memory_mib: memory >> 20,
        what: what.to_owned(),
        needed_mib,
    }
}

/// End of the RAM below the hole.
fn low_end(ram: &GuestRam) -> u64 {
    ram.iter()
        .map(|region| region.start_addr().0 + region.len())
        .min()
        .unwrap_or(0)
}

/// Zeros behind the user's initrd, as bytes. The kernel's own reader of lz4 goes on behind the end of what it
/// is given, as if another block followed, unless that block has a length of zero.
const END_OF_LZ4: u64 = 4;

/// Places the archives one behind the other, as high as the kernel allows: `early`, the user's initrd, those
/// of `extra`. Gives their address and length, `None` when there are none.
///
/// The kernel unpacks one archive after the other and skips the zeros between them. Behind the user's there
/// are [`END_OF_LZ4`] of them at least.
pub(crate) fn load_initrd(
    ram: &GuestRam,
    kernel: &LoadedKernel,
    early: &[u8],
    initrd: Option<&Path>,
    extra: &[Arc<[u8]>],
) -> Result<Option<(GuestAddress, u32)>, LoadError> {
    let mut first = 0;
    let mut user = None;
    if let Some(path) = initrd {
        let read_error = |source| LoadError::Read {
            what: "initrd",
            path: path.to_owned(),
            source,
        };
        let file = host_file::open(path).map_err(read_error)?;
        first = file.metadata().map_err(read_error)?.len();
        user = Some((path, file));
    }
    let start = (early.len() as u64).next_multiple_of(4);
    let end = if user.is_some() { first + END_OF_LZ4 } else { 0 };
    let mut total = start + end.next_multiple_of(4);
    let behind: Vec<(u64, &Arc<[u8]>)> = extra
        .iter()
        .map(|archive| {
            let at = total.next_multiple_of(4);
            total = at + archive.len() as u64;
            (at, archive)
        })
        .collect();
    if total == 0 {
        return Ok(None);
    }
    let top = low_end(ram).min(kernel.initrd_max.saturating_add(1));
    let address = top
        .checked_sub(total)
        .map(|address| address & !0xfff)
        .filter(|&a| a >= kernel.end);
    let Some(address) = address else {
        let needed = kernel.end + total.next_multiple_of(4096);
        return Err(too_small(ram, "the kernel with its initrd", needed));
    };
    if let Some((path, mut file)) = user {
        ram.read_exact_volatile_from(GuestAddress(address + start), &mut file, first as usize)
            .map_err(|error| LoadError::Read {
                what: "initrd",
                path: path.to_owned(),
                source: std::io::Error::other(error),
            })?;
    }
    ram.write_slice(early, GuestAddress(address))
        .map_err(|_| too_small(ram, "the initrd", address + total))?;
    for (at, archive) in behind {
        ram.write_slice(archive, GuestAddress(address + at))
            .map_err(|_| too_small(ram, "the initrd", address + total))?;
    }
    Ok(Some((GuestAddress(address), total as u32)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn ram(mib: usize) -> GuestRam {
        GuestRam::from_ranges(&layout::ram_ranges((mib as u64) << 20)).unwrap()
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn load(bytes: &[u8], mib: usize) -> Result<LoadedKernel, LoadError> {
        load_kernel(&ram(mib), file(bytes).path())
    }

    fn error(bytes: &[u8], mib: usize) -> String {
        load(bytes, mib).err().expect("it is refused").to_string()
    }

    /// A bzImage of 5 setup sectors and `paragraphs` × 16 bytes of nothing.
    fn bzimage(paragraphs: u32) -> Vec<u8> {
        let mut image = vec![0; 5 * 512 + paragraphs as usize * 16];
        image[0x1f1] = 4;
        image[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        image[0x211] = 1;
        image[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
        image[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        image[0x236] = 1;
        image[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
        image[0x260..0x264].copy_from_slice(&0x200_0000u32.to_le_bytes());
        image
    }

    /// An ELF file with one segment of `size` bytes at 16 MiB.
    fn elf(size: u64) -> Vec<u8> {
        let mut image = vec![0; 4096 + size as usize];
        image[..5].copy_from_slice(b"\x7fELF\x02");
        image[5] = 1;
        image[16..18].copy_from_slice(&2u16.to_le_bytes());
        image[18..20].copy_from_slice(&62u16.to_le_bytes());
        image[24..32].copy_from_slice(&0x100_0000u64.to_le_bytes());
        image[32..40].copy_from_slice(&64u64.to_le_bytes());
        image[54..56].copy_from_slice(&56u16.to_le_bytes());
        image[56..58].copy_from_slice(&1u16.to_le_bytes());
        let segment = &mut image[64..120];
        segment[0..4].copy_from_slice(&1u32.to_le_bytes());
        segment[8..16].copy_from_slice(&4096u64.to_le_bytes());
        segment[24..32].copy_from_slice(&0x100_0000u64.to_le_bytes());
        segment[32..40].copy_from_slice(&size.to_le_bytes());
        segment[40..48].copy_from_slice(&(size * 2).to_le_bytes());
        image
    }

    #[test]
    fn both_kinds_of_kernel_load_and_give_their_entry() {
        let kernel = load(&bzimage(1000), 64).unwrap();
        assert_eq!((kernel.entry.0, kernel.end), (0x10_0200, 0x300_0000));
        let kernel = load(&elf(8192), 64).unwrap();
        assert_eq!((kernel.entry.0, kernel.end), (0x100_0000, 0x100_4000));
    }

    #[test]
    fn what_is_no_kernel_is_named_with_what_it_is() {
        assert!(error(b"", 64).contains("it is empty"));
        assert!(error(b"#!/bin/sh\n", 64).contains("10 bytes that start with 23 21 2f 62"));
        let mut arm = elf(16);
        arm[18] = 183;
        assert!(error(&arm, 64).contains("for machine 183"));
        let missing = load_kernel(&ram(64), Path::new("/nowhere/bzImage"))
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            missing,
            "cannot read the kernel `/nowhere/bzImage`: No such file or directory (os error 2)"
        );
        let directory = load_kernel(&ram(64), Path::new("/")).err().unwrap().to_string();
        assert!(directory.contains("not a regular file"), "{directory}");
    }

    #[test]
    fn truncated_kernels_say_what_is_missing() {
        let whole = bzimage(1000);
        assert!(error(&whole[..18_000], 64).contains("announces 18560 bytes, the file has 18000"));
        assert!(error(&whole[..0x210], 64).contains("do not hold a bzImage's header"));
        let whole = elf(8192);
        assert!(error(&whole[..10_000], 64).contains("a segment ends at byte 12288, the file at 10000"));
        assert!(error(&whole[..40], 64).contains("truncated"));
    }

    #[test]
    fn memory_too_small_says_how_much_is_needed() {
        assert!(
            error(&bzimage(1000), 40)
                .contains("40 MiB of memory is too small: unpacking the kernel needs 48 MiB")
        );
        assert!(error(&elf(8192), 10).contains("10 MiB of memory is too small: the kernel needs 17 MiB"));
    }

    #[test]
    fn addresses_near_the_end_of_the_numbers_are_memory_too_small() {
        for preferred in [u64::MAX, u64::MAX - 0x1ff_ffff, u64::MAX - 0x200_0000, 1 << 63] {
            let mut image = bzimage(1000);
            image[0x258..0x260].copy_from_slice(&preferred.to_le_bytes());
            let error = error(&image, 64);
            assert!(
                error.contains("64 MiB of memory is too small: unpacking the kernel"),
                "{error}"
            );
        }
        let mut image = elf(8192);
        image[64 + 24..64 + 32].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = error(&image, 64);
        assert!(
            error.contains("64 MiB of memory is too small: the kernel"),
            "{error}"
        );
    }

    #[test]
    fn a_kernel_without_the_64_bit_entry_is_refused() {
        let mut old = bzimage(10);
        old[0x206..0x208].copy_from_slice(&0x0206u16.to_le_bytes());
        assert!(error(&old, 64).contains("boot protocol 0x0206 has no 64-bit entry"));
    }

    #[test]
    fn a_program_is_no_kernel() {
        let error = load_kernel(&ram(64), Path::new("/bin/sh"))
            .err()
            .expect("no kernel");
        let expected = "`/bin/sh` is no kernel this monitor can boot: it is neither a bzImage nor an x86-64 ELF \
                        vmlinux (it is a program or a library)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn archives_lie_one_behind_the_other_at_the_top_of_low_memory() {
        let ram = ram(64);
        let kernel = load_kernel(&ram, file(&elf(64)).path()).unwrap();
        let user = file(b"user's");
        let extra = [b"extra"[..].into(), b"more"[..].into()];
        let (address, len) = load_initrd(&ram, &kernel, b"early", Some(user.path()), &extra)
            .unwrap()
            .unwrap();
        assert_eq!((address.0, len), (0x3fff000, 32));
        let mut bytes = [0; 32];
        ram.read_slice(&mut bytes, address).unwrap();
        assert_eq!(&bytes, b"early\0\0\0user's\0\0\0\0\0\0extra\0\0\0more");
        assert_eq!(load_initrd(&ram, &kernel, b"", None, &[]).unwrap(), None);
        let huge = [vec![0; 60 << 20].into()];
        let error = load_initrd(&ram, &kernel, b"", None, &huge)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the kernel with its initrd needs 77 MiB"),
            "{error}"
        );
        let missing = load_initrd(&ram, &kernel, b"", Some(Path::new("/nope")), &[])
            .unwrap_err()
            .to_string();
        assert!(missing.starts_with("cannot read the initrd `/nope`"), "{missing}");
    }
}
