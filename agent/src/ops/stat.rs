//! Stat: a file's metadata.
//!
//! Input: a path, and whether a link is followed.
//! Output: size, time, permission bits, type.
//! Not here: owners and links; a test that wants those makes the system call.

use provium_protocol::{OpError, Response, Stat};
use rustix::fs::{AtFlags, CWD, FileType, statat};

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
    Ok(Response::Stat(Stat {
        size: stat.st_size.cast_unsigned(),
        mtime: stat.st_mtime,
        mtime_ns: stat.st_mtime_nsec as u32,
        perm: stat.st_mode & 0o7777,
        entry_type: entry_type(FileType::from_raw_mode(stat.st_mode)),
    }))
}
