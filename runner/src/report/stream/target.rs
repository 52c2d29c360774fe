//! Where the frames of an event stream go: a file, stdout, or whoever connects to a socket.
//!
//! Input: frames. Output: each whole, in their order. Nobody who reads can hold the run up: a client that
//! does not read is dropped. Not here: what is in a frame.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

/// How long a client may not read.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes frames.
pub trait Target: Send {
    /// Takes a frame; returns once it is on its way.
    ///
    /// # Errors
    /// When nothing more can be written.
    fn take(&mut self, frame: &[u8]) -> io::Result<()>;
}

/// A file that frames are added to, also by several processes at once.
pub struct EventFile(File);

impl EventFile {
    /// The file at this path, whose folder is made if need be.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<EventFile> {
        make_folder(path)?;
        Ok(EventFile(
            OpenOptions::new().append(true).create(true).open(path)?,
        ))
    }
}

impl Target for EventFile {
    fn take(&mut self, frame: &[u8]) -> io::Result<()> {
        // What cannot be locked, a pipe say, is nobody else's.
        let locked = flock(&self.0, FlockOperation::LockExclusive).is_ok();
        let written = self.0.write_all(frame);
        if locked {
            flock(&self.0, FlockOperation::Unlock)?;
        }
        written
    }
}

/// A stream, such as stdout.
pub struct EventStdout(pub File);

impl Target for EventStdout {
    fn take(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }
}

/// A socket that any number of clients can read from, from where the run is when they connect; first of all
/// they get the stream's first frame.
pub struct EventSocket {
    path: PathBuf,
    clients: Arc<Mutex<Clients>>,
}

#[derive(Default)]
struct Clients {
    first: Vec<u8>,
    connected: Vec<UnixStream>,
}

impl EventSocket {
    /// Listens at this path. What another run has left there is removed.
    ///
    /// # Errors
    /// When there is something else, or the system does not let it.
    pub fn listen(path: &Path) -> io::Result<EventSocket> {
        make_folder(path)?;
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::other("there is something that is no socket")),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        let clients = Arc::<Mutex<Clients>>::default();
        let accepting = Arc::downgrade(&clients);
        let accept = move || {
            for client in listener.incoming() {
                let (Ok(client), Some(clients)) = (client, accepting.upgrade()) else {
                    break;
                };
                let mut clients = clients.lock();
                if client.set_write_timeout(Some(PATIENCE)).is_ok() && send(&client, &clients.first) {
                    clients.connected.push(client);
                }
            }
        };
        thread::Builder::new()
            .name("event clients".into())
            .spawn(accept)?;
        Ok(EventSocket {
            path: path.to_owned(),
            clients,
        })
    }
}

/// Whether the client took it in time.
fn send(mut client: &UnixStream, frame: &[u8]) -> bool {
    client.write_all(frame).is_ok()
}

impl Target for EventSocket {
    fn take(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut clients = self.clients.lock();
        if clients.first.is_empty() {
            clients.first = frame.to_vec();
        }
        clients.connected.retain(|client| send(client, frame));
        Ok(())
    }
}

impl Drop for EventSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::create_dir_all(folder),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn clients_get_the_first_frame_and_what_comes_then() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("new/events");
        let mut socket = EventSocket::listen(&path).expect("a socket");
        socket.take(b"first").expect("taken");
        socket.take(b"missed").expect("taken");
        let mut client = UnixStream::connect(&path).expect("a connection");
        let mut hello = [0; 5];
        client.read_exact(&mut hello).expect("the first frame");
        socket.take(b"later").expect("taken");
        drop(socket);
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("the rest");
        assert_eq!((&hello, rest.as_str()), (b"first", "later"));
        assert!(!path.exists(), "the socket is removed");
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped_and_the_others_read_on() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("events");
        drop(UnixListener::bind(&path).expect("what another run has left"));
        let mut socket = EventSocket::listen(&path).expect("a socket");
        socket.take(b"!").expect("taken");
        let lazy = UnixStream::connect(&path).expect("a connection");
        let mut keen = UnixStream::connect(&path).expect("a connection");
        keen.read_exact(&mut [0]).expect("the first frame");
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            keen.read_to_end(&mut all).map(|_| all.len())
        });
        let frame = vec![0; 1 << 16];
        for _ in 0..100 {
            socket.take(&frame).expect("taken");
        }
        assert_eq!(socket.clients.lock().connected.len(), 1);
        drop(socket);
        assert_eq!(reader.join().expect("no panic").expect("all of it"), 100 << 16);
        drop(lazy);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("events");
        fs::write(&path, "mine").expect("a file");
        assert!(EventSocket::listen(&path).is_err());
        assert_eq!(fs::read(&path).expect("the file"), b"mine");
    }
}
