//! Trees, links and attributes: each op changes what its path names, and nothing behind a link of a tree.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use common::{Host, bytes};
use provium_protocol::*;

fn done(host: &mut Host, request: Request) {
    let shown = format!("{request:?}");
    assert_eq!(host.ask(request).1, Ok(Response::Done), "{shown}");
}

fn remove(path: impl AsRef<std::ffi::OsStr>, recursive: bool) -> Request {
    let path = bytes(path);
    Request::RemoveDir { path, recursive }
}

#[test]
fn a_folder_is_removed_when_it_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    fs::create_dir_all(path.join("b")).expect("folders");
    let mut host = Host::new();
    let error = host.refusal(remove(&path, false));
    assert_eq!(
        (error.errno, error.message),
        (
            Some(39),
            format!("rmdir `{}`: Directory not empty", path.display())
        )
    );
    done(&mut host, remove(path.join("b"), false));
    done(&mut host, remove(&path, false));
    assert!(!path.exists());
    assert_eq!(host.refusal(remove(&path, false)).errno, Some(2));
    assert_eq!(host.refusal(remove(&path, true)).errno, Some(2));
    assert_eq!(host.refusal(remove("a\0b", true)).errno, Some(22));
}

#[test]
fn a_tree_is_removed_and_nothing_that_its_links_lead_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tree, outside) = (folder.path().join("tree"), folder.path().join("outside"));
    fs::create_dir_all(tree.join("a/b/c")).expect("folders");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("kept"), "kept").expect("a file");
    fs::write(tree.join("a/file"), "").expect("a file");
    symlink(&outside, tree.join("a/b/link")).expect("a link");
    symlink(outside.join("kept"), tree.join("link")).expect("a link");
    let link = folder.path().join("link");
    symlink(&outside, &link).expect("a link");
    let mut host = Host::new();
    done(&mut host, remove(&tree, true));
    assert!(!tree.exists());
    for path in [link.clone(), link.join(""), outside.join("kept")] {
        assert_eq!(host.refusal(remove(&path, true)).errno, Some(20), "{path:?}");
    }
    assert_eq!(fs::read(outside.join("kept")).expect("the file"), b"kept");
    assert!(link.is_symlink());
}

#[test]
fn permission_bits_are_what_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "").expect("a file");
    symlink(&file, &link).expect("a link");
    let mut host = Host::new();
    let path = bytes(&link);
    done(&mut host, Request::Chmod { path, perm: 0o4751 });
    assert_eq!(
        fs::metadata(&file).expect("metadata").permissions().mode() & 0o7777,
        0o4751
    );
    let path = bytes(&file);
    let error = host.refusal(Request::Chmod { path, perm: 0o10000 });
    assert!(
        error.errno.is_none() && error.message.contains("0o10000"),
        "{error:?}"
    );
    let path = bytes("/none");
    let error = host.refusal(Request::Chmod { path, perm: 0 });
    assert_eq!(error.message, "chmod `/none`: No such file or directory");
}

#[test]
fn owners_change_one_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "").expect("a file");
    symlink("/none", &link).expect("a link");
    let mut host = Host::new();
    let mut chown = |path: &std::path::Path, uid, gid, follow| {
        let path = bytes(path);
        host.ask(Request::Chown {
            path,
            uid,
            gid,
            follow,
        })
        .1
    };
    let owners = |path: &std::path::Path| {
        let metadata = fs::symlink_metadata(path).expect("metadata");
        (metadata.uid(), metadata.gid())
    };
    let (uid, gid) = owners(&file);
    // What it is already is anybody's to say.
    assert_eq!(chown(&file, Some(uid), None, true), Ok(Response::Done));
    assert_eq!(chown(&link, None, Some(gid), false), Ok(Response::Done));
    assert_eq!(
        chown(&link, None, Some(gid), true).map_err(|e| e.errno),
        Err(Some(2))
    );
    let error = chown(&file, Some(u32::MAX), None, true).expect_err("no id");
    assert!(error.message.ends_with("4294967295 is no id"), "{error:?}");
    if rustix::process::geteuid().is_root() {
        assert_eq!(chown(&file, Some(1000), None, true), Ok(Response::Done));
        assert_eq!(owners(&file), (1000, gid));
        assert_eq!(chown(&link, Some(5), Some(6), false), Ok(Response::Done));
        assert_eq!(owners(&link), (5, 6));
    }
}

#[test]
fn links_say_what_they_were_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    let mut host = Host::new();
    let target = b"no/where\xff".to_vec();
    let make = Request::Symlink {
        target: target.clone().into(),
        path: bytes(&link),
    };
    done(&mut host, make.clone());
    let (output, reply) = host.ask(Request::ReadLink { path: bytes(&link) });
    assert_eq!((output.body, reply), (target, Ok(Response::Done)));
    let error = host.refusal(make);
    assert_eq!(error.errno, Some(17));
    assert!(
        error
            .message
            .ends_with("/link` a link to `no/where\u{fffd}`: File exists"),
        "{error:?}"
    );
    let path = bytes(folder.path());
    assert_eq!(host.refusal(Request::ReadLink { path }).errno, Some(22));
}

#[test]
fn a_file_gets_the_length_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "0123456789").expect("a file");
    let mut host = Host::new();
    let truncate = |path: &std::path::Path, size| Request::Truncate {
        path: bytes(path),
        size,
    };
    done(&mut host, truncate(&file, 3));
    done(&mut host, truncate(&file, 5));
    assert_eq!(fs::read(&file).expect("the file"), b"012\0\0");
    assert_eq!(host.refusal(truncate(&file, u64::MAX)).errno, Some(22));
    assert_eq!(host.refusal(truncate(folder.path(), 0)).errno, Some(21));
    let missing = folder.path().join("missing");
    assert_eq!(host.refusal(truncate(&missing, 0)).errno, Some(2));
    let fifo = folder.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).expect("a fifo");
    assert_eq!(host.refusal(truncate(&fifo, 0)).errno, Some(6), "and no waiting");
}

#[test]
fn what_a_link_leads_to_exists_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "").expect("a file");
    symlink("file", at("good")).expect("a link");
    symlink("none", at("bad")).expect("a link");
    symlink("circle", at("circle")).expect("a link");
    let mut host = Host::new();
    let mut exists = |name: &str| {
        let path = bytes(at(name));
        host.ask(Request::Exists { path }).1
    };
    for (name, expected) in [
        ("", true),
        ("file", true),
        ("good", true),
        ("bad", false),
        ("none", false),
        ("file/x", false),
    ] {
        let answer = Ok(Response::Exists { exists: expected });
        assert_eq!(exists(name), answer, "{name}");
    }
    let error = exists("circle").expect_err("nobody knows");
    assert_eq!(error.errno, Some(40));
}
