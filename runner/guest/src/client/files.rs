//! Files and folders, by path or by descriptor.
//!
//! Enters: paths, descriptors, content. Leaves: content, metadata, positions. Absent on purpose: keeping a file open on
//! the host's side; a descriptor is a number of the agent's process, and whoever opened it closes it.

use std::io::{Read, Write};

use provium_protocol::{BODY, DirEntry, OpenFile, Request, Response, Stat, Whence};

use super::GuestClient;
use crate::GuestError;

impl GuestClient {
    /// The content of a file.
    pub fn read_file(&mut self, path: &[u8]) -> Result<Vec<u8>, GuestError> {
        let path = path.to_vec().into();
        self.content(Request::ReadFile { path })
    }

    /// Copies the content of a file to `to`; returns how many bytes that were.
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
        self.is_done(response)?;
        written.map(|()| copied).map_err(GuestError::Target)
    }

    /// Creates or truncates a file and fills it; returns the bytes written. `perm` are the permission bits of
    /// a file that is new.
    pub fn write_file(
        &mut self,
        path: &[u8],
        perm: Option<u32>,
        content: &mut (dyn Read + Send),
    ) -> Result<u64, GuestError> {
        let path = path.to_vec().into();
        let response = self.send(Request::WriteFile { path, perm }, content)?;
        self.is_written(response)
    }

    /// A file's metadata, of what a symbolic link points at when `follow` is set.
    pub fn stat(&mut self, path: &[u8], follow: bool) -> Result<Stat, GuestError> {
        let path = path.to_vec().into();
        let response = self.ask(Request::Stat { path, follow })?;
        self.is_stat(response)
    }

    /// The entries of a folder but `.` and `..`, by name.
    pub fn list_dir(&mut self, path: &[u8]) -> Result<Vec<DirEntry>, GuestError> {
        let path = path.to_vec().into();
        let listed = self.content(Request::ListDir { path })?;
        self.is_listing(&listed)
    }

    /// Makes a folder; with `parents` the missing ones above it as well, and one that is there is no error.
    pub fn make_dir(&mut self, path: &[u8], parents: bool, perm: Option<u32>) -> Result<(), GuestError> {
        let path = path.to_vec().into();
        self.done(Request::MakeDir { path, parents, perm })
    }

    /// Removes a file.
    pub fn unlink(&mut self, path: &[u8]) -> Result<(), GuestError> {
        let path = path.to_vec().into();
        self.done(Request::Unlink { path })
    }

    /// Renames a file or folder.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), GuestError> {
        let (from, to) = (from.to_vec().into(), to.to_vec().into());
        self.done(Request::Rename { from, to })
    }

    /// Opens a file; returns its descriptor.
    pub fn open_file(&mut self, open: OpenFile) -> Result<i32, GuestError> {
        match self.ask(Request::OpenFile(open))? {
            Response::Opened { fd } => Ok(fd),
            other => Err(self.exchange.unexpected("a descriptor", &other)),
        }
    }

    /// Content from a descriptor's position on: at most `max` bytes, or all to the end.
    pub fn read_fd(&mut self, fd: i32, max: Option<u64>) -> Result<Vec<u8>, GuestError> {
        self.content(Request::ReadFd { fd, max })
    }

    /// Writes to a descriptor; returns the bytes written.
    pub fn write_fd(&mut self, fd: i32, content: &mut (dyn Read + Send)) -> Result<u64, GuestError> {
        let response = self.send(Request::WriteFd { fd }, content)?;
        self.is_written(response)
    }

    /// Moves a descriptor's position; returns where it is then.
    pub fn seek_fd(&mut self, fd: i32, offset: i64, whence: Whence) -> Result<u64, GuestError> {
        match self.ask(Request::SeekFd { fd, offset, whence })? {
            Response::Offset { offset } => Ok(offset),
            other => Err(self.exchange.unexpected("a position", &other)),
        }
    }

    /// Closes a descriptor.
    pub fn close_fd(&mut self, fd: i32) -> Result<(), GuestError> {
        self.done(Request::CloseFd { fd })
    }

    /// A request whose answer is the content that comes before it.
    fn content(&mut self, request: Request) -> Result<Vec<u8>, GuestError> {
        let mut content = Vec::new();
        let response = self
            .exchange
            .request(request, None, None, &mut |channel, bytes| {
                content.extend_from_slice(bytes);
                channel == BODY
            })?;
        self.is_done(response).map(|()| content)
    }

    pub(super) fn is_written(&mut self, response: Response) -> Result<u64, GuestError> {
        match response {
            Response::Written { bytes } => Ok(bytes),
            other => Err(self.exchange.unexpected("a count of bytes", &other)),
        }
    }

    pub(super) fn is_stat(&mut self, response: Response) -> Result<Stat, GuestError> {
        match response {
            Response::Stat(stat) => Ok(stat),
            other => Err(self.exchange.unexpected("a file's metadata", &other)),
        }
    }

    pub(super) fn is_listing(&mut self, listed: &[u8]) -> Result<Vec<DirEntry>, GuestError> {
        rmp_serde::from_slice(listed).map_err(|error| {
            let what = format!("the entries of a folder make no sense: {error}");
            self.exchange.broken(what)
        })
    }
}
