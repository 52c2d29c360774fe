//! Requests that change something on the host.
//!
//! Input: requests about a share that the guest may write to. Output: what they ask for, done below the
//! shared folder by who runs the monitor. Not here: where the guest may write (`folder`).
//!
//! What a guest makes belongs to who runs the monitor. It cannot give anything to another owner, nor make a
//! file that runs as its owner, nor a device: on the host these would be more than files.

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::Errno;

use super::folder::{proc_path, reopen};
use super::server::{Place, ShareServer};
use super::stat::Stat;
use super::wire::{Args, Header, MAX_DATA, Put, op, set};

/// Bits of a mode that a guest may set.
const MODE_BITS: u32 = 0o1777;

impl ShareServer {
    /// Serves a request that changes something; ENOSYS for one that is not known, which a guest does not make
    /// again.
    pub(super) fn change(
        &mut self,
        header: Header,
        mut args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let node = header.node;
        match header.opcode {
            op::WRITE => {
                args.skip(8)?;
                let (offset, size) = (args.u64()?, args.u32()?);
                args.skip(16 + 4)?;
                let data = args.rest().get(..size as usize).ok_or(Errno::INVAL)?;
                if size > MAX_DATA {
                    return Err(Errno::INVAL);
                }
                let written = self.write(node, offset, data)?;
                out.put32(written);
                out.put32(0);
            }
            op::SETATTR => self.set_attr(node, args, out)?,
            op::FSYNC => {
                let (path, stat) = self.find(node)?;
                rustix::fs::fsync(reopen(&path, &stat, OFlags::RDONLY)?)?;
            }
            op::FSYNCDIR => {}
            op::MKNOD => {
                let (mode, _device, umask) = (args.u32()?, args.u32()?, args.u32()?);
                args.skip(4)?;
                let (place, name) = (self.place_to_change(node)?, args.name()?);
                make(&place, name, mode, umask)?;
                self.told_of_new(&place, name, out)?;
            }
            op::MKDIR => {
                let (mode, umask) = (args.u32()?, args.u32()?);
                let (place, name) = (self.place_to_change(node)?, args.name()?);
                rustix::fs::mkdirat(&place.fd, name, Mode::from_raw_mode(mode & !umask & MODE_BITS))?;
                self.told_of_new(&place, name, out)?;
            }
            op::SYMLINK => {
                let (name, target) = (args.name()?, args.text()?);
                let place = self.place_to_change(node)?;
                rustix::fs::symlinkat(target, &place.fd, name)?;
                self.told_of_new(&place, name, out)?;
            }
            op::LINK => {
                let old = args.u64()?;
                let (place, name) = (self.place_to_change(node)?, args.name()?);
                if self.nodes.get(old)?.folder != place.folder {
                    return Err(Errno::XDEV);
                }
                let (path, _) = self.find(old)?;
                rustix::fs::linkat(CWD, proc_path(&path), &place.fd, name, AtFlags::SYMLINK_FOLLOW)?;
                self.told_of_new(&place, name, out)?;
            }
            op::UNLINK => self.remove(node, args.name()?, AtFlags::empty())?,
            op::RMDIR => self.remove(node, args.name()?, AtFlags::REMOVEDIR)?,
            op::RENAME => {
                let folder = args.u64()?;
                let (from, to) = (args.name()?, args.name()?);
                self.rename((node, from), (folder, to), RenameFlags::empty())?;
            }
            op::RENAME2 => {
                let (folder, flags) = (args.u64()?, args.u32()?);
                args.skip(4)?;
                let (from, to) = (args.name()?, args.name()?);
                let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
                if flags.contains(RenameFlags::WHITEOUT) {
                    return Err(Errno::INVAL);
                }
                self.rename((node, from), (folder, to), flags)?;
            }
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// A folder that something is changed in.
    fn place_to_change(&self, id: u64) -> Result<Place, Errno> {
        let node = self.nodes.get(id)?;
        self.folders[node.folder].check_writable()?;
        self.place(id)
    }

    fn write(&mut self, id: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let file = self.opened(id, true)?;
        let mut written = 0;
        while written < data.len() {
            let at = offset.saturating_add(written as u64);
            match rustix::io::pwrite(file, &data[written..], at) {
                Ok(bytes) => written += bytes,
                Err(Errno::INTR) => {}
                // A part of it is there, and whoever asks for the rest is told.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written as u32)
    }

    fn set_attr(&mut self, id: u64, mut args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
        let valid = args.u32()?;
        args.skip(4 + 8)?;
        let size = args.u64()?;
        args.skip(8)?;
        let (access, modified) = (args.u64()?, args.u64()?);
        args.skip(8)?;
        let (access_nanos, modified_nanos) = (args.u32()?, args.u32()?);
        args.skip(4)?;
        let mode = args.u32()?;
        args.skip(4)?;
        let (uid, gid) = (args.u32()?, args.u32()?);

        let folder = self.nodes.get(id)?.folder;
        self.folders[folder].check_writable()?;
        let (path, stat) = self.find(id)?;
        let has = |bit: u32| valid & bit != 0;
        if has(set::UID) && uid != stat.uid || has(set::GID) && gid != stat.gid {
            return Err(Errno::PERM);
        }
        if has(set::SIZE) {
            rustix::fs::ftruncate(reopen(&path, &stat, OFlags::WRONLY)?, size)?;
        }
        if has(set::MODE) {
            change_mode(&proc_path(&path), &stat, mode)?;
        }
        if valid & (set::ATIME | set::MTIME) != 0 {
            let time = |given: bool, now: bool, seconds: u64, nanos: u32| Timespec {
                tv_sec: seconds as i64,
                tv_nsec: match (given, now) {
                    (false, _) => UTIME_OMIT,
                    (true, true) => UTIME_NOW,
                    (true, false) => nanos.into(),
                },
            };
            let times = Timestamps {
                last_access: time(has(set::ATIME), has(set::ATIME_NOW), access, access_nanos),
                last_modification: time(has(set::MTIME), has(set::MTIME_NOW), modified, modified_nanos),
            };
            if stat.kind() == FileType::Symlink {
                return Err(Errno::OPNOTSUPP);
            }
            rustix::fs::utimensat(CWD, proc_path(&path), &times, AtFlags::empty())?;
        }
        let (_, stat) = self.find(id)?;
        self.attr_of(folder, stat).put_attr_out(out);
        Ok(())
    }

    fn remove(&mut self, parent: u64, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
        let place = self.place_to_change(parent)?;
        self.keep(parent, name);
        match rustix::fs::unlinkat(&place.fd, name, flags) {
            Ok(()) => {
                self.nodes.removed(parent, name);
                Ok(())
            }
            Err(error) => {
                self.let_go(parent, name);
                Err(error)
            }
        }
    }

    fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), flags: RenameFlags) -> Result<(), Errno> {
        let (source, target) = (self.place_to_change(from.0)?, self.place_to_change(to.0)?);
        if source.folder != target.folder {
            return Err(Errno::XDEV);
        }
        let replaces = flags.is_empty() && from != to;
        if replaces {
            self.keep(to.0, to.1);
        }
        if let Err(error) = rustix::fs::renameat_with(&source.fd, from.1, &target.fd, to.1, flags) {
            if replaces {
                self.let_go(to.0, to.1);
            }
            return Err(error);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            self.nodes.exchanged(from, to);
        } else if from != to {
            self.nodes.renamed(from, to);
        }
        Ok(())
    }
}

/// Makes a file, a pipe or a socket's name.
fn make(place: &Place, name: &[u8], mode: u32, umask: u32) -> Result<(), Errno> {
    let bits = Mode::from_raw_mode(mode & !umask & MODE_BITS);
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&place.fd, name, flags, bits).map(drop)
        }
        kind @ (FileType::Fifo | FileType::Socket) => rustix::fs::mknodat(&place.fd, name, kind, bits, 0),
        _ => Err(Errno::PERM),
    }
}

/// Changes a mode, but for the bits that are kept from guests.
fn change_mode(path: &str, stat: &Stat, mode: u32) -> Result<(), Errno> {
    if stat.kind() == FileType::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    rustix::fs::chmod(path, Mode::from_raw_mode(mode & MODE_BITS))
}
