//! What QEMU boots: an unpacked kernel and an initramfs.
//!
//! Input: a bzImage; modules and a busybox. Output: the ELF kernel inside the bzImage, which QEMU can enter
//! directly; a cpio archive. Not here: where these are kept.
//!
//! Under emulation a kernel takes longer to unpack itself (2 to 4 s) than to boot, so it is unpacked outside,
//! once.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::{Command, Stdio};

use provium_base::initramfs::{ArchiveError, InitramfsFile, archive};
use provium_base::modules::Module;

use crate::elf;

/// The script that the kernel runs first.
pub(crate) const INIT: &str = include_str!("init.sh");

/// Makes the initramfs: busybox, `/init`, and the modules with the order to load them in.
///
/// # Errors
/// When a file cannot be in an archive.
pub(crate) fn initramfs(busybox: &[u8], modules: &[Module]) -> Result<Vec<u8>, ArchiveError> {
    let order: String = modules
        .iter()
        .map(|module| format!("{}\n", module.name))
        .collect();
    let paths: Vec<String> = modules
        .iter()
        .map(|module| format!("/modules/{}", module.name))
        .collect();
    let file = |path, mode, content| InitramfsFile { path, mode, content };
    let mut files = vec![
        file("/bin/busybox", 0o755, busybox),
        file("/init", 0o755, INIT.as_bytes()),
        file("/modules/order", 0o644, order.as_bytes()),
    ];
    files.extend(
        modules
            .iter()
            .zip(&paths)
            .map(|(module, path)| file(path, 0o644, &module.image)),
    );
    archive(&files)
}

/// The kernel inside a bzImage; `None` when it cannot be unpacked here or not be entered directly (PVH). Then
/// QEMU is given the bzImage, which boots more slowly.
pub(crate) fn unpacked_kernel(bzimage: &[u8]) -> Option<Vec<u8>> {
    let payload = payload(bzimage)?;
    // The kernel's build appends the unpacked size, except for gzip, whose format has it.
    let without_size = || payload.split_last_chunk::<4>().map(|(rest, _)| rest);
    let (program, packed) = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", without_size()?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", without_size()?),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", without_size()?),
        [0x1f, 0x8b, ..] => ("gzip", payload),
        _ => return None,
    };
    let kernel = unpack(program, packed).ok()?;
    elf::has_pvh_entry(&kernel).then_some(kernel)
}

/// The packed kernel in a bzImage, from the boot protocol's header (Documentation/arch/x86/boot.rst, since
/// 2.08).
fn payload(bzimage: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(*bzimage.get(at..)?.first_chunk()?) as usize);
    if bzimage.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup = match usize::from(*bzimage.get(0x1f1)?) {
        0 => 4,
        sectors => sectors,
    };
    let start = ((setup + 1) * 512).checked_add(word(0x248)?)?;
    bzimage.get(start..start.checked_add(word(0x24c)?)?)
}

/// Unpacks bytes by a program such as `xz`.
fn unpack(program: &str, packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut file: File = tempfile::tempfile()?;
    file.write_all(packed)?;
    file.rewind()?;
    let output = Command::new(program)
        .arg("-dc")
        .stdin(file)
        .stderr(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(format!(
            "{program} ended with {}",
            output.status
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::program;

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 32];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&32u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let output = Command::new("gzip")
            .arg("-c")
            .stdin(file)
            .output()
            .expect("gzip is needed (apt-get install gzip)");
        output.stdout
    }

    #[test]
    fn the_kernel_in_a_bzimage_is_found_and_unpacked() {
        let kernel = program(1, b"code");
        assert_eq!(
            unpacked_kernel(&bzimage(&packed(&kernel))),
            None,
            "no direct entry"
        );
        let kernel = program(4, b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0\0\0\0\x01");
        assert_eq!(unpacked_kernel(&bzimage(&packed(&kernel))), Some(kernel));
    }

    #[test]
    fn what_is_no_bzimage_is_left_alone() {
        let good = bzimage(b"\x1f\x8bnot really");
        assert_eq!(unpacked_kernel(&good), None);
        for len in 0..good.len() {
            assert_eq!(payload(&good[..len]), None, "truncated to {len}");
        }
        let mut wild = good;
        wild[0x248..0x250].fill(0xff);
        assert_eq!(payload(&wild), None);
    }

    #[test]
    fn the_archive_holds_the_modules_in_order() {
        let module = |name: &str| Module {
            name: name.to_owned(),
            path: name.into(),
            image: format!("image of {name}").into_bytes(),
        };
        let archive = initramfs(b"busybox", &[module("b"), module("a")]).unwrap();
        let text = String::from_utf8_lossy(&archive);
        for part in [
            "bin/busybox",
            "modules/order",
            "b\na\n",
            "image of a",
            "switch_root",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
