//! Which directory is `/`: that of PID 1, even after it has switched to another.
//!
//! An initramfs's init mounts the real root and moves to it; the agent, started before, would stay behind in
//! the emptied initramfs.
//!
//! Input: a descriptor of a proc file system, opened before anyone could move it.
//! Output: this process's root follows each change of PID 1's root, once.
//! Not here: undoing a chroot that a test made itself; only a change of PID 1's root moves anything.

use std::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::fds;
use crate::lock::Mutex;

/// Identity of a directory: device (major, minor), inode, mount.
type RootId = (u32, u32, u64, u64);

/// Watches PID 1's root.
#[derive(Debug)]
pub struct InitRoot {
    proc: OwnedFd,
    seen: Mutex<RootId>,
}

/// Opens a mounted proc file system to look things up below it.
pub fn open_proc(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A proc file system of our own, attached nowhere, so that whoever wants to unmount `/proc` still can.
pub(crate) fn detached_proc() -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    rustix::fs::openat(
        &mount,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

impl InitRoot {
    /// Remembers the root that PID 1 has now, which is ours as well.
    pub fn new(proc: OwnedFd) -> Result<InitRoot, Errno> {
        let seen = Mutex::new(identify(&proc)?);
        let proc = fds::moved(proc);
        Ok(InitRoot { proc, seen })
    }

    /// The same for another process that has our root.
    pub(crate) fn copy(&self) -> Result<InitRoot, Errno> {
        let seen = *self.seen.lock();
        Ok(InitRoot {
            proc: fds::copy(&self.proc)?,
            seen: Mutex::new(seen),
        })
    }

    /// The proc file system it looks at.
    pub(crate) fn proc(&self) -> &OwnedFd {
        &self.proc
    }

    /// Makes PID 1's root ours if it has changed since the last call. A session that may no longer look at
    /// PID 1, because it gave up its privileges, stays where it is.
    pub fn follow(&self) -> Result<(), Errno> {
        let Some(root) = self.changed()? else {
            return Ok(());
        };
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".")
    }

    /// PID 1's root if it has changed since the last call.
    fn changed(&self) -> Result<Option<OwnedFd>, Errno> {
        let now = match identify(&self.proc) {
            Ok(now) => now,
            Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut seen = self.seen.lock();
        if *seen == now {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&self.proc, c"1/root", flags, Mode::empty())?;
        *seen = now;
        Ok(Some(root))
    }
}

fn identify(proc: impl AsFd) -> Result<RootId, Errno> {
    let root = rustix::fs::statx(
        proc,
        c"1/root",
        AtFlags::empty(),
        StatxFlags::INO | StatxFlags::MNT_ID,
    )?;
    Ok((
        root.stx_dev_major,
        root.stx_dev_minor,
        root.stx_ino,
        root.stx_mnt_id,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    /// A folder that looks like a proc file system with one process.
    #[test]
    fn a_change_is_noticed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["1", "old", "new"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let link = folder.path().join("1/root");
        symlink(folder.path().join("old"), &link).expect("a link");
        let proc = OwnedFd::from(fs::File::open(folder.path()).expect("the folder"));
        let root = InitRoot::new(proc).expect("a root");
        assert!(root.changed().expect("a look").is_none());

        fs::remove_file(&link).expect("removed");
        symlink(folder.path().join("new"), &link).expect("a link");
        let found = root.changed().expect("a look").expect("a change");
        let inode = rustix::fs::fstat(&found).expect("its metadata").st_ino;
        assert_eq!(
            inode,
            fs::metadata(folder.path().join("new")).expect("metadata").ino()
        );
        assert!(root.changed().expect("a look").is_none());

        fs::remove_file(&link).expect("removed");
        assert_eq!(root.changed().expect_err("no PID 1"), Errno::NOENT);
    }
}
