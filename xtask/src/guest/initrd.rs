//! The guests' user space: busybox and the few files a shell expects.
//!
//! Input: the host's static busybox.
//! Output: an archive that boots under Provium as it is.
//! Not here: `/init`. Provium adds its agent at boot, and without an `/init` to hand over to, the agent stays
//! PID 1.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use super::archive::Archive;
use crate::command::output;

/// The files of `/etc`.
const ETC: [(&str, &str); 4] = [
    ("passwd", include_str!("../../../fixtures/initrd/etc/passwd")),
    ("group", include_str!("../../../fixtures/initrd/etc/group")),
    ("hosts", include_str!("../../../fixtures/initrd/etc/hosts")),
    ("hostname", include_str!("../../../fixtures/initrd/etc/hostname")),
];

/// The archive with busybox, its applets as links, and the folders and files of a tiny system.
///
/// # Errors
/// When no static busybox is installed.
pub(crate) fn userland() -> Result<Archive> {
    let busybox = static_busybox()?;
    let content = std::fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?;
    let applets = output(std::process::Command::new(&busybox).arg("--list-full"))?;
    ensure!(
        applets.lines().any(|line| line == "bin/sh"),
        "{} has no shell applet",
        busybox.display()
    );

    let mut archive = Archive::default();
    archive.file("/bin/busybox", 0o755, content);
    for applet in applets.lines().filter(|line| !line.is_empty()) {
        archive.symlink(applet, "/bin/busybox");
    }
    for mount_point in ["/proc", "/sys", "/dev", "/run", "/mnt", "/var", "/var/log"] {
        archive.directory(mount_point, 0o755);
    }
    archive.directory("/tmp", 0o1777);
    archive.directory("/root", 0o700);
    for (name, content) in ETC {
        archive.file(&format!("/etc/{name}"), 0o644, content);
    }
    Ok(archive)
}

fn static_busybox() -> Result<PathBuf> {
    let found: Vec<PathBuf> = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect();
    for path in &found {
        if is_static(path)? {
            return Ok(path.clone());
        }
    }
    match found.first() {
        Some(path) => bail!(
            "{} is linked dynamically and cannot run alone in a guest: apt-get install busybox-static",
            path.display()
        ),
        None => bail!("no busybox found: apt-get install busybox-static"),
    }
}

/// Whether an x86-64 ELF program needs no loader: it has no `PT_INTERP` segment.
fn is_static(path: &Path) -> Result<bool> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    has_no_interpreter(&bytes).with_context(|| format!("{} is not a 64-bit ELF program", path.display()))
}

/// `None` for what is no 64-bit little-endian ELF file with a whole table of program headers.
fn has_no_interpreter(bytes: &[u8]) -> Option<bool> {
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let segments = header.program_headers(LittleEndian, bytes).ok()?;
    let is_interpreter =
        |segment: &elf::ProgramHeader64<LittleEndian>| segment.p_type(LittleEndian) == elf::PT_INTERP;
    Some(!segments.iter().any(is_interpreter))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header followed by program headers of the given kinds.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_le_bytes());
        for kind in kinds {
            let mut header = [0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&header);
        }
        bytes
    }

    #[test]
    fn static_programs_are_told_from_dynamic_ones() {
        assert_eq!(has_no_interpreter(&elf(&[1, 1, 4])), Some(true));
        assert_eq!(has_no_interpreter(&elf(&[6, 3, 1])), Some(false));
    }

    #[test]
    fn other_files_are_neither() {
        assert_eq!(has_no_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(has_no_interpreter(&elf(&[1, 3])[..100]), None);
        let mut far = elf(&[1]);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(has_no_interpreter(&far), None);
    }
}
