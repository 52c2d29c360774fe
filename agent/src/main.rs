//! The binary: PID 1 of a guest, or the agent alone where another init starts it as a service.
//!
//! Input: the process id, the arguments.
//! Output: nothing returns but for `--version` and a wrong argument.
//! Not here: everything else; it is a library, so that it can be tested.
#![no_main]

use std::ffi::{OsStr, c_char, c_int};
use std::path::Path;

/// The C library's entry point, taken directly: the standard library's own would abort in a guest without
/// `/dev/console` and `/dev/null`, before this program can make them.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    if rustix::process::getpid().is_init() {
        provium_agent::init::run();
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments
        .iter()
        .map(|argument| argument.as_os_str())
        .collect::<Vec<&OsStr>>()
        .as_slice()
    {
        [] => provium_agent::daemon::run(None, open_proc(), None, false),
        [flag] if *flag == "--version" => {
            println!(
                "provium-agent {}, protocol {}",
                env!("CARGO_PKG_VERSION"),
                provium_protocol::VERSION
            );
            0
        }
        [other, ..] => {
            eprintln!(
                "provium-agent: unknown argument `{}`; it takes none",
                Path::new(other).display()
            );
            2
        }
    }
}

fn open_proc() -> Option<rustix::fd::OwnedFd> {
    provium_agent::root::open_proc(c"/proc").ok()
}
