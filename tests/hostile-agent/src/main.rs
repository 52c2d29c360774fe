//! PID 1 of a guest whose agent greets well, answers pings, and does to any other request what a word says:
//! the last component of the path to read, or the last word of the command to run.
//!
//! Input: the kernel's environment; `hostile=version` on its command line makes the greeting the lie.
//! Output: what no agent should send.
//! Not here: anything of a guest that could be used.
#![no_main]

use std::ffi::{c_char, c_int};
use std::fs::File;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use provium_protocol::{
    BODY, Frame, HOST_PORT, Hello, MAGIC, Request, Response, VERSION, read_frame, write_frame,
};

/// The C library's entry point, taken directly, as the agent does and for its reasons: there is no `/dev`
/// here.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    let mut host = loop {
        match provium_agent::vsock::connect(HOST_PORT) {
            Ok(socket) => break File::from(socket),
            // The driver may not have found its device yet.
            Err(_) => sleep(Duration::from_millis(10)),
        }
    };
    let version = match std::env::var("hostile") {
        Ok(word) if word == "version" => VERSION + 1,
        _ => VERSION,
    };
    say(&mut host, &hello(version));
    let _ = read_frame(&mut host);
    while let Ok(frame) = read_frame(&mut host) {
        match word(&frame) {
            Some(word) => lie(&mut host, &word),
            None => say(&mut host, &Frame::Reply(Ok(Response::Done))),
        }
    }
    drop(host);
    // A PID 1 that ends is a panic, which would be another story.
    loop {
        sleep(Duration::from_secs(60));
    }
}

fn hello(version: u32) -> Frame {
    Frame::Hello(Hello {
        magic: MAGIC.to_owned(),
        version,
        build: "9.9.9".to_owned(),
        pid: 1,
    })
}

/// The word that says what is to be done; none for a ping.
fn word(frame: &Frame) -> Option<String> {
    let bytes = match frame {
        Frame::Request(Request::ReadFile { path }) => path,
        Frame::Request(Request::Exec(exec)) => exec.argv.last()?,
        _ => return None,
    };
    let text = String::from_utf8_lossy(bytes);
    text.rsplit(['/', ' ']).next().map(str::to_owned)
}

fn lie(host: &mut File, word: &str) {
    match word {
        "truncated" => {
            raw(host, &[0, 0, 1, 0, 5, 0x81, 0xa4]);
            close(host);
        }
        "closes" => close(host),
        "oversized" => raw(host, &[0xff; 100]),
        "garbage" => raw(host, &[0, 0, 0, 5, 5, 0xc1, 0xc1, 0xc1, 0xc1]),
        "hello" => say(host, &hello(VERSION + 1)),
        "other" => say(host, &Frame::Reply(Ok(Response::Offset { offset: 7 }))),
        "channel" => say(
            host,
            &Frame::Data {
                channel: 9,
                bytes: vec![0; 100],
            },
        ),
        "reordered" => {
            say(host, &Frame::Reply(Ok(Response::Done)));
            say(
                host,
                &Frame::Data {
                    channel: BODY,
                    bytes: vec![0; 100],
                },
            );
        }
        "endless" => {
            let bytes = vec![0; 256 * 1024];
            let data = Frame::Data { channel: BODY, bytes };
            while write_frame(host, &data).is_ok() {}
        }
        "drips" => {
            raw(host, &[0, 1, 0, 0, 5]);
            while host.write_all(&[0x91]).is_ok() {
                sleep(Duration::from_millis(100));
            }
        }
        // PID 1 in the middle of its words: the kernel has its own to say.
        "dies" => {
            raw(host, &[0, 0, 1, 0, 5, 0x81, 0xa4]);
            std::process::exit(1);
        }
        // Any other word, as "silent": nothing at all.
        _ => {}
    }
}

fn close(host: &File) {
    let _ = rustix::net::shutdown(host, rustix::net::Shutdown::Both);
}

/// A host that has hung up hears nothing, which is its right.
fn say(host: &mut File, frame: &Frame) {
    let _ = write_frame(host, frame);
}

fn raw(host: &mut File, bytes: &[u8]) {
    let _ = host.write_all(bytes);
}
