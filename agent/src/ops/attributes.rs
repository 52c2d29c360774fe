//! Attributes of a file: Chmod, Chown, Truncate.
//!
//! Input: paths, and what is to be true of what they lead to.
//! Output: that it is done.
//! Not here: times and extended attributes; a test that wants those makes the system call.

use provium_protocol::{OpError, Response};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};

use super::files;
use crate::failure::{failed, impossible, shown};

pub(crate) fn chmod(path: &[u8], perm: u32) -> Result<Response, OpError> {
    let mode = files::mode(path, Some(perm))?;
    rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())
        .map(|()| Response::Done)
        .map_err(|errno| failed(format_args!("chmod `{}`", shown(path)), errno))
}

pub(crate) fn chown(
    path: &[u8],
    uid: Option<u32>,
    gid: Option<u32>,
    follow: bool,
) -> Result<Response, OpError> {
    // The kernel takes it for "as it is".
    if [uid, gid].contains(&Some(u32::MAX)) {
        let message = format!("chown `{}`: {} is no id", shown(path), u32::MAX);
        return Err(impossible(message));
    }
    let flags = match follow {
        true => AtFlags::empty(),
        false => AtFlags::SYMLINK_NOFOLLOW,
    };
    rustix::fs::chownat(CWD, path, uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)
        .map(|()| Response::Done)
        .map_err(|errno| failed(format_args!("chown `{}`", shown(path)), errno))
}

pub(crate) fn truncate(path: &[u8], size: u64) -> Result<Response, OpError> {
    // A pipe without a reader is not waited for.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .and_then(|file| rustix::fs::ftruncate(&file, size))
        .map(|()| Response::Done)
        .map_err(|errno| failed(format_args!("truncate `{}` to {size} bytes", shown(path)), errno))
}
