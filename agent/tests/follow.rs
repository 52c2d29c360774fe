//! Streams: files, descriptors and output that are pushed as they grow.

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::{Host, bytes, shell};
use provium_protocol::*;

/// Begins a stream on a session of its own; where it begins.
fn follow(host: &Host, follow: Follow) -> (Host, u64) {
    let mut stream = host.beside();
    match stream.ask(Request::Follow(follow)).1 {
        Ok(Response::Following { offset }) => (stream, offset),
        other => panic!("{other:?}"),
    }
}

/// The next bytes, exactly so many; it must not come to its end.
fn take(stream: &mut Host, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match read_frame(&mut stream.stream).expect("a frame") {
            Frame::Data {
                channel: BODY,
                bytes: more,
            } => bytes.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes.len(), count, "no more than that");
    bytes
}

/// All to the end.
fn rest(stream: &mut Host) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match read_frame(&mut stream.stream).expect("a frame") {
            Frame::Data {
                channel: BODY,
                bytes: more,
            } => bytes.extend(more),
            Frame::End { channel: BODY } => return bytes,
            other => panic!("{other:?}"),
        }
    }
}

fn file(path: &Path, start: FollowStart) -> Follow {
    Follow::File {
        path: bytes(path),
        start,
    }
}

fn start(host: &mut Host, line: &str) -> u64 {
    match host.ask(Request::Start(shell(line))).1 {
        Ok(Response::Started { handle, .. }) => handle,
        other => panic!("{other:?}"),
    }
}

fn of(handle: u64, stderr: bool, from: u64) -> Follow {
    Follow::Output { handle, stderr, from }
}

fn wait(handle: u64) -> Request {
    Request::WaitProcess(WaitProcess {
        handle,
        timeout_ms: None,
        kill: false,
        from: [0, 0],
    })
}

#[test]
fn output_comes_as_it_is_written() {
    let mut host = Host::new();
    let handle = start(&mut host, "echo one; read go; echo two; echo three >&2; read go");
    let (mut early, offset) = follow(&host, of(handle, false, 0));
    assert_eq!((offset, take(&mut early, 4)), (0, b"one\n".to_vec()));
    let (mut errors, _) = follow(&host, of(handle, true, 0));
    let go = |host: &mut Host| {
        host.ask_with(Request::WriteStdin { handle }, b"\n")
            .1
            .expect("written")
    };
    go(&mut host);
    assert_eq!(take(&mut early, 4), b"two\n");
    assert_eq!(take(&mut errors, 6), b"three\n");
    let (mut late, offset) = follow(&host, of(handle, false, 2));
    assert_eq!((offset, take(&mut late, 6)), (2, b"e\ntwo\n".to_vec()));
    go(&mut host);
    assert_eq!(
        host.ask(wait(handle)).0.stdout,
        b"one\ntwo\n",
        "and all once more"
    );
    for stream in [&mut early, &mut late, &mut errors] {
        assert_eq!(rest(stream), b"", "nothing twice");
        stream.end().expect("the session is over with its stream");
    }
}

#[test]
fn streams_and_a_wait_get_the_same_however_much_it_is() {
    let line = "i=0; while [ $i -lt 40 ]; do head -c 1000000 /dev/urandom; i=$((i+1)); done";
    let mut host = Host::new();
    let handle = start(&mut host, line);
    let (mut slow, _) = follow(&host, of(handle, false, 0));
    let (mut fast, _) = follow(&host, of(handle, false, 0));
    let fast = thread::spawn(move || rest(&mut fast));
    // While the slow one does not read, others go on only as far as the buffer reaches; nobody loses
    // anything.
    let waiting = thread::spawn(move || host.ask(wait(handle)).0.stdout);
    thread::sleep(Duration::from_millis(300));
    let slow = rest(&mut slow);
    assert_eq!(slow.len(), 40_000_000);
    assert!(fast.join().expect("no panic") == slow, "each gets all of it");
    assert!(waiting.join().expect("no panic") == slow, "so does who waits");
}

