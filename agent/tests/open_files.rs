//! Files that stay open, folders and names.

mod common;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::{Host, bytes};
use provium_protocol::*;

/// The lowest number of the agent's own descriptors.
const OWN: i32 = 1024;

fn file(path: &Path) -> OpenFile {
    OpenFile {
        path: bytes(path),
        read: false,
        write: false,
        create: false,
        truncate: false,
        append: false,
        exclusive: false,
        perm: None,
    }
}

fn open(host: &mut Host, open: OpenFile) -> i32 {
    match host.ask(Request::OpenFile(open)).1 {
        Ok(Response::Opened { fd }) => fd,
        other => panic!("{other:?}"),
    }
}

fn read(host: &mut Host, fd: i32, max: Option<u64>) -> Vec<u8> {
    let (output, reply) = host.ask(Request::ReadFd { fd, max });
    assert_eq!(reply, Ok(Response::Done));
    output.body
}

fn seek(host: &mut Host, fd: i32, offset: i64, whence: Whence) -> Reply {
    host.ask(Request::SeekFd { fd, offset, whence }).1
}

fn done(host: &mut Host, request: Request) {
    assert_eq!(host.ask(request).1, Ok(Response::Done));
}

fn perm(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("metadata").mode() & 0o7777
}

#[test]
fn a_file_is_read_written_and_moved_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut host = Host::new();
    let fd = open(
        &mut host,
        OpenFile {
            read: true,
            write: true,
            create: true,
            ..file(&path)
        },
    );
    assert!((3..OWN).contains(&fd), "a number a test would expect: {fd}");
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i >> 3) as u8).collect();
    let (_, reply) = host.ask_with(Request::WriteFd { fd }, &content);
    assert_eq!(reply, Ok(Response::Written { bytes: 1_000_000 }));
    assert_eq!(read(&mut host, fd, Some(10)), b"", "at the end");
    assert_eq!(
        seek(&mut host, fd, -999_990, Whence::End),
        Ok(Response::Offset { offset: 10 })
    );
    assert!(
        read(&mut host, fd, Some(600_000)) == content[10..600_010],
        "as asked for"
    );
    assert_eq!(
        seek(&mut host, fd, -9, Whence::Current),
        Ok(Response::Offset { offset: 600_001 })
    );
    assert!(read(&mut host, fd, None) == content[600_001..], "to the end");
    assert_eq!(
        seek(&mut host, fd, 0, Whence::Set),
        Ok(Response::Offset { offset: 0 })
    );
    assert_eq!(read(&mut host, fd, Some(0)), b"");
    let error = seek(&mut host, fd, -1, Whence::Set).expect_err("before the beginning");
    assert_eq!(
        (error.errno, error.message),
        (Some(22), format!("seek descriptor {fd} to -1: Invalid argument"))
    );
    done(&mut host, Request::CloseFd { fd });
    for request in [
        Request::CloseFd { fd: OWN - 1 },
        Request::ReadFd {
            fd: OWN - 1,
            max: None,
        },
    ] {
        assert_eq!(host.refusal(request).errno, Some(9));
    }
    assert_eq!(
        host.refusal(Request::ReadFd { fd: -1, max: None }).message,
        "use descriptor -1: Bad file descriptor"
    );
    let (_, reply) = host.ask_with(Request::WriteFd { fd: OWN - 1 }, &content);
    assert_eq!(reply.expect_err("not open").errno, Some(9));
}

#[test]
fn flags_mean_what_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut host = Host::new();
    let refused = |host: &mut Host, open: OpenFile| host.refusal(Request::OpenFile(open)).message;
    let name = path.display();
    assert_eq!(
        refused(&mut host, file(&path)),
        format!("open `{name}`: at least one of read, write and append is needed")
    );
    let truncate = OpenFile {
        read: true,
        truncate: true,
        ..file(&path)
    };
    assert_eq!(
        refused(&mut host, truncate),
        format!("open `{name}`: truncate needs write or append")
    );
    let reading = OpenFile {
        read: true,
        ..file(&path)
    };
    let exclusive = OpenFile {
        exclusive: true,
        ..reading.clone()
    };
    assert_eq!(
        refused(&mut host, exclusive),
        format!("open `{name}`: exclusive needs create")
    );
    assert_eq!(
        refused(&mut host, reading.clone()),
        format!("open `{name}`: No such file or directory")
    );
    let fresh = OpenFile {
        write: true,
        create: true,
        exclusive: true,
        ..file(&path)
    };
    let fd = open(&mut host, fresh.clone());
    host.ask_with(Request::WriteFd { fd }, b"0123456789")
        .1
        .expect("written");
    assert_eq!(refused(&mut host, fresh), format!("open `{name}`: File exists"));
    assert_eq!(host.refusal(Request::ReadFd { fd, max: None }).errno, Some(9));

    let append = open(
        &mut host,
        OpenFile {
            append: true,
            read: true,
            ..file(&path)
        },
    );
    host.ask_with(Request::WriteFd { fd: append }, b"ab")
        .1
        .expect("written");
    seek(&mut host, append, 0, Whence::Set).expect("moved");
    host.ask_with(Request::WriteFd { fd: append }, b"cd")
        .1
        .expect("written");
    assert_eq!(fs::read(&path).expect("the file"), b"0123456789abcd");

    open(
        &mut host,
        OpenFile {
            write: true,
            truncate: true,
            ..file(&path)
        },
    );
    assert_eq!(fs::read(&path).expect("the file"), b"");
}

