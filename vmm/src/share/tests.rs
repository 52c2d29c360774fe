//! The server against clients that read, write, are saved and restored, and against one that wants out.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use provium_devices::virtio::fs::FileServer;
use provium_devices::virtio::saved::FsState;
use rustix::io::Errno;

use super::wire::{OUT_HEADER, Put, ROOT, op, set};
use super::{ShareServer, SharedFolder};

/// A guest's side of a server.
struct Client {
    server: ShareServer,
}

/// A folder with a shared one in it, and a secret beside that.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("secret"), b"secret").unwrap();
        fs::create_dir_all(folder.path().join("shared/sub")).unwrap();
        fs::write(folder.path().join("shared/file"), b"hello").unwrap();
        fs::write(folder.path().join("shared/sub/file"), b"below").unwrap();
        World { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    fn client(&self, writable: bool, public: bool) -> Client {
        let path = self.path("");
        let server = ShareServer::new(&[SharedFolder {
            path,
            writable,
            public,
        }]);
        Client {
            server: server.unwrap(),
        }
    }
}

impl Client {
    fn ask(&mut self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut request = Vec::new();
        request.put32(40 + body.len() as u32);
        request.put32(opcode);
        request.put64(7);
        request.put64(node);
        request.resize(40, 0);
        request.extend_from_slice(body);
        let mut reply = Vec::new();
        self.server.answer(&request, 1 << 20, &mut reply);
        let (header, body) = reply.split_at(OUT_HEADER);
        assert_eq!(header[..4], (reply.len() as u32).to_le_bytes());
        assert_eq!(header[8..], 7u64.to_le_bytes());
        match i32::from_le_bytes(header[4..8].try_into().unwrap()) {
            0 => Ok(body.to_vec()),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }

    fn lookup(&mut self, parent: u64, name: &str) -> Result<u64, Errno> {
        let entry = self.ask(op::LOOKUP, parent, &text(&[name]))?;
        Ok(number(&entry, 0))
    }

    /// The shared folder's own node.
    fn top(&mut self) -> u64 {
        self.lookup(ROOT, "0").unwrap()
    }

    /// The node at the path.
    fn walk(&mut self, path: &str) -> Result<u64, Errno> {
        let top = self.top();
        path.split('/')
            .try_fold(top, |node, name| self.lookup(node, name))
    }

    fn read(&mut self, node: u64) -> Result<Vec<u8>, Errno> {
        self.ask(op::READ, node, &words(&[0, 0, 4096, 0, 0]))
    }

    fn write(&mut self, node: u64, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut body = words(&[0, 0, data.len() as u64, 0, 0]);
        body.extend_from_slice(data);
        self.ask(op::WRITE, node, &body)
    }

    fn make(&mut self, parent: u64, name: &str, mode: u32) -> Result<u64, Errno> {
        let mut body = Vec::new();
        [mode, 0, 0o022, 0].into_iter().for_each(|word| body.put32(word));
        body.extend_from_slice(&text(&[name]));
        self.ask(op::MKNOD, parent, &body).map(|entry| number(&entry, 0))
    }

    fn set(&mut self, node: u64, valid: u32, size: u64, mode: u32, uid: u32) -> Result<Vec<u8>, Errno> {
        let mut body = Vec::new();
        body.put32(valid);
        body.resize(16, 0);
        body.put64(size);
        body.resize(68, 0);
        [mode, 0, uid, 0, 0].into_iter().for_each(|word| body.put32(word));
        self.ask(op::SETATTR, node, &body)
    }

    fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<Vec<u8>, Errno> {
        let mut body = words(&[to.0]);
        body.extend_from_slice(&text(&[from.1, to.1]));
        self.ask(op::RENAME, from.0, &body)
    }

    /// The names in a folder, asked for in pieces of `size` bytes.
    fn list(&mut self, node: u64, opcode: u32, size: u64) -> Result<Vec<String>, Errno> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let piece = self.ask(opcode, node, &words(&[0, offset, size, 0, 0]))?;
            if piece.is_empty() {
                names.sort();
                return Ok(names);
            }
            let mut at = 0;
            while at < piece.len() {
                if opcode == op::READDIRPLUS {
                    at += 128;
                }
                offset = number(&piece, at + 8);
                let len = number(&piece, at + 16) as u32 as usize;
                let name = String::from_utf8_lossy(&piece[at + 24..at + 24 + len]).into_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
                at += (24 + len).next_multiple_of(8);
            }
        }
    }

    /// The same client after its guest was saved and resumed, by another monitor.
    fn resumed(&self) -> Client {
        let state = self.server.save();
        let mut server = ShareServer::default();
        server.restore(&state).unwrap();
        assert_eq!(server.save(), state);
        Client { server }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn text(names: &[&str]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| [name.as_bytes(), b"\0"].concat())
        .collect()
}

