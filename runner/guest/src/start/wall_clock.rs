//! A guest's clocks, by system calls of its agent.
//!
//! Input: a session. Output: nanoseconds since 1970 or since the boot, or a wall clock that was set. Not
//! here: waiting for time to pass.

use provium_protocol::Syscall;

use crate::client::session::GuestClient;
use crate::client::syscall;
use crate::error::GuestError;

const CLOCK_SETTIME: i64 = 227;
const CLOCK_GETTIME: i64 = 228;
const CLOCK_REALTIME: u64 = 0;
const CLOCK_BOOTTIME: u64 = 7;
const NANOS: i64 = 1_000_000_000;

/// C's `struct timespec`.
pub fn timespec(seconds: i64, nanos: i64) -> Vec<u8> {
    [seconds.to_le_bytes(), nanos.to_le_bytes()].concat()
}

/// Nanoseconds since 1970.
///
/// # Errors
/// [`GuestError`]; a session that answers nonsense is told as such.
pub fn get(client: &mut GuestClient) -> Result<i64, GuestError> {
    read(client, CLOCK_REALTIME)
}

/// Nanoseconds since the kernel started, those in which it was suspended included.
///
/// # Errors
/// As [`get`].
pub fn since_boot(client: &mut GuestClient) -> Result<i64, GuestError> {
    read(client, CLOCK_BOOTTIME)
}

fn read(client: &mut GuestClient, clock: u64) -> Result<i64, GuestError> {
    let (ret, time) = call(client, CLOCK_GETTIME, clock, vec![0; 16])?;
    let word = |at: usize| {
        let bytes = time.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i64::from_le_bytes)
    };
    let ns = || word(0)?.checked_mul(NANOS)?.checked_add(word(8)?);
    match (ret, ns()) {
        (0, Some(ns)) => Ok(ns),
        (ret, _) => Err(failed("clock_gettime", ret)),
    }
}

/// Sets the clock to nanoseconds since 1970.
///
/// # Errors
/// [`GuestError`], with the kernel's reason where it refuses.
pub fn set(client: &mut GuestClient, ns: i64) -> Result<(), GuestError> {
    let time = timespec(ns.div_euclid(NANOS), ns.rem_euclid(NANOS));
    match call(client, CLOCK_SETTIME, CLOCK_REALTIME, time)? {
        (0, _) => Ok(()),
        (ret, _) => Err(failed("clock_settime", ret)),
    }
}

fn call(client: &mut GuestClient, nr: i64, clock: u64, time: Vec<u8>) -> Result<(i64, Vec<u8>), GuestError> {
    let message = Syscall {
        nr,
        args: [clock, 0, 0, 0, 0, 0],
        bufs: vec![time.into()],
        ptrs: vec![(1, 0)],
        nested: Vec::new(),
    };
    let (ret, bufs) = client.ask(syscall::syscall(message))?;
    Ok((ret, bufs.into_iter().next().unwrap_or_default()))
}

fn failed(what: &str, ret: i64) -> GuestError {
    let errno = i32::try_from(-ret).unwrap_or(i32::MAX);
    let error = std::io::Error::from_raw_os_error(errno);
    GuestError::Op(provium_protocol::OpError {
        errno: Some(errno),
        message: format!("{what}: {error}"),
    })
}
