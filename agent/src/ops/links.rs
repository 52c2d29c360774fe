//! Symbolic links: Symlink, ReadLink.
//!
//! Input: paths, and what a link says.
//! Output: that it is done, or what a link says.
//! Not here: following links, which the kernel does for every other op.

use provium_protocol::{BODY, OpError, Response, write_data};
use rustix::fs::{CWD, readlinkat, symlinkat};

use crate::failure::{Failure, failed, shown};
use crate::session::Session;

pub(crate) fn make(target: &[u8], path: &[u8]) -> Result<Response, OpError> {
    symlinkat(target, CWD, path)
        .map(|()| Response::Done)
        .map_err(|errno| {
            let what = format!("make `{}` a link to `{}`", shown(path), shown(target));
            failed(what, errno)
        })
}

pub(crate) fn read(session: &mut Session, path: &[u8]) -> Result<Response, Failure> {
    let target = readlinkat(CWD, path, Vec::new())
        .map_err(|errno| failed(format_args!("read link `{}`", shown(path)), errno))?;
    write_data(&mut session.stream, BODY, target.as_bytes())?;
    Ok(Response::Done)
}
