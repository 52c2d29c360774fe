//! ReadFile: the content of a file, as `cat` would print it.
//!
//! Input: a path.
//! Output: `Data` on [`BODY`] until the file says it is at its end, so that files of `/proc`, which claim to
//! be empty, come whole.
//! Not here: any look at the size.

use provium_protocol::{BODY, DATA_CHUNK, Response, write_data};
use rustix::io::Errno;

use super::files;
use crate::failure::{Failure, failed, shown};
use crate::session::Session;

pub(crate) fn read_file(session: &mut Session, path: &[u8]) -> Result<Response, Failure> {
    let file = files::open_to_read(path)?;
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
