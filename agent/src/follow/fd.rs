//! What can be read from a descriptor of the test.
//!
//! Input: a number.
//! Output: of a regular file, what lies behind the descriptor's position and what is added, the position left
//! where it is; of anything else, a [`Channel`].
//! Not here: the test's own descriptor. It is a duplicate that is read, so that a test that closes its own
//! ends nothing.

use std::fs::File;
use std::sync::Arc;

use provium_protocol::OpError;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags, SeekFrom};
use rustix::io::Errno;

use super::channel::Channel;
use super::growing::Growing;
use super::source::StreamSource;
use crate::failure::{failed, impossible};
use crate::fds;
use crate::threads::ThreadWatch;

/// A stream of descriptor `number`.
pub(crate) fn open(number: i32, threads: &Arc<ThreadWatch>) -> Result<Box<dyn StreamSource + Send>, OpError> {
    let fail = |errno| failed(format_args!("follow descriptor {number}"), errno);
    let copy = duplicate(number).map_err(fail)?;
    let mode = rustix::fs::fcntl_getfl(&copy).map_err(fail)?;
    if mode.contains(OFlags::WRONLY) {
        return Err(impossible(format!(
            "follow descriptor {number}: it is open for writing only"
        )));
    }
    let kind = rustix::fs::fstat(&copy).map_err(fail)?.st_mode;
    if FileType::from_raw_mode(kind) != FileType::RegularFile {
        return Ok(Box::new(Channel::new(copy)));
    }
    let position = rustix::fs::seek(&copy, SeekFrom::Current(0)).map_err(fail)?;
    Growing::new(File::from(copy), None, |_| position, threads)
        .map(|growing| Box::new(growing) as Box<dyn StreamSource + Send>)
        .map_err(fail)
}

fn duplicate(number: i32) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the descriptor is only asked to be duplicated; one that is not open is an error of the
    // kernel's.
    let theirs = unsafe { BorrowedFd::borrow_raw(number) };
    fds::copy(theirs)
}

#[cfg(test)]
mod tests {
    use super::super::source::Step;
    use super::*;
    use rustix::fd::AsRawFd;
    use rustix::pipe::pipe;

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, writer) = pipe().expect("a pipe");
        let mut source = open(reader.as_raw_fd(), &Arc::default()).expect("a source");
        let mut buffer = [0; 16];
        assert_eq!(source.next(&mut buffer), Ok(Step::Nothing));
        rustix::io::write(&writer, b"abc").expect("written");
        assert_eq!(source.next(&mut buffer), Ok(Step::Bytes(3)));
        assert_eq!(&buffer[..3], b"abc");
        drop((reader, writer));
        assert_eq!(source.next(&mut buffer), Ok(Step::Over));
    }

    #[test]
    fn a_regular_file_is_read_from_the_position_on_which_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").expect("written");
        let file = File::open(&path).expect("the file");
        rustix::fs::seek(&file, SeekFrom::Start(6)).expect("moved");
        let mut source = open(file.as_raw_fd(), &Arc::default()).expect("a source");
        let mut buffer = [0; 16];
        assert_eq!(source.offset(), 6);
        assert_eq!(source.next(&mut buffer), Ok(Step::Bytes(4)));
        assert_eq!(&buffer[..4], b"6789");
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Current(0)), Ok(6));
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let refusal = |number| open(number, &Arc::default()).err().expect("an error").message;
        assert!(refusal(-1).contains("descriptor -1"), "{}", refusal(-1));
        assert!(refusal(987_654).contains("987654"));
        let (_reader, writer) = pipe().expect("a pipe");
        assert!(refusal(writer.as_raw_fd()).contains("writing only"));
    }
}
