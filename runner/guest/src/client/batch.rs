//! Several requests sent in one go, each answered by itself.
//!
//! Enters: a list of [`BatchOp`]s. Leaves: an answer or an error for each, in the same order; one that fails stops no
//! other. The requests go out on a thread of their own while the answers are read, so that neither side waits for the
//! other however much there is to say. Absent on purpose: requests whose answer the next one needs.

use provium_protocol::{BODY, DirEntry, Request, Response, STDERR, STDOUT, Stat, Syscall};

use super::process::collect;
use super::{ExecOutcome, ExecSpec, GuestClient};
use crate::GuestError;
use crate::exchange::Piped;

/// One request of a batch.
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

/// What one request of a batch came to.
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

impl BatchOp {
    fn request(&self) -> Result<Request, GuestError> {
        let path = |path: &Vec<u8>| path.clone().into();
        Ok(match self {
            BatchOp::Run(spec) => Request::Exec(spec.message()?),
            BatchOp::ReadFile(at) => Request::ReadFile { path: path(at) },
            BatchOp::WriteFile(at, _) => Request::WriteFile {
                path: path(at),
                perm: None,
            },
            BatchOp::Stat(at, follow) => Request::Stat {
                path: path(at),
                follow: *follow,
            },
            BatchOp::ListDir(at) => Request::ListDir { path: path(at) },
            BatchOp::MakeDir(at, parents, perm) => Request::MakeDir {
                path: path(at),
                parents: *parents,
                perm: *perm,
            },
            BatchOp::Unlink(at) => Request::Unlink { path: path(at) },
            BatchOp::Rename(from, to) => Request::Rename {
                from: path(from),
                to: path(to),
            },
            BatchOp::Syscall(call) => Request::Syscall(call.clone()),
        })
    }

    fn body(&self) -> Option<&[u8]> {
        match self {
            BatchOp::Run(spec) => spec.stdin.as_deref(),
            BatchOp::WriteFile(_, content) => Some(content),
            _ => None,
        }
    }

    fn takes(&self, channel: u8) -> bool {
        match self {
            BatchOp::Run(_) => matches!(channel, STDOUT | STDERR),
            BatchOp::ReadFile(_) | BatchOp::ListDir(_) => channel == BODY,
            _ => false,
        }
    }
}

impl GuestClient {
    /// Makes all these requests in one go.
    ///
    /// # Errors
    /// Only what ends the session; what one request failed with is its own answer.
    pub fn batch(&mut self, ops: &[BatchOp]) -> Result<Vec<Result<BatchAnswer, GuestError>>, GuestError> {
        let mut pipe = Piped::default();
        let mut refused = Vec::new();
        for op in ops {
            let queued = op.request().and_then(|request| pipe.push(request, op.body()));
            refused.push(queued.err());
        }
        let sent: Vec<&BatchOp> = ops
            .iter()
            .zip(&refused)
            .filter_map(|(op, refused)| refused.is_none().then_some(op))
            .collect();
        let mut data: Vec<[Vec<u8>; 2]> = vec![Default::default(); sent.len()];
        let replies = self.exchange.pipeline(pipe, &mut |at, channel, bytes| {
            if !sent[at].takes(channel) {
                return false;
            }
            let [out, err] = &mut data[at];
            match channel {
                BODY => out.extend_from_slice(bytes),
                channel => return collect(out, err)(channel, bytes),
            }
            true
        })?;
        let mut answered = replies.into_iter().zip(data);
        let answer = |(op, refused): (&BatchOp, Option<GuestError>)| {
            if let Some(error) = refused {
                return Ok(Err(error));
            }
            match answered.next() {
                Some((Ok(response), data)) => match self.batch_answer(op, response, data) {
                    Err(error) if !error.session_lives() => Err(error),
                    answer => Ok(answer),
                },
                Some((Err(error), _)) => Ok(Err(GuestError::Op(error))),
                None => Err(GuestError::Protocol("an answer is missing".to_owned())),
            }
        };
        ops.iter().zip(refused).map(answer).collect()
    }

    fn batch_answer(
        &mut self,
        op: &BatchOp,
        response: Response,
        [out, err]: [Vec<u8>; 2],
    ) -> Result<BatchAnswer, GuestError> {
        match op {
            BatchOp::Run(_) => self.ran(response, out, err).map(BatchAnswer::Ran),
            BatchOp::ReadFile(_) => self.is_done(response).map(|()| BatchAnswer::Content(out)),
            BatchOp::WriteFile(..) => self.is_written(response).map(BatchAnswer::Written),
            BatchOp::Stat(..) => self.is_stat(response).map(BatchAnswer::Stat),
            BatchOp::ListDir(_) => {
                self.is_done(response)?;
                self.is_listing(&out).map(BatchAnswer::Entries)
            }
            BatchOp::MakeDir(..) | BatchOp::Unlink(_) | BatchOp::Rename(..) => {
                self.is_done(response).map(|()| BatchAnswer::Done)
            }
            BatchOp::Syscall(call) => {
                let sizes: Vec<usize> = call.bufs.iter().map(|buf| buf.len()).collect();
                let result = self.is_result(response, &sizes);
                result.map(|(ret, bufs)| BatchAnswer::Syscall(ret, bufs))
            }
        }
    }
}
