//! Files: any size, any bytes, and errors that name them.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::Host;
use provium_protocol::*;
use serde_bytes::ByteBuf;

fn bytes(path: &Path) -> ByteBuf {
    path.as_os_str().as_encoded_bytes().to_vec().into()
}

fn read(path: &Path) -> Request {
    Request::ReadFile { path: bytes(path) }
}

fn write(path: &Path, perm: Option<u32>) -> Request {
    Request::WriteFile {
        path: bytes(path),
        perm,
    }
}

fn error(errno: i32, message: String) -> Reply {
    Err(OpError {
        errno: Some(errno),
        message,
    })
}

#[test]
fn content_of_any_size_goes_both_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut host = Host::new();
    for size in [0, 1, DATA_CHUNK - 1, DATA_CHUNK, DATA_CHUNK + 1, 64 << 20] {
        let content: Vec<u8> = (0..size as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let (_, reply) = host.ask_with(write(&path, None), &content);
        assert_eq!(reply, Ok(Response::Written { bytes: size as u64 }));
        assert!(
            fs::read(&path).expect("the file") == content,
            "{size} bytes arrive"
        );
        let (output, reply) = host.ask(read(&path));
        assert_eq!(reply, Ok(Response::Done));
        assert!(output.body == content, "{size} bytes come back");
    }
}

#[test]
fn files_that_do_not_know_their_size_come_whole() {
    let mut host = Host::new();
    let (output, reply) = host.ask(read(Path::new("/proc/self/status")));
    assert_eq!(reply, Ok(Response::Done));
    assert!(String::from_utf8_lossy(&output.body).contains("Pid:"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut host = Host::new();
    let mut fails = |path: &str| host.ask(read(Path::new(path))).1;
    assert_eq!(
        fails("/no/such/file"),
        error(2, "open `/no/such/file`: No such file or directory".to_owned())
    );
    assert_eq!(fails("/etc"), error(21, "read `/etc`: Is a directory".to_owned()));
    assert_eq!(
        fails(""),
        error(2, "open ``: No such file or directory".to_owned())
    );
    assert_eq!(
        fails("a\0b"),
        error(22, "open `a\0b`: Invalid argument".to_owned())
    );
    assert_eq!(
        fails("/etc/passwd/x"),
        error(20, "open `/etc/passwd/x`: Not a directory".to_owned())
    );
}

#[test]
fn a_new_file_gets_its_bits_and_an_old_one_keeps_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut host = Host::new();
    let mut bits = |name: &str, perm: Option<u32>| {
        let path = folder.path().join(name);
        host.ask_with(write(&path, perm), b"x").1.expect("written");
        fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
    };
    assert_eq!(bits("plain", None), 0o644);
    assert_eq!(bits("open", Some(0o666)), 0o666, "whatever the umask");
    assert_eq!(bits("set", Some(0o4755)), 0o4755);
    assert_eq!(bits("none", Some(0)), 0);
    assert_eq!(bits("plain", Some(0o600)), 0o644, "it exists");
    let (_, reply) = host.ask_with(write(&folder.path().join("x"), Some(0o10644)), b"x");
    let message = reply.expect_err("too many bits").message;
    assert!(
        message.starts_with("perm 0o10644 for `") && message.ends_with("has more than 0o7777"),
        "{message}"
    );
}

#[test]
fn a_shorter_content_replaces_a_longer_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&path, "a long content").expect("a file");
    symlink(&path, &link).expect("a link");
    let mut host = Host::new();
    host.ask_with(write(&link, None), b"short").1.expect("written");
    assert_eq!(fs::read(&path).expect("the file"), b"short");
}

#[test]
fn a_body_that_cannot_be_written_is_taken_all_the_same() {
    let mut host = Host::new();
    let body = vec![7; 3_000_000];
    let (_, reply) = host.ask_with(write(Path::new("/no/such/folder/x"), None), &body);
    assert_eq!(
        reply,
        error(
            2,
            "open `/no/such/folder/x` to write: No such file or directory".to_owned()
        )
    );
    let (_, reply) = host.ask_with(write(Path::new("/etc"), None), &body);
    assert_eq!(
        reply,
        error(21, "open `/etc` to write: Is a directory".to_owned())
    );
    let (_, reply) = host.ask_with(write(Path::new("/dev/full"), None), &body);
    assert_eq!(
        reply,
        error(
            28,
            "write `/dev/full` after 0 bytes: No space left on device".to_owned()
        )
    );
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn metadata_is_the_files_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "12345").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o1751)).expect("a mode");
    let time = rustix::fs::Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 123_456_789,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::empty();
    rustix::fs::utimensat(rustix::fs::CWD, &file, &times, flags).expect("a time");
    symlink(&file, &link).expect("a link");

    let mut host = Host::new();
    let mut stat = |path: &Path, follow| match host
        .ask(Request::Stat {
            path: bytes(path),
            follow,
        })
        .1
    {
        Ok(Response::Stat(stat)) => stat,
        other => panic!("{other:?}"),
    };
    let own = fs::metadata(&file).expect("metadata");
    let expected = Stat {
        size: 5,
        atime_ns: 1_000_000_000_123_456_789,
        mtime_ns: 1_000_000_000_123_456_789,
        ctime_ns: own.ctime() * 1_000_000_000 + own.ctime_nsec(),
        mode: 0o101_751,
        uid: own.uid(),
        gid: own.gid(),
        nlink: 1,
        ino: own.ino(),
        entry_type: EntryType::File,
        target: None,
    };
    assert_eq!(stat(&file, true), expected);
    assert_eq!(stat(&link, true), expected);
    let itself = stat(&link, false);
    assert_eq!(itself.entry_type, EntryType::Symlink);
    assert_eq!(itself.target, Some(bytes(&file)));
    let early = rustix::fs::Timespec {
        tv_sec: -2,
        tv_nsec: 500_000_000,
    };
    let times = rustix::fs::Timestamps {
        last_access: early,
        last_modification: early,
    };
    rustix::fs::utimensat(rustix::fs::CWD, &file, &times, flags).expect("a time");
    assert_eq!(stat(&file, true).mtime_ns, -1_500_000_000);
    assert_eq!(stat(folder.path(), false).entry_type, EntryType::Directory);
    assert_eq!(
        stat(Path::new("/dev/null"), false).entry_type,
        EntryType::CharDevice
    );

    let fifo = folder.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).expect("a fifo");
    assert_eq!(stat(&fifo, false).entry_type, EntryType::Fifo);
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    assert_eq!(stat(&socket, false).entry_type, EntryType::Socket);

    let missing = Request::Stat {
        path: b"/no/such/file".to_vec().into(),
        follow: true,
    };
    assert_eq!(
        host.ask(missing).1,
        error(2, "stat `/no/such/file`: No such file or directory".to_owned())
    );
}