#[test]
fn files_are_found_read_and_listed() {
    let world = World::new();
    symlink("file", world.path("link")).unwrap();
    for index in 0..300 {
        fs::write(world.path(&format!("sub/{index}")), b"x").unwrap();
    }
    let mut client = world.client(false, false);
    let file = client.walk("file").unwrap();
    assert_eq!(client.read(file).unwrap(), b"hello");
    let attr = client.ask(op::GETATTR, file, &[0; 16]).unwrap();
    assert_eq!(number(&attr, 16), fs::metadata(world.path("file")).unwrap().ino());
    assert_eq!(number(&attr, 24), 5, "its size");
    let link = client.walk("link").unwrap();
    assert_eq!(client.ask(op::READLINK, link, &[]).unwrap(), b"file");
    let below = client.walk("sub/file").unwrap();
    assert_eq!(client.read(below).unwrap(), b"below");
    let sub = client.walk("sub").unwrap();
    for opcode in [op::READDIR, op::READDIRPLUS] {
        assert_eq!(client.list(sub, opcode, 1000).unwrap().len(), 301);
        assert_eq!(client.list(ROOT, opcode, 4096).unwrap(), ["0"]);
    }
    assert_eq!(client.walk("absent"), Err(Errno::NOENT));
    assert_eq!(client.lookup(ROOT, "1"), Err(Errno::NOENT));
    assert_eq!(client.lookup(ROOT, "00"), Err(Errno::NOENT));
    assert!(client.ask(op::STATFS, file, &[]).unwrap().len() == 80);
    assert_eq!(
        client.ask(14, file, &[0; 8]),
        Err(Errno::NOSYS),
        "nothing is opened"
    );
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let world = World::new();
    symlink(world.folder.path(), world.path("out")).unwrap();
    symlink("../secret", world.path("secret")).unwrap();
    let mut client = world.client(true, false);
    let top = client.top();
    let long = "x".repeat(256);
    for name in ["..", ".", "", "../secret", "sub/file", "/etc/passwd", &long] {
        let refused = [Err(Errno::INVAL), Err(Errno::NAMETOOLONG)];
        assert!(refused.contains(&client.lookup(top, name)), "{name}");
        assert!(refused.contains(&client.make(top, name, 0o100_644)), "{name}");
        assert!(client.rename((top, "file"), (top, name)).is_err(), "{name}");
    }
    // Links are the guest's to follow, in its own file system.
    let out = client.walk("out").unwrap();
    assert_eq!(client.lookup(out, "secret"), Err(Errno::NOTDIR));
    assert_eq!(client.list(out, op::READDIR, 4096), Err(Errno::NOTDIR));
    let secret = client.walk("secret").unwrap();
    assert!(client.read(secret).is_err());
    assert!(client.write(secret, b"x").is_err());
    assert!(client.set(secret, set::SIZE, 0, 0, 0).is_err());
    assert!(client.set(secret, set::MODE, 0, 0o777, 0).is_err());
    assert_eq!(fs::read(world.folder.path().join("secret")).unwrap(), b"secret");
    assert_eq!(client.ask(op::LOOKUP, top, b"no zero"), Err(Errno::INVAL));
    assert_eq!(
        client.read(4711),
        Err(Errno::STALE),
        "a number that stands for nothing"
    );
}

