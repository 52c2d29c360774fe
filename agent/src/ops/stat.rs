//! Stat, Exists: a file's metadata, and whether there is one.
//!
//! Input: a path, and whether a link is followed.
//! Output: size, times, mode, owners, links, type; the target of a link that is not followed.
//! Not here: extended attributes and file systems; a test that wants those makes the system call.

use provium_protocol::{OpError, Response, Stat};
use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::folders::entry_type;
use crate::failure::{failed, shown};

pub(crate) fn stat(path: &[u8], follow: bool) -> Result<Response, OpError> {
    let flags = if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    let stat =
        statat(CWD, path, flags).map_err(|errno| failed(format_args!("stat `{}`", shown(path)), errno))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let target = match kind {
        // A link that was removed meanwhile has none to tell.
        FileType::Symlink => readlinkat(CWD, path, Vec::new()).ok(),
        _ => None,
    };
    Ok(Response::Stat(Stat {
        size: stat.st_size.cast_unsigned(),
        atime_ns: nanoseconds(stat.st_atime, stat.st_atime_nsec),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink,
        ino: stat.st_ino,
        entry_type: entry_type(kind),
        target: target.map(|target| target.into_bytes().into()),
    }))
}

pub(crate) fn exists(path: &[u8]) -> Result<Response, OpError> {
    let exists = match statat(CWD, path, AtFlags::empty()) {
        Ok(_) => true,
        Err(Errno::NOENT | Errno::NOTDIR) => false,
        Err(errno) => return Err(failed(format_args!("look for `{}`", shown(path)), errno)),
    };
    Ok(Response::Exists { exists })
}

/// A time in nanoseconds since 1970; the nearest there is, for one some centuries off.
fn nanoseconds(seconds: i64, rest: u64) -> i64 {
    let rest = i64::try_from(rest).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
