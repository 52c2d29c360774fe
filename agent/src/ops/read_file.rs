//! ReadFile: the content of a file, as `cat` would print it.
//!
//! Enters: a path. Leaves: `Data` on [`BODY`] until the file says it is at its end, so that files of `/proc`,
//! which claim to be empty, come whole. Absent on purpose: any look at the size.

use provium_protocol::{BODY, DATA_CHUNK, Response, write_data};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{Failure, failed, shown};
use crate::session::Session;

pub(super) fn read_file(session: &mut Session<'_>, path: &[u8]) -> Result<Response, Failure> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| failed(format_args!("open `{}`", shown(path)), errno))?;
    session.scratch.resize(DATA_CHUNK, 0);
    loop {
        match rustix::io::read(&file, session.scratch.as_mut_slice()) {
            Ok(0) => return Ok(Response::Done),
            Ok(n) => write_data(&mut session.stream, BODY, &session.scratch[..n])?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(format_args!("read `{}`", shown(path)), errno).into()),
        }
    }
}
