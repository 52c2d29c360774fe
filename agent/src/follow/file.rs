//! A file that grows, through truncation, renaming and replacement.
//!
//! Enters: a path and where to begin. Leaves: every byte that is written to it and not truncated before it was read. When
//! another file takes its name, the old one is read to its end once the new one has content: a writer that has moved
//! on writes no more to the old one. A second longer late writes to it are still delivered. A truncated file is read from
//! its beginning. Absent on purpose: an end; a log may go on at any time.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_protocol::{FollowStart, OpError};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::fd::Channel;
use super::watch::{self, Followed, Watch};
use super::{Source, Step};
use crate::ops::{failed, shown};

/// How long a file that has lost its name is looked at for late writes.
const LATE: Duration = Duration::from_secs(1);

/// A stream of the file at `path`; of anything but a regular file, what can be read from it.
pub(crate) fn file(path: &[u8], start: FollowStart) -> Result<Box<dyn Source + Send>, OpError> {
    let fail = |errno| failed(format_args!("follow `{}`", shown(path)), errno);
    let name = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
        path,
    ));
    let file = watch::open(name).map_err(fail)?;
    let kind = rustix::fs::fstat(&file).map_err(fail)?.st_mode;
    match FileType::from_raw_mode(kind) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(fail(Errno::ISDIR)),
        _ => return Ok(Box::new(Channel::new(OwnedFd::from(file)))),
    }
    Growing::new(file, Some(name), |size| match start {
        FollowStart::End => size,
        FollowStart::Offset(offset) => match offset {
            0.. => offset.cast_unsigned().min(size),
            _ => size.saturating_sub(offset.unsigned_abs()),
        },
    })
    .map(|growing| Box::new(growing) as Box<dyn Source + Send>)
    .map_err(fail)
}

/// A file and how far it was read.
#[derive(Debug)]
struct Place {
    of: Arc<Followed>,
    position: u64,
    truncations: u64,
}

impl Place {
    fn new(of: Arc<Followed>, position: u64) -> Place {
        let truncations = of.look().1;
        Place {
            of,
            position,
            truncations,
        }
    }

    /// Reads on; 0 at the end there is now.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let (_, truncations) = self.of.look();
        if truncations != self.truncations {
            (self.truncations, self.position) = (truncations, 0);
        }
        let count = self.of.file.read_at(buffer, self.position);
        let count = count.map_err(|error| watch::errno(&error))?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A regular file that grows.
#[derive(Debug)]
pub(super) struct Growing {
    offset: u64,
    now: Place,
    /// Files that have lost the name, and until when they are looked at.
    late: Vec<(Place, Instant)>,
    watch: Watch,
}

impl Growing {
    /// Follows a file from where `start` says, given its size; with a path, those as well that come to be there.
    pub(super) fn new(
        file: std::fs::File,
        path: Option<&Path>,
        start: impl FnOnce(u64) -> u64,
    ) -> Result<Growing, Errno> {
        let of = Arc::new(Followed::new(file)?);
        let watch = Watch::start(&of, path)?;
        let offset = start(of.look().0);
        Ok(Growing {
            offset,
            now: Place::new(of, offset),
            late: Vec::new(),
            watch,
        })
    }
}

impl Source for Growing {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno> {
        self.watch.silence();
        let now = Instant::now();
        self.late.retain(|(_, until)| now < *until);
        for (place, _) in &mut self.late {
            if let count @ 1.. = place.read(buffer)? {
                return Ok(Step::Bytes(count));
            }
        }
        loop {
            // Asked before the reading: what was written before the next file had content is read first.
            let moves_on = self.watch.has_next();
            match self.now.read(buffer)? {
                0 if moves_on => {}
                0 => return Ok(Step::Nothing),
                count => return Ok(Step::Bytes(count)),
            }
            let Some(next) = self.watch.take_next() else {
                return Ok(Step::Nothing);
            };
            let old = std::mem::replace(&mut self.now, Place::new(next, 0));
            self.late.push((old, Instant::now() + LATE));
        }
    }

    fn bell(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.bell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    const LONG: Duration = Duration::from_secs(20);

    /// Reads until `wanted` bytes have come.
    fn read(source: &mut dyn Source, wanted: usize) -> Vec<u8> {
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

    fn follow(path: &Path, start: FollowStart) -> Box<dyn Source + Send> {
        file(path.as_os_str().as_encoded_bytes(), start).expect("a source")
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
        let error = file(missing.as_os_str().as_encoded_bytes(), FollowStart::End).err();
        let error = error.expect("an error");
        assert_eq!(error.errno, Some(Errno::NOENT.raw_os_error()));
        assert!(error.message.contains("missing"), "{}", error.message);
        let error = file(folder.path().as_os_str().as_encoded_bytes(), FollowStart::End).err();
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
