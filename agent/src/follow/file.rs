//! A file by its path, as a stream.
//!
//! Input: a path and where to begin.
//! Output: a [`Growing`] file; of anything but a regular file, a [`Channel`].
//! Not here: reading; see those two.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use provium_protocol::{FollowStart, OpError};
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::channel::Channel;
use super::growing::Growing;
use super::source::StreamSource;
use super::watch;
use crate::failure::{failed, shown};
use crate::threads::ThreadWatch;

/// A stream of the file at `path`; of anything but a regular file, what can be read from it.
pub(crate) fn open(
    path: &[u8],
    start: FollowStart,
    threads: &Arc<ThreadWatch>,
) -> Result<Box<dyn StreamSource + Send>, OpError> {
    let fail = |errno| failed(format_args!("follow `{}`", shown(path)), errno);
    let name = Path::new(OsStr::from_bytes(path));
    let file = watch::open(name).map_err(fail)?;
    let kind = rustix::fs::fstat(&file).map_err(fail)?.st_mode;
    match FileType::from_raw_mode(kind) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(fail(Errno::ISDIR)),
        _ => return Ok(Box::new(Channel::new(OwnedFd::from(file)))),
    }
    let from = |size| match start {
        FollowStart::End => size,
        FollowStart::Offset(offset) => match offset {
            0.. => offset.cast_unsigned().min(size),
            _ => size.saturating_sub(offset.unsigned_abs()),
        },
    };
    Growing::new(file, Some(name), from, threads)
        .map(|growing| Box::new(growing) as Box<dyn StreamSource + Send>)
        .map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::super::source::Step;
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::time::{Duration, Instant};

    /// A stream that hangs fails after this.
    const LONG: Duration = Duration::from_secs(20);

    /// Reads until `wanted` bytes have come.
    fn read(source: &mut dyn StreamSource, wanted: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        let start = Instant::now();
        while all.len() < wanted {
            assert!(start.elapsed() < LONG, "{} of {wanted} bytes came", all.len());
            match source.next(&mut buffer).expect("a step") {
                Step::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                Step::Nothing => std::thread::sleep(Duration::from_millis(1)),
                Step::Over => panic!("a file is never over"),
            }
        }
        all
    }

    fn follow(path: &Path, start: FollowStart) -> Box<dyn StreamSource + Send> {
        open(path.as_os_str().as_encoded_bytes(), start, &Arc::default()).expect("a source")
    }

    #[test]
    fn it_begins_where_it_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "0123456789").expect("written");
        for (start, offset, rest) in [
            (FollowStart::Offset(0), 0, "0123456789"),
            (FollowStart::Offset(4), 4, "456789"),
            (FollowStart::Offset(-3), 7, "789"),
            (FollowStart::Offset(-30), 0, "0123456789"),
            (FollowStart::Offset(30), 10, ""),
            (FollowStart::End, 10, ""),
        ] {
            let mut source = follow(&path, start);
            assert_eq!(source.offset(), offset, "{start:?}");
            assert_eq!(read(&mut *source, rest.len()), rest.as_bytes(), "{start:?}");
            let step = source.next(&mut [0; 10]).expect("a step");
            assert_eq!(step, Step::Nothing, "{start:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let error = open(
            missing.as_os_str().as_encoded_bytes(),
            FollowStart::End,
            &Arc::default(),
        )
        .err();
        let error = error.expect("an error");
        assert_eq!(error.errno, Some(Errno::NOENT.raw_os_error()));
        assert!(error.message.contains("missing"), "{}", error.message);
        let error = open(
            folder.path().as_os_str().as_encoded_bytes(),
            FollowStart::End,
            &Arc::default(),
        )
        .err();
        assert_eq!(error.expect("an error").errno, Some(Errno::ISDIR.raw_os_error()));
    }

    #[test]
    fn a_truncated_file_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "before").expect("written");
        let mut source = follow(&path, FollowStart::Offset(0));
        assert_eq!(read(&mut *source, 6), b"before");
        fs::write(&path, "new").expect("truncated and written");
        assert_eq!(read(&mut *source, 3), b"new");
        let mut file = fs::File::options().append(true).open(&path).expect("the file");
        file.write_all(b" and more").expect("written");
        assert_eq!(read(&mut *source, 9), b" and more");
    }

    #[test]
    fn a_file_that_is_renamed_is_read_to_its_end_and_then_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut old = fs::File::create(&path).expect("a file");
        old.write_all(b"one ").expect("written");
        let mut source = follow(&path, FollowStart::Offset(0));
        fs::rename(&path, folder.path().join("log.1")).expect("renamed");
        old.write_all(b"two ").expect("written");
        assert_eq!(read(&mut *source, 8), b"one two ");
        fs::write(&path, "three").expect("written");
        assert_eq!(read(&mut *source, 5), b"three");
        old.write_all(b" late").expect("written");
        assert_eq!(read(&mut *source, 5), b" late");
    }

    /// The reader is slower than the writer, who starts a new file all the time.
    #[test]
    fn nothing_is_lost_over_many_rotations() {
        const FILES: usize = 20;
        const LINES: usize = 2000;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "").expect("written");
        let mut source = follow(&path, FollowStart::End);
        let writing = path.clone();
        let writer = std::thread::spawn(move || {
            let mut expected = Vec::new();
            for number in 0..FILES {
                let mut file = fs::File::options().append(true).create(true).open(&writing)?;
                for line in 0..LINES {
                    let line = format!("file {number} line {line}\n");
                    file.write_all(line.as_bytes())?;
                    expected.extend(line.into_bytes());
                }
                if number + 1 < FILES {
                    fs::rename(&writing, writing.with_extension(number.to_string()))?;
                    // Rotations are not a matter of microseconds: whoever had the name is seen.
                    std::thread::sleep(Duration::from_millis(20));
                    fs::write(&writing, "")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Ok::<_, std::io::Error>(expected)
        });
        std::thread::sleep(Duration::from_millis(300));
        let mut seen = read(&mut *source, 1);
        let expected = writer.join().expect("no panic").expect("written");
        seen.extend(read(&mut *source, expected.len() - seen.len()));
        assert!(
            seen == expected,
            "{} bytes differ from {}",
            seen.len(),
            expected.len()
        );
    }
}
