//! Why a request has no response, and the words for it.
//!
//! Input: what was tried, and the kernel's error number.
//! Output: errors as a test's author reads them.
//! Not here: errors of the connection itself; see `connection`.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use provium_protocol::{FrameError, OpError};
use rustix::io::Errno;

use crate::connection::SessionError;

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request was tried and failed; the session goes on.
    Op(OpError),
    /// The session is over.
    Session(SessionError),
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Failure {
        Failure::Op(error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        Failure::Session(error)
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Failure {
        Failure::Session(error.into())
    }
}

/// The error of a kernel call: what was tried, then the kernel's words.
pub(crate) fn failed(what: impl Display, errno: Errno) -> OpError {
    OpError {
        errno: Some(errno.raw_os_error()),
        message: format!("{what}: {}", errno_text(errno)),
    }
}

/// The error of a request that cannot be tried.
pub(crate) fn impossible(why: impl Into<String>) -> OpError {
    OpError {
        errno: None,
        message: why.into(),
    }
}

/// The kernel's words for an error number, as `strerror` has them.
pub(crate) fn errno_text(errno: Errno) -> String {
    let mut text = io::Error::from(errno).to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    text
}

/// A path or argument for a message, with what is no UTF-8 replaced.
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
