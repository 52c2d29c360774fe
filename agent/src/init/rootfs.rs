//! The disk `rootfs` becomes `/`.
//!
//! Input: a kernel with a disk of that serial number and, on its command line, `provium.rootfs`.
//! Output: a process whose root is the file system on the disk, writable, with `/proc`, `/sys`, `/dev` and
//! `/run` in it and what the host put into `/.provium/files` of the initramfs. A file system that cannot be
//! written gets a layer of memory on top.
//! Not here: partitions, RAID, encryption; a disk that needs those needs an initrd that knows them.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};

use super::mounts;
use crate::console::say;
use crate::failure::errno_text;

/// The serial number of the disk.
const SERIAL: &[u8] = b"rootfs";
/// How long a disk may take to appear.
const LIMIT: Duration = Duration::from_secs(3);
/// File systems that are tried.
const KINDS: [&CStr; 5] = [c"ext4", c"xfs", c"btrfs", c"squashfs", c"erofs"];

const FILES: &CStr = c"/.provium/files";
const DISK: &CStr = c"/.provium/disk";
const MEMORY: &CStr = c"/.provium/memory";
pub(super) const WHOLE: &CStr = c"/.provium/root";

/// Makes the disk the root of this process.
pub(super) fn enter() -> Result<(), String> {
    mounts::mount(&mounts::SYS);
    mounts::mount(&mounts::DEV);
    let name = find()?;
    enter_at(mount_disk(&name)?)
}

/// Makes a mounted file system the root of this process.
pub(super) fn enter_at(root: &CStr) -> Result<(), String> {
    mounts::mount(&mounts::SYS);
    mounts::mount(&mounts::DEV);
    let failed = |what: &str, error: Errno| format!("{what}: {}", errno_text(error));
    for part in ["dev", "proc", "sys"] {
        let (from, to) = (Path::new("/").join(part), Path::new(shown(root)).join(part));
        let _ = fs::create_dir(&to);
        mount_move(&from, &to).map_err(|error| failed(&format!("moving /{part}"), error))?;
    }
    let files = files();
    rustix::process::chdir(root).map_err(|error| failed("entering it", error))?;
    mount_move(c".", c"/").map_err(|error| failed("moving it to /", error))?;
    rustix::process::chroot(c".").map_err(|error| failed("changing the root", error))?;
    rustix::process::chdir(c"/").map_err(|error| failed("entering /", error))?;
    mounts::mount(&mounts::RUN);
    match files {
        Some(files) => take_in(&files).map_err(|error| format!("putting files into it: {error}")),
        None => Ok(()),
    }
}

/// Puts the host's files into the initramfs, where that stays the root. The kernel would do it by itself, but
/// for a folder's name that is a link it puts a folder in place of that.
pub(super) fn stay() -> io::Result<()> {
    files().map_or(Ok(()), |files| take_in(&files))
}

/// What the host has put into the initramfs for the root, if anything.
fn files() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, FILES, flags, Mode::empty()).ok()
}

fn shown(path: &CStr) -> &str {
    path.to_str().expect("the paths above are ASCII")
}

/// The name of the disk's device.
fn find() -> Result<String, String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut seen = Vec::new();
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(serial) = fs::read(entry.path().join("serial")) {
                if serial.trim_ascii_end() == SERIAL {
                    return Ok(name);
                }
                seen.push(name);
            }
        }
        if Instant::now() > deadline {
            let seen = match seen.as_slice() {
                [] => "there is no disk at all; does the kernel have virtio_blk and virtio_mmio built in?"
                    .to_owned(),
                names => format!(
                    "there are {} and none has the serial number `rootfs`",
                    names.join(", ")
                ),
            };
            return Err(seen);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Mounts the disk; the path of a root that can be written.
fn mount_disk(name: &str) -> Result<&'static CStr, String> {
    let device = CString::new(format!("/dev/{name}")).map_err(|error| error.to_string())?;
    let readonly = fs::read(format!("/sys/block/{name}/ro")).is_ok_and(|flag| flag.starts_with(b"1"));
    let flags = if readonly {
        MountFlags::RDONLY
    } else {
        MountFlags::empty()
    };
    make_folder(DISK)?;
    let mut tried = Vec::new();
    for kind in KINDS {
        match mount(&*device, DISK, kind, flags, c"") {
            Ok(()) => return writable(),
            Err(error) => {
                let why = match error {
                    Errno::NODEV => "not in this kernel".to_owned(),
                    Errno::INVAL => "not on the disk".to_owned(),
                    error => errno_text(error),
                };
                tried.push(format!("{} ({why})", kind.to_string_lossy()));
            }
        }
    }
    Err(format!(
        "no file system on /dev/{name} that can be mounted: {}",
        tried.join(", ")
    ))
}