#[test]
fn a_host_that_hangs_up_a_stream_frees_what_was_kept_for_it() {
    let mut host = Host::new();
    let handle = start(&mut host, "head -c 40000000 /dev/zero");
    let (idle, _) = follow(&host, of(handle, false, 0));
    // Whether something was being written to it at that moment does not matter.
    let _ = idle.close();
    assert_eq!(host.ask(wait(handle)).0.stdout.len(), 40_000_000);

    let handle = start(&mut host, "sleep 1000");
    let (silent, _) = follow(&host, of(handle, false, 0));
    silent
        .close()
        .expect("it is noticed while there is nothing to send");
}

#[test]
fn a_file_is_followed_as_it_grows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "0123456789").expect("a file");
    let host = Host::new();
    let (mut end, offset) = follow(&host, file(&path, FollowStart::End));
    assert_eq!(offset, 10);
    let (mut tail, offset) = follow(&host, file(&path, FollowStart::Offset(-3)));
    assert_eq!((offset, take(&mut tail, 3)), (7, b"789".to_vec()));
    let mut log = fs::File::options().append(true).open(&path).expect("the file");
    log.write_all(b"abc").expect("written");
    assert_eq!(take(&mut end, 3), b"abc");
    assert_eq!(take(&mut tail, 3), b"abc");
    fs::write(&path, "new").expect("truncated and written");
    assert_eq!(take(&mut end, 3), b"new");
    fs::rename(&path, folder.path().join("log.1")).expect("renamed");
    fs::write(&path, "next").expect("a new one");
    assert_eq!(take(&mut end, 4), b"next");
    end.close().expect("the host's hang-up is its end");
}

#[test]
fn nothing_is_lost_of_a_fast_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "").expect("a file");
    let host = Host::new();
    let (mut stream, _) = follow(&host, file(&path, FollowStart::End));
    let expected: Vec<u8> = (0..300_000u32)
        .flat_map(|line| format!("line {line}\n").into_bytes())
        .collect();
    let content = expected.clone();
    let writer = thread::spawn(move || {
        let mut log = fs::File::options().append(true).open(&path).expect("the file");
        content
            .chunks(1234)
            .for_each(|chunk| log.write_all(chunk).expect("written"));
    });
    assert!(take(&mut stream, expected.len()) == expected);
    writer.join().expect("no panic");
}

#[test]
fn a_descriptor_is_followed_to_its_end() {
    let host = Host::new();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (mut stream, offset) = follow(
        &host,
        Follow::Fd {
            fd: reader.as_raw_fd(),
        },
    );
    assert_eq!(offset, 0);
    writer.write_all(b"through").expect("written");
    assert_eq!(take(&mut stream, 7), b"through");
    // It has a copy: the test may close its own.
    drop(reader);
    writer.write_all(b" the pipe").expect("written");
    drop(writer);
    assert_eq!(rest(&mut stream), b" the pipe");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "0123456789").expect("a file");
    let mut own = fs::File::open(&path).expect("the file");
    std::io::Seek::seek(&mut own, std::io::SeekFrom::Start(4)).expect("moved");
    let (mut stream, offset) = follow(&host, Follow::Fd { fd: own.as_raw_fd() });
    assert_eq!((offset, take(&mut stream, 6)), (4, b"456789".to_vec()));
    fs::File::options()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(b"more"))
        .expect("written");
    assert_eq!(take(&mut stream, 4), b"more");
    assert_eq!(std::io::Seek::stream_position(&mut own).expect("its position"), 4);
}

#[test]
fn what_cannot_be_followed_leaves_the_session_as_it_is() {
    let mut host = Host::new();
    for what in [
        file(Path::new("/no/such/file"), FollowStart::End),
        Follow::Fd { fd: -1 },
        Follow::Fd { fd: 1023 },
        of(99, false, 0),
    ] {
        let error = host.refusal(Request::Follow(what.clone()));
        assert!(!error.message.is_empty(), "{what:?}");
    }
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}
