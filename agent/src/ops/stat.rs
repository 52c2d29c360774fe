//! Stat: a file's metadata.

use provium_protocol::{OpError, Response, Stat};
use rustix::fs::{AtFlags, CWD, FileType, statat};

use super::folders::entry_type;
use super::{failed, shown};

pub(super) fn stat(path: &[u8], follow: bool) -> Result<Response, OpError> {
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
