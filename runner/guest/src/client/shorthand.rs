//! Each operation as a method of the client, for callers that do not ask with an [`Op`] yet.
//!
//! Input and output: those of the operation. Not here: anything of its own.

use std::io::Read;
use std::time::Duration;

use provium_protocol::{DirEntry, Joined, OpenFile, Process, Request, Stat, Syscall, Whence};

use super::op::Op;
use super::process::{ExecOutcome, ExecSpec, Started};
use super::session::GuestClient;
use super::syscall::SyscallResult;
use super::{files, process, syscall};
use crate::error::GuestError;

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchOp {
    /// Runs a program to its end.
    Run(ExecSpec),
    /// Reads a file.
    ReadFile(Vec<u8>),
    /// Creates or replaces a file.
    WriteFile(Vec<u8>, Vec<u8>),
    /// A file's metadata, of what a link points at when the second is set.
    Stat(Vec<u8>, bool),
    /// The entries of a folder.
    ListDir(Vec<u8>),
    /// Makes a folder: path, parents as well, permission bits.
    MakeDir(Vec<u8>, bool, Option<u32>),
    /// Removes a file.
    Unlink(Vec<u8>),
    /// Renames a file or folder.
    Rename(Vec<u8>, Vec<u8>),
    /// Makes a system call.
    Syscall(Syscall),
}

/// What one operation of a batch came to.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchAnswer {
    /// A program ended.
    Ran(ExecOutcome),
    /// A file's content.
    Content(Vec<u8>),
    /// Bytes written.
    Written(u64),
    /// A file's metadata.
    Stat(Stat),
    /// A folder's entries.
    Entries(Vec<DirEntry>),
    /// It is done.
    Done,
    /// A system call's result and its buffers.
    Syscall(i64, Vec<Vec<u8>>),
}

impl From<&BatchOp> for Op<BatchAnswer> {
    fn from(op: &BatchOp) -> Op<BatchAnswer> {
        let done = |()| BatchAnswer::Done;
        match op.clone() {
            BatchOp::Run(spec) => process::exec(spec).map(BatchAnswer::Ran),
            BatchOp::ReadFile(path) => files::read_file(&path).map(BatchAnswer::Content),
            BatchOp::WriteFile(path, content) => {
                files::write_file(&path, None, content).map(BatchAnswer::Written)
            }
            BatchOp::Stat(path, follow) => files::stat(&path, follow).map(BatchAnswer::Stat),
            BatchOp::ListDir(path) => files::list_dir(&path).map(BatchAnswer::Entries),
            BatchOp::MakeDir(path, parents, perm) => files::make_dir(&path, parents, perm).map(done),
            BatchOp::Unlink(path) => files::unlink(&path).map(done),
            BatchOp::Rename(from, to) => files::rename(&from, &to).map(done),
            BatchOp::Syscall(call) => {
                syscall::syscall(call).map(|(ret, bufs)| BatchAnswer::Syscall(ret, bufs))
            }
        }
    }
}

#[expect(missing_docs, reason = "each is the operation of its name")]
impl GuestClient {
    pub fn exec(&mut self, spec: &ExecSpec) -> Result<ExecOutcome, GuestError> {
        self.ask(process::exec(spec.clone()))
    }

    pub fn read_file(&mut self, path: &[u8]) -> Result<Vec<u8>, GuestError> {
        self.ask(files::read_file(path))
    }

    pub fn write_file(
        &mut self,
        path: &[u8],
        perm: Option<u32>,
        content: &mut (dyn Read + Send),
    ) -> Result<u64, GuestError> {
        self.push_file(path, perm, content)
    }

    pub fn stat(&mut self, path: &[u8], follow: bool) -> Result<Stat, GuestError> {
        self.ask(files::stat(path, follow))
    }

    pub fn list_dir(&mut self, path: &[u8]) -> Result<Vec<DirEntry>, GuestError> {
        self.ask(files::list_dir(path))
    }

    pub fn make_dir(&mut self, path: &[u8], parents: bool, perm: Option<u32>) -> Result<(), GuestError> {
        self.ask(files::make_dir(path, parents, perm))
    }

    pub fn unlink(&mut self, path: &[u8]) -> Result<(), GuestError> {
        self.ask(files::unlink(path))
    }

    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), GuestError> {
        self.ask(files::rename(from, to))
    }

    pub fn open_file(&mut self, open: OpenFile) -> Result<i32, GuestError> {
        self.ask(files::open_file(open))
    }

    pub fn read_fd(&mut self, fd: i32, max: Option<u64>) -> Result<Vec<u8>, GuestError> {
        self.ask(files::read_fd(fd, max))
    }

    pub fn write_fd(&mut self, fd: i32, content: &mut (dyn Read + Send)) -> Result<u64, GuestError> {
        self.ask_with(Op::written(Request::WriteFd { fd }, None), content)
    }

    pub fn seek_fd(&mut self, fd: i32, offset: i64, whence: Whence) -> Result<u64, GuestError> {
        self.ask(files::seek_fd(fd, offset, whence))
    }

    pub fn close_fd(&mut self, fd: i32) -> Result<(), GuestError> {
        self.ask(files::close_fd(fd))
    }

    pub fn syscall(&mut self, call: Syscall) -> Result<SyscallResult, GuestError> {
        self.ask(syscall::syscall(call))
    }

    pub fn start_syscall(&mut self, call: Syscall) -> Result<Started, GuestError> {
        self.ask(syscall::start_syscall(call))
    }

    pub fn wait_syscall(
        &mut self,
        handle: u64,
        limit: Option<Duration>,
        sizes: &[usize],
    ) -> Result<Option<SyscallResult>, GuestError> {
        self.ask(syscall::wait_syscall(handle, limit, sizes.to_vec()))
    }

    pub fn process_state(&mut self, handle: u64) -> Result<Process, GuestError> {
        self.ask(process::process_state(handle))
    }

    pub fn signal_process(&mut self, handle: u64, signal: i32) -> Result<(), GuestError> {
        self.ask(process::signal_process(handle, signal))
    }

    pub fn write_stdin(&mut self, handle: u64, input: &mut (dyn Read + Send)) -> Result<u64, GuestError> {
        self.ask_with(Op::written(Request::WriteStdin { handle }, None), input)
    }

    pub fn close_stdin(&mut self, handle: u64) -> Result<(), GuestError> {
        self.ask(process::close_stdin(handle))
    }

    pub fn begin_end_process(&mut self, handle: u64) -> Result<(), GuestError> {
        self.ask(process::begin_end_process(handle))
    }

    pub fn signal_processes(&mut self, signal: i32) -> Result<u64, GuestError> {
        self.ask(process::signal_processes(signal))
    }

    pub fn join_processes(&mut self) -> Result<Vec<Joined>, GuestError> {
        self.ask(process::join_processes())
    }
}
