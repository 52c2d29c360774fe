//! WriteFile: the request's body becomes a file's content.
//!
//! A file that exists is truncated and keeps its permissions; a new one gets exactly those asked for,
//! whatever the umask. After an error the rest of the body is still read, so that the session goes on.
//!
//! Input: a path, permission bits, the body.
//! Output: the number of bytes written.
//! Not here: parents, temporary files, fsync.

use provium_protocol::Response;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::files;
use crate::connection::Body;
use crate::failure::{Failure, failed, shown};
use crate::session::Session;

pub(crate) fn write_file(session: &mut Session, path: &[u8], perm: Option<u32>) -> Result<Response, Failure> {
    let mut body = Body::new(&session.stream);
    let result = open(path, perm).and_then(|file| fill(&file, path, &mut body));
    if let Err(Failure::Op(_)) = &result {
        body.drain()?;
    }
    result.map(|bytes| Response::Written { bytes })
}

fn open(path: &[u8], perm: Option<u32>) -> Result<OwnedFd, Failure> {
    let mode = files::mode(path, perm)?;
    files::open_or_make(path, OFlags::WRONLY | OFlags::TRUNC, mode)
        .map_err(|errno| failed(format_args!("open `{}` to write", shown(path)), errno).into())
}

fn fill(file: &OwnedFd, path: &[u8], body: &mut Body<'_>) -> Result<u64, Failure> {
    let mut written = 0;
    while let Some(bytes) = body.next()? {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(file, rest) {
                Ok(n) => {
                    written += n as u64;
                    rest = &rest[n..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let what = format!("write `{}` after {written} bytes", shown(path));
                    return Err(failed(what, errno).into());
                }
            }
        }
    }
    Ok(written)
}
