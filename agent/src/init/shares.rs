//! Folders of the host, mounted where the guest is to have them.
//!
//! Input: a kernel with virtio-fs, and `/.provium/shares` of the initramfs: for each folder its mode and its
//! place, each with a zero behind it. Output: mounts. The folder of mode `root` becomes `/`, with a layer of
//! memory above it. Not here: what is shared, and who may write there, which the host decides.

use std::ffi::CString;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, mount as mount_kind, mount_remount, move_mount, open_tree,
};

use super::rootfs::{WHOLE, enter_at, make_folder, overlay};
use crate::failure::errno_text;

/// What the host says of the folders.
const LIST: &str = "/.provium/shares";
/// Where all of them are, by their numbers.
const ALL: &std::ffi::CStr = c"/.provium/all";
/// What the host calls its device.
const TAG: &std::ffi::CStr = c"provium";

/// How a folder is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It is the root, below a layer of memory.
    Root,
    /// Below a layer of memory.
    Overlay,
    /// It cannot be written.
    ReadOnly,
    /// It can.
    ReadWrite,
}

/// Shared folders that are mounted, and will be where they belong.
#[derive(Debug, Default)]
pub(super) struct Shares {
    is_root: bool,
    /// Mounts that are nowhere yet, and the place of each.
    mounts: Vec<(OwnedFd, Mode, CString)>,
}

/// Mounts the device, if there is anything to mount.
pub(super) fn mount() -> Result<Shares, String> {
    let Ok(list) = std::fs::read(LIST) else {
        return Ok(Shares::default());
    };
    make_folder(ALL)?;
    mount_kind(TAG, ALL, c"virtiofs", MountFlags::empty(), c"").map_err(|error| match error {
        Errno::NODEV => "this kernel has no virtio-fs (CONFIG_VIRTIO_FS), which they need".to_owned(),
        Errno::INVAL => "this kernel has no device for them; has it CONFIG_VIRTIO_MMIO?".to_owned(),
        error => format!("virtio-fs: {}", errno_text(error)),
    })?;
    let mut shares = Shares::default();
    for (index, (mode, place)) in parse(&list)?.into_iter().enumerate() {
        let source = format!("/.provium/all/{index}");
        match mode {
            Mode::Root => {
                overlay(&source, "root", WHOLE)?;
                shares.is_root = true;
                continue;
            }
            Mode::Overlay => {
                let at = c_path(format!("/.provium/overlay{index}"))?;
                overlay(&source, &format!("share{index}"), &at)?;
                shares.take(at, mode, place)?;
            }
            Mode::ReadOnly | Mode::ReadWrite => shares.take(c_path(source)?, mode, place)?,
        }
    }
    Ok(shares)
}

impl Shares {
    /// Keeps a mount of what is at `from`, which has no path once the root is another.
    fn take(&mut self, from: CString, mode: Mode, place: CString) -> Result<(), String> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, from.as_c_str(), flags)
            .map_err(|error| format!("{}: {}", place.to_string_lossy(), errno_text(error)))?;
        self.mounts.push((tree, mode, place));
        Ok(())
    }

    /// Makes the one that is to be the root the root; whether there is one.
    pub(super) fn enter_root(&self) -> Result<bool, String> {
        if self.is_root {
            enter_at(WHOLE)?;
        }
        Ok(self.is_root)
    }

    /// Mounts the others at their places, which are made where they are missing.
    pub(super) fn attach(self) -> Result<(), String> {
        for (tree, mode, place) in self.mounts {
            let failed = |error: Errno| format!("{}: {}", place.to_string_lossy(), errno_text(error));
            if !Path::new(&*place.to_string_lossy()).is_dir() {
                make_folder(&place)?;
            }
            move_mount(
                &tree,
                c"",
                CWD,
                place.as_c_str(),
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
            )
            .map_err(failed)?;
            if mode == Mode::ReadOnly {
                let flags = MountFlags::BIND | MountFlags::RDONLY;
                mount_remount(place.as_c_str(), flags, c"").map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn c_path(path: String) -> Result<CString, String> {
    CString::new(path).map_err(|error| error.to_string())
}

/// The modes and places of a list.
fn parse(list: &[u8]) -> Result<Vec<(Mode, CString)>, String> {
    let mut words = list.split(|byte| *byte == 0);
    let mut folders = Vec::new();
    while let Some(mode) = words.next().filter(|mode| !mode.is_empty()) {
        let mode = match mode {
            b"root" => Mode::Root,
            b"overlay" => Mode::Overlay,
            b"ro" => Mode::ReadOnly,
            b"rw" => Mode::ReadWrite,
            other => return Err(format!("`{}` is no mode", other.escape_ascii())),
        };
        let place = words.next().ok_or("a mode without a place")?;
        folders.push((mode, CString::new(place).map_err(|error| error.to_string())?));
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_modes_and_places() {
        let read = parse(b"root\0/\0ro\0/mnt/a b\0rw\0/x\0overlay\0/y\0").unwrap();
        let expected = [
            (Mode::Root, c"/"),
            (Mode::ReadOnly, c"/mnt/a b"),
            (Mode::ReadWrite, c"/x"),
            (Mode::Overlay, c"/y"),
        ];
        assert_eq!(read, expected.map(|(mode, place)| (mode, place.to_owned())));
        assert_eq!(parse(b"").unwrap(), []);
        assert!(parse(b"rx\0/x\0").is_err());
        assert!(parse(b"ro").is_err());
    }
}
