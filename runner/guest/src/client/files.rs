//! Operations on files and folders, by path or by descriptor.
//!
//! Input: paths, descriptors, content. Output: operations that come to content, metadata, positions. Not
//! here: keeping a file open on the host's side; a descriptor is a number of the agent's process, and whoever
//! opened it closes it.

use std::io::{Read, Write};

use provium_protocol::{
    BODY, DirEntry, MAX_LISTING, OpenFile, Request, Response, Stat, Whence, decode_listing,
};

use super::op::{Op, is_done};
use super::session::GuestClient;
use crate::error::GuestError;
use crate::wire::answer::mismatch;

/// The content of a file.
pub fn read_file(path: &[u8]) -> Op<Vec<u8>> {
    let path = path.to_vec().into();
    Op::content(Request::ReadFile { path })
}

/// Creates or truncates a file and fills it; comes to the bytes written. `perm` are the permission bits of a
/// file that is new.
pub fn write_file(path: &[u8], perm: Option<u32>, content: Vec<u8>) -> Op<u64> {
    let path = path.to_vec().into();
    Op::written(Request::WriteFile { path, perm }, Some(content))
}

/// A file's metadata, of what a symbolic link points at when `follow` is set.
pub fn stat(path: &[u8], follow: bool) -> Op<Stat> {
    let path = path.to_vec().into();
    Op::new(Request::Stat { path, follow }, |answer| match answer.response {
        Response::Stat(stat) => Ok(stat),
        other => Err(mismatch("a file's metadata", &other)),
    })
}

/// The entries of a folder but `.` and `..`, by name.
pub fn list_dir(path: &[u8]) -> Op<Vec<DirEntry>> {
    let path = path.to_vec().into();
    Op::content(Request::ListDir { path })
        .at_most(MAX_LISTING as u64)
        .and_then(|listed| {
            decode_listing(&listed).map_err(|error| format!("the entries of a folder make no sense: {error}"))
        })
}

/// Makes a folder; with `parents` the missing ones above it as well, and one that is there is no error.
pub fn make_dir(path: &[u8], parents: bool, perm: Option<u32>) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::MakeDir { path, parents, perm })
}

/// Removes a file.
pub fn unlink(path: &[u8]) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::Unlink { path })
}

/// Renames a file or folder.
pub fn rename(from: &[u8], to: &[u8]) -> Op<()> {
    let (from, to) = (from.to_vec().into(), to.to_vec().into());
    Op::done(Request::Rename { from, to })
}

/// Removes a folder, with `recursive` and what is in it; links in it are not followed.
pub fn remove_dir(path: &[u8], recursive: bool) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::RemoveDir { path, recursive })
}

/// Sets the permission bits of what a path leads to.
pub fn chmod(path: &[u8], perm: u32) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::Chmod { path, perm })
}

/// Sets the owners of a file, of what a symbolic link points at when `follow` is set; none stays as it is.
pub fn chown(path: &[u8], uid: Option<u32>, gid: Option<u32>, follow: bool) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::Chown {
        path,
        uid,
        gid,
        follow,
    })
}

/// Makes a symbolic link at `path` that says `target`.
pub fn symlink(target: &[u8], path: &[u8]) -> Op<()> {
    let (target, path) = (target.to_vec().into(), path.to_vec().into());
    Op::done(Request::Symlink { target, path })
}

/// What a symbolic link says.
pub fn read_link(path: &[u8]) -> Op<Vec<u8>> {
    let path = path.to_vec().into();
    Op::content(Request::ReadLink { path })
}

/// Cuts a file off at `size` bytes, or lengthens it with zeros.
pub fn truncate(path: &[u8], size: u64) -> Op<()> {
    let path = path.to_vec().into();
    Op::done(Request::Truncate { path, size })
}

/// Whether a path leads to anything, through symbolic links.
pub fn exists(path: &[u8]) -> Op<bool> {
    let path = path.to_vec().into();
    Op::new(Request::Exists { path }, |answer| match answer.response {
        Response::Exists { exists } => Ok(exists),
        other => Err(mismatch("whether a path exists", &other)),
    })
}

/// Opens a file; comes to its descriptor.
pub fn open_file(open: OpenFile) -> Op<i32> {
    Op::new(Request::OpenFile(open), |answer| match answer.response {
        Response::Opened { fd } => Ok(fd),
        other => Err(mismatch("a descriptor", &other)),
    })
}

/// Content from a descriptor's position on: at most `max` bytes, or all to the end.
pub fn read_fd(fd: i32, max: Option<u64>) -> Op<Vec<u8>> {
    Op::content(Request::ReadFd { fd, max })
}

/// Writes to a descriptor; comes to the bytes written.
pub fn write_fd(fd: i32, content: Vec<u8>) -> Op<u64> {
    Op::written(Request::WriteFd { fd }, Some(content))
}

/// Moves a descriptor's position; comes to where it is then.
pub fn seek_fd(fd: i32, offset: i64, whence: Whence) -> Op<u64> {
    Op::new(Request::SeekFd { fd, offset, whence }, |answer| {
        match answer.response {
            Response::Offset { offset } => Ok(offset),
            other => Err(mismatch("a position", &other)),
        }
    })
}

/// Closes a descriptor.
pub fn close_fd(fd: i32) -> Op<()> {
    Op::done(Request::CloseFd { fd })
}

impl GuestClient {
    /// Copies the content of a file to `to`, of any size; returns how many bytes that were.
    pub fn pull_file(&mut self, path: &[u8], to: &mut dyn Write) -> Result<u64, GuestError> {
        let (mut written, mut copied) = (Ok(()), 0);
        let path = path.to_vec().into();
        let request = Request::ReadFile { path };
        let response = self
            .exchange
            .request_for(request, None, None, u64::MAX, &mut |channel, bytes| {
                // What cannot be kept is read all the same: the session goes on.
                if written.is_ok() {
                    written = to.write_all(bytes);
                    copied += bytes.len() as u64;
                }
                channel == BODY
            })?;
        is_done(&response).map_err(|what| self.exchange.broken(what))?;
        written.map(|()| copied).map_err(GuestError::Target)
    }

    /// Copies all that `content` has into a file, as [`write_file`] does; returns the bytes written.
    pub fn push_file(
        &mut self,
        path: &[u8],
        perm: Option<u32>,
        content: &mut (dyn Read + Send),
    ) -> Result<u64, GuestError> {
        let path = path.to_vec().into();
        self.ask_with(Op::written(Request::WriteFile { path, perm }, None), content)
    }
}