#[test]
fn new_files_have_exactly_the_permissions_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut host = Host::new();
    let new = |name: &str, perm| OpenFile {
        write: true,
        create: true,
        perm,
        ..file(&folder.path().join(name))
    };
    for (name, wanted) in [
        ("default", None),
        ("wide", Some(0o777)),
        ("narrow", Some(0)),
        ("odd", Some(0o6751)),
    ] {
        open(&mut host, new(name, wanted));
        assert_eq!(perm(&folder.path().join(name)), wanted.unwrap_or(0o644), "{name}");
    }
    open(&mut host, new("default", Some(0o600)));
    assert_eq!(perm(&folder.path().join("default")), 0o644, "it was there");
    // A link to where nothing is yet.
    symlink("target", folder.path().join("link")).expect("a link");
    open(&mut host, new("link", Some(0o606)));
    assert_eq!(perm(&folder.path().join("target")), 0o606);
    let message = host.refusal(Request::OpenFile(new("x", Some(0o10000)))).message;
    assert!(message.contains("has more than 0o7777"), "{message}");
}

#[test]
fn a_pipe_gives_what_one_read_gives_or_all() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut host = Host::new();
    let (from, to) = (reader.as_raw_fd(), writer.as_raw_fd());
    host.ask_with(Request::WriteFd { fd: to }, b"some")
        .1
        .expect("written");
    assert_eq!(read(&mut host, from, Some(100)), b"some");
    // More than a pipe holds: the writer waits for the reader.
    let mut other = host.beside();
    let body: Vec<u8> = (0..500_000u32).map(|i| (i >> 4) as u8).collect();
    let sent = body.clone();
    let sender = thread::spawn(move || {
        let (_, reply) = other.ask_with(Request::WriteFd { fd: to }, &sent);
        drop(writer);
        reply
    });
    assert!(read(&mut host, from, None) == body);
    assert_eq!(
        sender.join().expect("no panic"),
        Ok(Response::Written { bytes: 500_000 })
    );
    drop(reader);
}

#[test]
fn a_host_that_goes_away_while_a_pipe_is_silent_is_noticed() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    for fill in [false, true] {
        let mut host = Host::new();
        if fill {
            host.send(&Frame::Request(Request::WriteFd {
                fd: writer.as_raw_fd(),
            }));
            host.send_body(&[0; 100_000]);
        } else {
            let fd = reader.as_raw_fd();
            host.send(&Frame::Request(Request::ReadFd { fd, max: None }));
        }
        thread::sleep(Duration::from_millis(50));
        host.close().expect_err("it ended in the middle");
    }
}

#[test]
fn what_a_session_opened_is_closed_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "x").expect("a file");
    let mut host = Host::new();
    let reading = OpenFile {
        read: true,
        ..file(&path)
    };
    let fds = [open(&mut host, reading.clone()), open(&mut host, reading)];
    let is_open = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|target| target == path);
    assert!(fds.into_iter().all(is_open));
    host.close().expect("a good end");
    assert!(!fds.into_iter().any(is_open));
}