#[test]
fn what_becomes_a_link_meanwhile_is_not_followed() {
    let world = World::new();
    let mut client = world.client(true, false);
    let (sub, below, file) = (
        client.walk("sub").unwrap(),
        client.walk("sub/file").unwrap(),
        client.walk("file").unwrap(),
    );
    fs::write(world.folder.path().join("file"), b"secret").unwrap();
    fs::rename(world.path("sub"), world.path("moved")).unwrap();
    symlink("..", world.path("sub")).unwrap();
    fs::remove_file(world.path("file")).unwrap();
    symlink("../secret", world.path("file")).unwrap();
    for node in [below, file] {
        assert_eq!(client.read(node), Err(Errno::STALE));
        assert_eq!(client.write(node, b"x"), Err(Errno::STALE));
    }
    assert_eq!(client.lookup(sub, "secret"), Err(Errno::STALE));
    assert_eq!(client.make(sub, "new", 0o100_644), Err(Errno::STALE));
}

#[test]
fn a_race_of_names_is_never_won() {
    let world = World::new();
    let mut client = world.client(false, false);
    fs::write(world.folder.path().join("file"), b"secret").unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::rename(world.path("sub"), world.path("away")).unwrap();
                symlink("..", world.path("sub")).unwrap();
                fs::remove_file(world.path("sub")).unwrap();
                fs::rename(world.path("away"), world.path("sub")).unwrap();
            }
        });
        let mut read = 0;
        while read < 200 {
            if let Ok(content) = client.walk("sub/file").and_then(|node| client.read(node)) {
                assert_eq!(content, b"below");
                read += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_not() {
    let world = World::new();
    let mut client = world.client(false, false);
    let (top, file) = (client.top(), client.walk("file").unwrap());
    let asked = [
        client.write(file, b"x").map(drop),
        client.set(file, set::SIZE, 0, 0, 0).map(drop),
        client.set(file, set::MODE, 0, 0o777, 0).map(drop),
        client.make(top, "new", 0o100_644).map(drop),
        client
            .ask(op::MKDIR, top, &[words(&[0o755]), text(&["new"])].concat())
            .map(drop),
        client.ask(op::SYMLINK, top, &text(&["new", "target"])).map(drop),
        client
            .ask(op::LINK, top, &[words(&[file]), text(&["new"])].concat())
            .map(drop),
        client.ask(op::UNLINK, top, &text(&["file"])).map(drop),
        client.ask(op::RMDIR, top, &text(&["sub"])).map(drop),
        client.rename((top, "file"), (top, "new")).map(drop),
    ];
    assert_eq!(asked, [Err(Errno::ROFS); 10]);
    assert_eq!(fs::read(world.path("file")).unwrap(), b"hello");
}

#[test]
fn a_folder_that_can_be_written_is_but_not_into_more_than_files() {
    let world = World::new();
    let mut client = world.client(true, false);
    let top = client.top();
    let new = client.make(top, "new", 0o104_755).unwrap();
    client.write(new, b"hello you").unwrap();
    client.set(new, set::SIZE, 5, 0, 0).unwrap();
    client.set(new, set::MODE, 0, 0o6_711, 0).unwrap();
    let made = fs::metadata(world.path("new")).unwrap();
    assert_eq!((made.len(), made.mode() & 0o7777), (5, 0o711), "no set-user-id");
    assert_eq!(client.set(new, set::UID, 0, 0, made.uid() + 1), Err(Errno::PERM));
    client.set(new, set::UID, 0, 0, made.uid()).unwrap();
    for device in [0o020_666, 0o060_666] {
        assert_eq!(client.make(top, "device", device), Err(Errno::PERM));
    }
    client.make(top, "pipe", 0o010_644).unwrap();
    let pipe = client.walk("pipe").unwrap();
    assert_eq!(
        client.read(pipe),
        Err(Errno::INVAL),
        "nobody waits for its other end"
    );

    client.rename((top, "new"), (top, "newer")).unwrap();
    assert_eq!(client.read(new).unwrap(), b"hello", "it is the same node");
    let mut flags = words(&[top, 2]);
    flags.extend_from_slice(&text(&["newer", "file"]));
    client.ask(op::RENAME2, top, &flags).unwrap();
    assert_eq!(fs::read(world.path("newer")).unwrap(), b"hello");
    client
        .ask(op::LINK, top, &[words(&[new]), text(&["second"])].concat())
        .unwrap();
    client.ask(op::UNLINK, top, &text(&["second"])).unwrap();
    assert_eq!(client.ask(op::RMDIR, top, &text(&["sub"])), Err(Errno::NOTEMPTY));
}

#[test]
fn a_removed_file_lives_on_until_it_is_forgotten() {
    let world = World::new();
    let mut client = world.client(true, false);
    let (top, file) = (client.top(), client.walk("file").unwrap());
    client.ask(op::UNLINK, top, &text(&["file"])).unwrap();
    assert!(!world.path("file").exists());
    client.write(file, b"still").unwrap();
    assert_eq!(client.read(file).unwrap(), b"still");
    assert_eq!(client.walk("file"), Err(Errno::NOENT));
    let mut resumed = client.resumed();
    assert_eq!(resumed.read(file), Err(Errno::STALE));
    let mut reply = vec![1];
    let mut forget = words(&[48 | u64::from(op::FORGET) << 32, 7, file, 0, 0]);
    forget.extend_from_slice(&words(&[1]));
    client.server.answer(&forget, 4096, &mut reply);
    assert!(reply.is_empty(), "nobody waits for an answer");
    assert_eq!(client.read(file), Err(Errno::STALE));
}

#[test]
fn folders_keep_to_themselves() {
    let (one, other) = (World::new(), World::new());
    let folder = |world: &World, writable| SharedFolder {
        path: world.path(""),
        writable,
        public: false,
    };
    let server = ShareServer::new(&[folder(&one, true), folder(&other, true)]).unwrap();
    let mut client = Client { server };
    let (a, b) = (
        client.lookup(ROOT, "0").unwrap(),
        client.lookup(ROOT, "1").unwrap(),
    );
    assert_eq!(client.rename((a, "file"), (b, "new")), Err(Errno::XDEV));
    let file = client.lookup(a, "file").unwrap();
    let link = [words(&[file]), text(&["new"])].concat();
    assert_eq!(client.ask(op::LINK, b, &link), Err(Errno::XDEV));
    let kernels = SharedFolder {
        path: "/proc".into(),
        writable: false,
        public: false,
    };
    let error = ShareServer::new(&[kernels]).unwrap_err().to_string();
    assert!(
        error.contains("/proc: it is a file system of the kernel's own"),
        "{error}"
    );
}

#[test]
fn a_root_is_shown_as_far_as_everybody_may_see_it() {
    let world = World::new();
    let write = |name: &str, mode: u32| {
        let path = world.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["home/me/key", "root/key", "run/agent", "tmp/socket", "etc/shadow"] {
        write(name, 0o644);
    }
    for name in ["etc/ssh/ssh_host_rsa_key", "etc/ssh/sshd_config", "etc/passwd"] {
        write(name, 0o644);
    }
    write("etc/private", 0o640);
    write("closed/file", 0o644);
    fs::set_permissions(world.path("closed"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();

    let mut client = world.client(false, true);
    for name in ["etc/passwd", "etc/ssh/sshd_config"] {
        let node = client.walk(name).unwrap();
        assert_eq!(client.read(node).unwrap(), name.as_bytes());
    }
    for name in ["home", "root", "run", "tmp"] {
        let node = client.walk(name).unwrap();
        assert_eq!(
            client.list(node, op::READDIRPLUS, 4096).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(client.lookup(node, "key"), Err(Errno::NOENT));
        assert_eq!(client.lookup(node, "me"), Err(Errno::NOENT));
    }
    // A name that is not there is an answer that may be remembered: node 0.
    assert_eq!(client.walk("etc/shadow"), Ok(0));
    assert_eq!(client.walk("etc/ssh/ssh_host_rsa_key"), Ok(0));
    let etc = client.walk("etc").unwrap();
    assert_eq!(
        client.list(etc, op::READDIR, 4096).unwrap(),
        ["passwd", "private", "ssh"]
    );
    let private = client.walk("etc/private").unwrap();
    assert_eq!(client.read(private), Err(Errno::ACCESS));
    let closed = client.walk("closed").unwrap();
    assert_eq!(client.lookup(closed, "file"), Err(Errno::ACCESS));
    assert_eq!(client.list(closed, op::READDIR, 4096), Err(Errno::ACCESS));
}

#[test]
fn a_resumed_guest_goes_on_where_it_was_or_is_told_that_its_file_is_gone() {
    let world = World::new();
    let mut client = world.client(false, false);
    let nodes = ["file", "sub/file", "sub"].map(|path| client.walk(path).unwrap());
    let mut resumed = client.resumed();
    assert_eq!(resumed.read(nodes[0]).unwrap(), b"hello");
    assert_eq!(resumed.read(nodes[1]).unwrap(), b"below");

    fs::write(world.path("new"), b"another").unwrap();
    fs::rename(world.path("new"), world.path("file")).unwrap();
    fs::remove_dir_all(world.path("sub")).unwrap();
    let mut resumed = client.resumed();
    for node in nodes {
        assert_eq!(resumed.read(node), Err(Errno::STALE));
    }
    let again = resumed.walk("file").unwrap();
    assert_eq!(resumed.read(again).unwrap(), b"another");

    fs::remove_dir_all(world.path("")).unwrap();
    let mut resumed = client.resumed();
    assert_eq!(resumed.read(nodes[0]), Err(Errno::STALE));
    assert_eq!(resumed.lookup(ROOT, "0"), Err(Errno::STALE));
}

#[test]
fn states_that_no_server_had_are_refused() {
    let world = World::new();
    let mut client = world.client(false, false);
    client.walk("sub/file").unwrap();
    let good = client.server.save();
    type Spoil = fn(&mut FsState);
    let spoils: [Spoil; 5] = [
        |state| state.next_node = 2,
        |state| state.nodes[0].folder = 1,
        |state| state.nodes[0].id = 1,
        |state| state.nodes[1].name = b"..".to_vec().into(),
        |state| state.nodes[1].name = b"a/b".to_vec().into(),
    ];
    for spoil in spoils {
        let mut state = good.clone();
        spoil(&mut state);
        assert!(client.server.restore(&state).is_err());
        assert_eq!(client.server.save(), good);
    }
    // Two that are in each other have no path, and looking for it ends.
    let mut circle = good.clone();
    (circle.nodes[1].parent, circle.nodes[2].parent) = (circle.nodes[2].id, circle.nodes[1].id);
    client.server.restore(&circle).unwrap();
    assert!(client.read(circle.nodes[2].id).is_err());
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer_of_the_right_form(
        opcode in 0u32..60, node in 0u64..6, body in proptest::collection::vec(any::<u8>(), 0..200),
        room in 0usize..300,
    ) {
        let world = World::new();
        let mut client = world.client(true, false);
        let _ = client.walk("sub/file");
        let mut request = vec![0; 4];
        request.put32(opcode);
        request.put64(1);
        request.put64(node);
        request.resize(40, 0);
        request.extend_from_slice(&body);
        let mut reply = Vec::new();
        client.server.answer(&request, room, &mut reply);
        prop_assert!(reply.is_empty() || reply.len() >= OUT_HEADER);
        prop_assert!(reply.len() <= room.max(OUT_HEADER));
        prop_assert_eq!(fs::read(world.folder.path().join("secret")).unwrap(), b"secret");
        client.server.answer(&request[..(room % 60).min(request.len())], 4096, &mut reply);
    }
}

#[test]
fn what_is_said_of_a_file_is_believed_while_it_is_read_and_names_are_not() {
    let world = World::new();
    let valid = |public: bool, name: &str| {
        let mut client = world.client(false, public);
        let top = client.top();
        let entry = client.ask(op::LOOKUP, top, &text(&[name])).unwrap();
        let nanos = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
        (number(&entry, 16), number(&entry, 24), nanos(32), nanos(36))
    };
    assert_eq!(valid(false, "file"), (0, 0, 0, 50_000_000));
    assert_eq!(
        valid(false, "sub"),
        (0, 0, 0, 0),
        "a list of names is believed as long as that"
    );
    assert_eq!(valid(true, "file"), (10, 10, 0, 0));
    let mut client = world.client(false, false);
    let file = client.walk("file").unwrap();
    let attributes = client.ask(op::GETATTR, file, &words(&[0, 0])).unwrap();
    assert_eq!((number(&attributes, 0), number(&attributes, 8)), (0, 50_000_000));
}
