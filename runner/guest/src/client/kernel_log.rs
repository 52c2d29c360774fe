//! The guest's kernel log, by the system call of that purpose, so that a guest without any program can be
//! asked.
//!
//! Input: a session. Output: the log as `dmesg --raw` has it, `<6>[    0.0] Linux version …`, at most its
//! last 16 MiB. Not here: following it; the console does.

use std::io;

use provium_protocol::Syscall;

use super::session::GuestClient;
use super::syscall::syscall;
use crate::error::GuestError;

/// Number of the system call syslog.
const SYSLOG: i64 = 103;
/// Action of the system call: read all of the log, as much of its end as fits.
const READ_ALL: u64 = 3;
/// Action of the system call: tell the bytes that the log takes.
const SIZE_BUFFER: u64 = 10;
/// Most bytes that are read: what one buffer can have.
const MOST: i64 = 16 << 20;

impl GuestClient {
    /// The whole kernel log; two round trips. The inner error is the guest's own.
    ///
    /// # Errors
    /// Those of [`ask`](Self::ask).
    pub fn kernel_log(&mut self) -> Result<io::Result<Vec<u8>>, GuestError> {
        let size = match self.syslog([SIZE_BUFFER, 0], None)? {
            Ok((size, _)) => size.clamp(0, MOST),
            Err(error) => return Ok(Err(error)),
        };
        let read = self.syslog([READ_ALL, size.cast_unsigned()], Some(size as usize))?;
        Ok(read.map(|(length, mut log)| {
            log.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            log
        }))
    }

    fn syslog(
        &mut self,
        args: [u64; 2],
        buf: Option<usize>,
    ) -> Result<io::Result<(i64, Vec<u8>)>, GuestError> {
        let call = Syscall {
            nr: SYSLOG,
            args: [args[0], 0, args[1], 0, 0, 0],
            bufs: buf.map(|size| vec![0; size].into()).into_iter().collect(),
            ptrs: buf.map(|_| (1, 0)).into_iter().collect(),
            nested: Vec::new(),
        };
        let (ret, bufs) = self.ask(syscall(call))?;
        if ret < 0 {
            let number = i32::try_from(-ret).unwrap_or(i32::MAX);
            return Ok(Err(io::Error::from_raw_os_error(number)));
        }
        Ok(Ok((ret, bufs.into_iter().next().unwrap_or_default())))
    }
}