#[test]
fn folders_are_listed_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("folder");
    let mut host = Host::new();
    let list = |host: &mut Host, path: &Path| {
        let (output, reply) = host.ask(Request::ListDir { path: bytes(path) });
        assert_eq!(reply, Ok(Response::Done));
        decode_listing(&output.body).expect("a list")
    };
    done(
        &mut host,
        Request::MakeDir {
            path: bytes(&path),
            parents: false,
            perm: None,
        },
    );
    assert_eq!(list(&mut host, &path), []);
    fs::create_dir(path.join("sub")).expect("a folder");
    fs::write(path.join("b"), "").expect("a file");
    symlink("nowhere", path.join("a")).expect("a link");
    let fifo = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, path.join("B"), fifo.0, fifo.1, 0).expect("a fifo");
    let entries = list(&mut host, &path);
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_slice(), entry.entry_type))
        .collect();
    let expected = [
        (&b"B"[..], EntryType::Fifo),
        (b"a", EntryType::Symlink),
        (b"b", EntryType::File),
        (b"sub", EntryType::Directory),
    ];
    assert_eq!(entries, expected);
    // More than a frame of data.
    let many = path.join("sub");
    for at in 0..1500 {
        fs::write(many.join(format!("{at:0>200}")), "").expect("a file");
    }
    let entries = list(&mut host, &many);
    assert_eq!(entries.len(), 1500);
    assert!(entries.windows(2).all(|pair| pair[0].name < pair[1].name));

    for (path, errno, words) in [
        ("/no/such", 2, "No such file or directory"),
        ("/etc/passwd", 20, "Not a directory"),
    ] {
        let error = host.refusal(Request::ListDir { path: bytes(path) });
        assert_eq!(
            (error.errno, error.message),
            (Some(errno), format!("list `{path}`: {words}"))
        );
    }
}

#[test]
fn folders_are_made_with_their_parents() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut host = Host::new();
    let make = |path: &str, parents, perm| Request::MakeDir {
        path: bytes(folder.path().join(path)),
        parents,
        perm,
    };
    done(&mut host, make("one", false, Some(0o777)));
    assert_eq!(perm(&folder.path().join("one")), 0o777);
    let error = host.refusal(make("one", false, None));
    assert_eq!(error.errno, Some(17));
    assert!(error.message.ends_with("/one`: File exists"), "{}", error.message);
    assert_eq!(host.refusal(make("x/y", false, None)).errno, Some(2));
    done(&mut host, make("x//y/../y/z/", true, Some(0o1700)));
    assert_eq!(perm(&folder.path().join("x/y/z")), 0o1700);
    assert_eq!(perm(&folder.path().join("x/y")), 0o755);
    done(&mut host, make("x/y/z", true, Some(0o700)));
    assert_eq!(perm(&folder.path().join("x/y/z")), 0o1700, "it was there");
    fs::write(folder.path().join("file"), "").expect("a file");
    assert_eq!(host.refusal(make("file", true, None)).errno, Some(17));
    assert_eq!(host.refusal(make("file/x", true, None)).errno, Some(17));
    assert_eq!(host.refusal(make("", true, Some(0o20000))).errno, None);
}

#[test]
fn names_are_removed_and_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fs::write(&one, "1").expect("a file");
    let mut host = Host::new();
    let rename = Request::Rename {
        from: bytes(&one),
        to: bytes(&other),
    };
    done(&mut host, rename.clone());
    assert_eq!(fs::read(&other).expect("the file"), b"1");
    let error = host.refusal(rename);
    let words = "No such file or directory";
    assert_eq!(
        error.message,
        format!("rename `{}` to `{}`: {words}", one.display(), other.display())
    );
    done(&mut host, Request::Unlink { path: bytes(&other) });
    assert!(!other.exists());
    let error = host.refusal(Request::Unlink { path: bytes(&other) });
    assert_eq!(
        (error.errno, error.message),
        (Some(2), format!("unlink `{}`: {words}", other.display()))
    );
    assert_eq!(
        host.refusal(Request::Unlink {
            path: bytes(folder.path())
        })
        .errno,
        Some(21)
    );
    assert!(
        fs::metadata(folder.path())
            .expect("it is there")
            .permissions()
            .mode()
            > 0
    );
}

#[test]
fn low_numbers_are_the_tests() {
    let mut host = Host::new();
    let Ok(Response::Started { handle, .. }) =
        host.ask(Request::Start(common::program(&["sleep", "1000"]))).1
    else {
        panic!("not started")
    };
    // Whatever lies below is of this process and its files, not the agent's: no sockets but the test's own
    // end, no event counters, no process descriptors.
    let mut own = 0;
    for entry in fs::read_dir("/proc/self/fd").expect("descriptors").flatten() {
        let number: i32 = entry.file_name().to_string_lossy().parse().expect("a number");
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        if target.contains("eventfd") || target.contains("pidfd") {
            own += 1;
            assert!(number >= OWN, "{number}: {target}");
        }
    }
    assert!(own >= 2, "the program's wake-up and process are found");
    // Programs get the limit back that this process began with.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let exec = common::shell("ulimit -n");
    let (output, _) = host.ask(Request::Exec(exec));
    let given = String::from_utf8(output.stdout).expect("text");
    assert!(!given.trim().is_empty() && limit.current.is_some(), "{given}");
    done(&mut host, Request::EndProcess { handle });
}
