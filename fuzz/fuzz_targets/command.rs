//! The command line, as arguments with zeros between them.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use provium::cli::args::Cli;
use provium_fuzz::seeds;

fn first_inputs() -> Vec<Vec<u8>> {
    [
        "-v\0-j\04\0-k\0name and not other\0tests",
        "run\0-k\0.\0--rootfs\0host\0--share\0a:b\0--\0uname\0-a",
        "fixture\0build\0a\0--json",
        "--tag-meta\0a=b\0--junit\0x.xml\0--since\0HEAD~1",
        "host\0--memory\01G\0--\0sh",
        "list\0--fixtures\0--json",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fuzz_target!(
    init: seeds::plant(first_inputs()),
    |bytes: &[u8]| {
        let words = bytes.split(|byte| *byte == 0).map(OsStr::from_bytes);
        if let Err(error) = Cli::try_parse_from(std::iter::once(OsStr::new("provium")).chain(words)) {
            let _ = error.to_string();
        }
    }
);
