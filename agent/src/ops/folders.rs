//! Folders and names: ListDir, MakeDir, RemoveDir, Unlink, Rename.
//!
//! Input: paths.
//! Output: entries sorted by name, or that it is done.
//! Not here: anything recursive but the making of parents and the removal of a tree; a program does that
//! better.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use provium_protocol::{BODY, DirEntry, EntryType, OpError, Response, encode_listing, write_data};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::files;
use crate::failure::{Failure, failed, impossible, shown};
use crate::session::Session;

/// Permission bits of a new folder when none are asked for, and of its parents.
const DEFAULT_PERM: u32 = 0o755;

pub(crate) fn list(session: &mut Session, path: &[u8]) -> Result<Response, Failure> {
    let failed = |errno| failed(format_args!("list `{}`", shown(path)), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    let entries = entries(&folder).map_err(failed)?;
    let body =
        encode_listing(&entries).map_err(|why| impossible(format!("list `{}`: {why}", shown(path))))?;
    write_data(&mut session.stream, BODY, &body)?;
    Ok(Response::Done)
}

fn entries(folder: &OwnedFd) -> Result<Vec<DirEntry>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                // It has gone in between.
                Err(Errno::NOENT) => continue,
                Err(_) => FileType::Unknown,
            },
            kind => kind,
        };
        entries.push(DirEntry {
            name: name.to_vec().into(),
            entry_type: entry_type(kind),
        });
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// The kernel's kind of file in the protocol's words.
pub(super) fn entry_type(kind: FileType) -> EntryType {
    match kind {
        FileType::RegularFile => EntryType::File,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo => EntryType::Fifo,
        FileType::Socket => EntryType::Socket,
        FileType::BlockDevice => EntryType::BlockDevice,
        FileType::CharacterDevice => EntryType::CharDevice,
        FileType::Unknown => EntryType::Other,
    }
}

pub(crate) fn make(path: &[u8], parents: bool, perm: Option<u32>) -> Result<Response, OpError> {
    let mode = files::mode(path, Some(perm.unwrap_or(DEFAULT_PERM)))?;
    let failed = |path, errno| failed(format_args!("mkdir `{}`", shown(path)), errno);
    if parents {
        // Each prefix that ends before a slash; the whole comes last.
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let prefixes = slashes.map(|(at, _)| &path[..at]);
        for parent in prefixes.filter(|parent| !parent.is_empty() && !parent.ends_with(b"/")) {
            if !is_folder(parent) && !rest_is_slashes(path, parent) {
                make_one(parent, Mode::from_raw_mode(DEFAULT_PERM))
                    .or_else(|errno| made_by_another(errno, parent))
                    .map_err(|errno| failed(parent, errno))?;
            }
        }
    }
    let made = make_one(path, mode);
    match made {
        Err(errno) if parents => made_by_another(errno, path),
        made => made,
    }
    .map_err(|errno| failed(path, errno))?;
    Ok(Response::Done)
}

/// `a/b` of `a/b//`: the folder that is asked for itself.
fn rest_is_slashes(path: &[u8], parent: &[u8]) -> bool {
    path[parent.len()..].iter().all(|byte| *byte == b'/')
}

/// A folder that is there already is as good as one that was made.
fn made_by_another(errno: Errno, path: &[u8]) -> Result<(), Errno> {
    match errno {
        Errno::EXIST | Errno::ISDIR if is_folder(path) => Ok(()),
        errno => Err(errno),
    }
}

fn is_folder(path: &[u8]) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::empty())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

fn make_one(path: &[u8], mode: Mode) -> Result<(), Errno> {
    rustix::fs::mkdirat(CWD, path, mode)?;
    // The umask, or an access list of the parent, has taken its part of the mode.
    rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())
}

pub(crate) fn remove(path: &[u8], recursive: bool) -> Result<Response, OpError> {
    let removed = match recursive {
        true => remove_tree(path),
        false => rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR),
    };
    removed
        .map(|()| Response::Done)
        .map_err(|errno| failed(format_args!("rmdir `{}`", shown(path)), errno))
}

/// Removes a folder and what is in it. The walk goes by descriptors and follows no link, whatever a program
/// of the guest puts in its way meanwhile.
fn remove_tree(path: &[u8]) -> Result<(), Errno> {
    // With a slash behind it, a link would be what it leads to.
    let end = path.iter().rposition(|byte| *byte != b'/');
    let path = end.map_or(path, |end| &path[..=end]);
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::NOTDIR);
    }
    std::fs::remove_dir_all(OsStr::from_bytes(path))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

pub(crate) fn unlink(path: &[u8]) -> Result<Response, OpError> {
    rustix::fs::unlinkat(CWD, path, AtFlags::empty())
        .map(|()| Response::Done)
        .map_err(|errno| failed(format_args!("unlink `{}`", shown(path)), errno))
}

pub(crate) fn rename(from: &[u8], to: &[u8]) -> Result<Response, OpError> {
    rustix::fs::renameat(CWD, from, CWD, to)
        .map(|()| Response::Done)
        .map_err(|errno| {
            let what = format!("rename `{}` to `{}`", shown(from), shown(to));
            failed(what, errno)
        })
}
