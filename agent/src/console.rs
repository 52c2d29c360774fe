//! Messages on the guest's console, few of them: a serial port is slow.
//!
//! Input: one message.
//! Output: one whole line on standard error.
//! Not here: levels and a log; the host reads the console.

use std::fmt::{Arguments, Write as _};

/// Prints one line `provium-agent: …` to standard error, which is the console; a guest without one loses it.
pub(crate) fn print(message: Arguments<'_>) {
    let mut line = String::from("provium-agent: ");
    // Writing to a string does not fail.
    let _ = line.write_fmt(message);
    line.push('\n');
    // One write, so that lines of several threads and of the kernel stay whole.
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

/// [`print()`] with `format!`'s arguments.
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}
pub(crate) use say;
