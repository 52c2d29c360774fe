//! A folder of the host's with a secret beside it, and requests of FUSE to the server of that folder.
//!
//! Input: choices. Output: requests, and panics where anything outside of the folder is shown or changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use provium_vmm::share::SharedFolder;

use crate::device::{Driver, Host};
use crate::input::Input;

/// What is in files that no guest may see.
const SECRET: &[u8] = b"what no guest may see";
/// Names of requests: what is there, what leads out, what is too long or none.
const NAMES: [&str; 16] = [
    "0",
    "1",
    "file",
    "sub",
    "below",
    "out",
    "up",
    "abs",
    "..",
    ".",
    "",
    "a/b",
    "new",
    "newer",
    "../secret",
    "pipe",
];
/// The requests that there are, and some that there are not.
const OPERATIONS: [u32; 28] = [
    1, 1, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 15, 15, 16, 17, 20, 26, 28, 30, 36, 38, 42, 44, 45, 99,
];

/// The folder and what is beside it; removed in the end.
pub struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    /// A folder in memory where the host has one.
    pub fn new() -> Outside {
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let folder = tempfile::Builder::new().prefix("provium-fuzz-").tempdir_in(place);
        let outside = Outside {
            folder: folder.expect("a folder"),
        };
        fs::create_dir(outside.path("secrets")).expect("a folder");
        for name in ["secret", "secrets/secret"] {
            fs::write(outside.path(name), SECRET).expect("write a file");
        }
        outside.fill();
        outside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the shared folder what it is at the start of every execution.
    pub fn fill(&self) {
        let shared = self.path("shared");
        let _ = fs::remove_dir_all(&shared);
        fs::create_dir_all(shared.join("sub")).expect("a folder");
        fs::write(shared.join("file"), b"hello").expect("a file");
        fs::write(shared.join("sub/below"), b"below").expect("a file");
        symlink("../secrets", shared.join("out")).expect("a link");
        symlink("..", shared.join("sub/up")).expect("a link");
        symlink(self.path("secret"), shared.join("abs")).expect("a link");
    }

    /// What is shared of it.
    pub fn shared(&self, writable: bool, public: bool) -> SharedFolder {
        SharedFolder {
            path: self.path("shared"),
            writable,
            public,
        }
    }

    /// Fails if anything has changed that is not shared.
    pub fn check(&self) {
        for name in ["secret", "secrets/secret"] {
            let found = fs::read(self.path(name)).expect("the secret is where it was");
            assert_eq!(found, SECRET, "{name} was changed");
        }
        let count = |name: &str| fs::read_dir(self.path(name)).map_or(0, Iterator::count);
        assert_eq!(count(""), 3, "something is new beside the shared folder");
        assert_eq!(
            count("secrets"),
            1,
            "something is new in a folder that is not shared"
        );
    }

    /// Fails if an answer has what no guest may see.
    pub fn check_answer(&self, answer: &[u8]) {
        let shows = |secret: &[u8]| answer.windows(secret.len()).any(|bytes| bytes == secret);
        assert!(!shows(SECRET), "an answer has the secret");
    }
}

impl Default for Outside {
    fn default() -> Outside {
        Outside::new()
    }
}

/// A request: a header that is right, and what the input has for it.
pub fn request(input: &mut Input<'_>) -> Vec<u8> {
    let operation = input.pick(&OPERATIONS);
    let mut body = Vec::new();
    match operation {
        1 | 10 | 11 => put_name(&mut body, input),
        6 => (0..2).for_each(|_| put_name(&mut body, input)),
        8 => {
            body.extend(
                input
                    .pick(&[0o100_644u32, 0o10_644, 0o140_644, 0o20_644])
                    .to_le_bytes(),
            );
            body.extend([0; 12]);
            put_name(&mut body, input);
        }
        9 => {
            body.extend([0xed, 1, 0, 0, 0, 0, 0, 0]);
            put_name(&mut body, input);
        }
        12 | 13 | 45 => {
            body.extend(u64::from(input.u8() & 15).to_le_bytes());
            if operation == 45 {
                body.extend(u64::from(input.u8() & 7).to_le_bytes());
            }
            put_name(&mut body, input);
            put_name(&mut body, input);
        }
        15 | 28 | 44 => {
            body.extend([0; 8]);
            body.extend(u64::from(input.u8()).to_le_bytes());
            body.extend(input.pick(&[4096u32, 100, 0, u32::MAX]).to_le_bytes());
            body.extend([0; 20]);
        }
        16 => {
            body.extend([0; 8]);
            body.extend(input.small_or_any().to_le_bytes());
            let data = input.bytes();
            body.extend((data.len() as u32).to_le_bytes());
            body.extend([0; 20]);
            body.extend(data);
        }
        4 => {
            let (valid, size) = (input.u16(), u64::from(input.u16()));
            body.extend(u32::from(valid).to_le_bytes());
            body.extend([0; 12]);
            body.extend(size.to_le_bytes());
            body.extend(input.bytes());
            body.resize(88, 0);
        }
        26 => {
            body.extend([7, 0, 0, 0, 31, 0, 0, 0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff]);
            body.extend([0; 48]);
        }
        _ => {}
    }
    body.extend(input.bytes());
    let mut request = Vec::from((40 + body.len() as u32).to_le_bytes());
    request.extend(operation.to_le_bytes());
    request.extend(7u64.to_le_bytes());
    let node = if input.u8() & 31 == 0 {
        input.u64()
    } else {
        u64::from(input.u8() & 15)
    };
    request.extend(node.to_le_bytes());
    request.extend([0; 16]);
    request.extend(body);
    request
}

fn put_name(body: &mut Vec<u8>, input: &mut Input<'_>) {
    match input.u8() {
        255 => body.extend(input.bytes()),
        number => body.extend(NAMES[usize::from(number) % NAMES.len()].as_bytes()),
    }
    body.push(0);
}

impl Host for &Outside {
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        let room = input.pick(&[4096, 200, 16, 0]);
        let queue = u16::from(input.u8() & 1);
        driver.send(queue, &request(input), room);
    }

    fn check(&mut self, _driver: &Driver) {}
}
