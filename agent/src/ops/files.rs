//! Files that stay open: OpenFile, ReadFd, WriteFd, SeekFd, CloseFd.
//!
//! Input: paths and descriptors, the latter plain numbers: those a test's system calls have made are as good
//! as those of `OpenFile`.
//! Output: content, positions. While an op waits for a pipe, a socket or a terminal, it notices that the host
//! has gone.
//! Not here: any ownership; a test may close a descriptor at any time, and finds what a program of its own
//! would find.

use std::fs::File;

use provium_protocol::{BODY, DATA_CHUNK, OpError, OpenFile, Response, Whence, write_data};
use rustix::event::PollFlags;
use rustix::fd::{BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::connection::{Body, wait_for};
use crate::failure::{Failure, failed, impossible, shown};
use crate::session::Session;

/// Permission bits of a new file when none are asked for.
const DEFAULT_PERM: u32 = 0o644;
/// Most bytes that a pipe which is ready takes without blocking.
const PIPE_BUF: usize = 4096;

pub(crate) fn open(session: &mut Session, open: &OpenFile) -> Result<Response, Failure> {
    let what = || format!("open `{}`", shown(&open.path));
    let refused = |why: &str| Err(impossible(format!("{}: {why}", what())).into());
    let access = match (open.read, open.write || open.append) {
        (true, true) => OFlags::RDWR,
        (true, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (false, false) => return refused("at least one of read, write and append is needed"),
    };
    if open.truncate && access == OFlags::RDONLY {
        return refused("truncate needs write or append");
    }
    if open.exclusive && !open.create {
        return refused("exclusive needs create");
    }
    let mut flags = access;
    flags.set(OFlags::TRUNC, open.truncate);
    flags.set(OFlags::APPEND, open.append);
    let mode = mode(&open.path, open.perm)?;
    let opened = match (open.create, open.exclusive) {
        (false, _) => open_existing(&open.path, flags),
        (true, false) => open_or_make(&open.path, flags, mode),
        (true, true) => make(&open.path, flags | OFlags::EXCL, mode),
    };
    let opened = opened.map_err(|errno| failed(what(), errno))?;
    let fd = session.estate.files.add(opened);
    Ok(Response::Opened { fd })
}

/// The permission bits that were asked for, or the default for files.
pub(super) fn mode(path: &[u8], perm: Option<u32>) -> Result<Mode, OpError> {
    let perm = perm.unwrap_or(DEFAULT_PERM);
    if perm & !0o7777 != 0 {
        let path = shown(path);
        return Err(impossible(format!(
            "perm {perm:#o} for `{path}` has more than 0o7777"
        )));
    }
    Ok(Mode::from_raw_mode(perm))
}

/// Opens a file, or makes it with exactly these permission bits.
pub(super) fn open_or_make(path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    match open_existing(path, flags) {
        // Not exclusively: it may be a link to where nothing is yet.
        Err(Errno::NOENT) => make(path, flags, mode),
        opened => opened,
    }
}

fn open_existing(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn make(path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::openat(CWD, path, flags, mode)?;
    // The umask, or an access list of the folder, has taken its part of the mode.
    rustix::fs::fchmod(&file, mode)?;
    Ok(file)
}

pub(crate) fn read(session: &mut Session, fd: RawFd, max: Option<u64>) -> Result<Response, Failure> {
    let fd = borrow(fd)?;
    let failed = |errno| failed(format_args!("read descriptor {}", fd.number), errno);
    let kind = Kind::of(&fd).map_err(failed)?;
    session.scratch.resize(DATA_CHUNK, 0);
    let mut left = max.unwrap_or(u64::MAX);
    while left > 0 {
        if kind.may_block {
            wait_for(&session.stream, fd.borrowed, PollFlags::IN, None)?;
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(DATA_CHUNK);
        match rustix::io::read(fd.borrowed, &mut session.scratch[..most]) {
            Ok(0) => break,
            Ok(n) => {
                write_data(&mut session.stream, BODY, &session.scratch[..n])?;
                left -= n as u64;
                if max.is_some() && !kind.is_regular {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno).into()),
        }
    }
    Ok(Response::Done)
}

pub(crate) fn write(session: &mut Session, fd: RawFd) -> Result<Response, Failure> {
    let mut body = Body::new(&session.stream);
    let result = borrow(fd).and_then(|fd| fill(&fd, &mut body));
    if let Err(Failure::Op(_)) = &result {
        body.drain()?;
    }
    result.map(|bytes| Response::Written { bytes })
}

fn fill(fd: &Fd, body: &mut Body<'_>) -> Result<u64, Failure> {
    let failed = |written: u64, errno| {
        let what = format!("write to descriptor {} after {written} bytes", fd.number);
        failed(what, errno)
    };
    let kind = Kind::of(fd).map_err(|errno| failed(0, errno))?;
    // A piece is one write, for those who count writes; but into a pipe no more than it takes when it is
    // ready.
    let most = match kind.is_pipe && kind.may_block {
        true => PIPE_BUF,
        false => usize::MAX,
    };
    let mut written = 0;
    while let Some(piece) = body.next()? {
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            if kind.may_block {
                wait_for(body.stream(), fd.borrowed, PollFlags::OUT, None)?;
            }
            match rustix::io::write(fd.borrowed, &rest[..rest.len().min(most)]) {
                Ok(n) => {
                    written += n as u64;
                    rest = &rest[n..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(written, errno).into()),
            }
        }
    }
    Ok(written)
}

pub(crate) fn seek(fd: RawFd, offset: i64, whence: Whence) -> Result<Response, Failure> {
    let fd = borrow(fd)?;
    let to = match whence {
        // A negative one is the kernel's to refuse.
        Whence::Set => SeekFrom::Start(offset.cast_unsigned()),
        Whence::Current => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    };
    let offset = rustix::fs::seek(fd.borrowed, to)
        .map_err(|errno| failed(format_args!("seek descriptor {} to {offset}", fd.number), errno))?;
    Ok(Response::Offset { offset })
}

pub(crate) fn close(session: &mut Session, fd: RawFd) -> Result<Response, Failure> {
    let closed = session.estate.files.close(fd);
    closed.map_err(|errno| failed(format_args!("close descriptor {fd}"), errno))?;
    Ok(Response::Done)
}

/// A descriptor of the test's.
pub(super) struct Fd {
    pub(super) borrowed: BorrowedFd<'static>,
    pub(super) number: RawFd,
}

/// The descriptor of this number; whether it is open is for the kernel to say.
pub(super) fn borrow(number: RawFd) -> Result<Fd, Failure> {
    if number < 0 {
        return Err(failed(format_args!("use descriptor {number}"), Errno::BADF).into());
    }
    // SAFETY: it is not -1. The number is used for system calls and nothing else; if it is not open, or
    // another file by then, they fail or reach that file, as the test has it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(Fd { borrowed, number })
}

/// What can be expected of a descriptor.
pub(super) struct Kind {
    pub(super) is_regular: bool,
    is_pipe: bool,
    /// Reading and writing may have to wait, and are meant to.
    may_block: bool,
}

impl Kind {
    pub(super) fn of(fd: &Fd) -> Result<Kind, Errno> {
        let stat = rustix::fs::fstat(fd.borrowed)?;
        let flags = rustix::fs::fcntl_getfl(fd.borrowed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let at_once = matches!(
            kind,
            FileType::RegularFile | FileType::Directory | FileType::BlockDevice
        );
        Ok(Kind {
            is_regular: matches!(kind, FileType::RegularFile | FileType::BlockDevice),
            is_pipe: kind == FileType::Fifo,
            may_block: !at_once && !flags.contains(OFlags::NONBLOCK),
        })
    }
}

/// Opens a file to read it from the beginning to its end.
pub(super) fn open_to_read(path: &[u8]) -> Result<File, OpError> {
    open_existing(path, OFlags::RDONLY)
        .map(File::from)
        .map_err(|errno| failed(format_args!("open `{}`", shown(path)), errno))
}