/// Puts a tmpfs on top of a disk that cannot be written; the path of a root that can.
fn writable() -> Result<&'static CStr, String> {
    let flags = rustix::fs::statvfs(DISK).map(|found| found.f_flag);
    if !flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY)) {
        return Ok(DISK);
    }
    overlay("/.provium/disk", "root", WHOLE)?;
    Ok(WHOLE)
}

/// Mounts at `at` what is at `lower` with a layer of memory above it, which is called `name`.
pub(super) fn overlay(lower: &str, name: &str, at: &CStr) -> Result<(), String> {
    make_folder(MEMORY)?;
    make_folder(at)?;
    let failed = |what: &str, error: Errno| format!("mounting {what} on {lower}: {}", errno_text(error));
    let memory = shown(MEMORY);
    if !Path::new(memory).join("all").exists() {
        mount(c"tmpfs", MEMORY, c"tmpfs", MountFlags::empty(), c"mode=0755")
            .map_err(|error| failed("a tmpfs", error))?;
        make_folder(c"/.provium/memory/all")?;
    }
    let (upper, work) = (format!("{memory}/{name}/upper"), format!("{memory}/{name}/work"));
    for part in [&upper, &work] {
        let part = CString::new(part.as_str()).map_err(|error| error.to_string())?;
        make_folder(&part)?;
    }
    // The uppermost folder is the layer's own, and has to look like the one below.
    if let Ok(metadata) = fs::metadata(lower) {
        let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777);
        fs::set_permissions(&upper, mode).map_err(|error| format!("{upper}: {error}"))?;
    }
    let options = CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}"));
    let options = options.map_err(|error| error.to_string())?;
    mount(
        c"overlay",
        at,
        c"overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .map_err(|error| failed("an overlay, which what is read-only needs,", error))
}

pub(super) fn make_folder(path: &CStr) -> Result<(), String> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(shown(path));
    made.map_err(|error| format!("{}: {error}", shown(path)))
}

/// Moves what is below `files` to the same places below `/`. It is reached by its descriptor: its path is
/// gone with the initramfs.
fn take_in(files: &OwnedFd) -> io::Result<()> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", files.as_raw_fd()));
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        copy(&entry.path(), &Path::new("/").join(entry.file_name()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", to.display()));
    let metadata = fs::symlink_metadata(from).map_err(named)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        // A link to a folder, as `/lib` often is, is as good.
        if !to.is_dir() {
            fs::create_dir(to).map_err(named)?;
            fs::set_permissions(to, metadata.permissions()).map_err(named)?;
        }
        for entry in fs::read_dir(from).map_err(named)? {
            let entry = entry.map_err(named)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if fs::symlink_metadata(to).is_ok_and(|there| !there.is_dir()) {
        fs::remove_file(to).map_err(named)?;
    }
    if kind.is_file() && fs::rename(from, to).is_ok() {
        return Ok(());
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from).map_err(named)?, to).map_err(named)?;
    } else if kind.is_file() {
        fs::copy(from, to).map_err(named)?;
        // The mode with its upper bits, which the umask and a copy may lose.
        let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777);
        fs::set_permissions(to, mode).map_err(named)?;
    } else {
        say!(
            "{}: only files, folders and links are put into the root",
            to.display()
        );
        return Ok(());
    }
    // It is in memory, of which there may be little.
    fs::remove_file(from).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_moved_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("lib/new")).unwrap();
        fs::create_dir_all(to.join("usr/lib")).unwrap();
        symlink("usr/lib", to.join("lib")).unwrap();
        fs::write(from.join("lib/tool"), b"new").unwrap();
        fs::set_permissions(from.join("lib/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::write(to.join("usr/lib/tool"), b"the old one").unwrap();
        symlink("tool", from.join("lib/new/link")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("usr/lib/tool")).unwrap(), b"new");
        let mode = fs::metadata(to.join("usr/lib/tool"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o4755);
        assert_eq!(fs::read_link(to.join("lib/new/link")).unwrap(), Path::new("tool"));
        assert!(!from.join("lib/tool").exists(), "it takes no memory any more");
    }

    #[test]
    fn what_cannot_be_put_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, b"a file").unwrap();
        fs::create_dir(&to).unwrap();
        let error = copy(&from, &to).unwrap_err().to_string();
        assert!(error.contains(&to.display().to_string()), "{error}");
    }
}
