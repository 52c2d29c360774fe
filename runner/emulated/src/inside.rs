//! Provium as PID 1 of the emulated host: sets up what a command expects of a machine, and runs it.
//!
//! Input: the machine as `init.sh` leaves it: root, /proc, /sys, /dev, a serial port to Provium outside.
//! Output: the command's output and exit code on that port, and a heartbeat. Not here: anything about
//! microVMs; the command may be any.
//!
//! One thread per stream, since each may block without limit; one for the heartbeat, with the highest
//! priority for the only CPU; one for messages from outside. The first thread waits for processes, as PID 1
//! must.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use serde_bytes::ByteBuf;

use crate::frame::{CHUNK, Decoder, FromInside, Plan, ToInside, encode};
use crate::machine;
use crate::qemu::PORT;
use crate::spawn::{self, Spawned};

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the port may take to appear, and to be connected.
const PORT_WAIT: Duration = Duration::from_secs(10);

/// Runs as PID 1 until the machine is powered off. Returns only in a process that is not PID 1, with
/// [`exit::HARNESS`].
pub fn main() -> u8 {
    if !rustix::process::getpid().is_init() {
        eprintln!(
            "provium: `emulated-host-init` is the first process of an emulated host and of no use elsewhere"
        );
        return exit::HARNESS;
    }
    if let Err(error) = serve() {
        // To the console, which Provium outside shows.
        eprintln!("provium: {error}");
    }
    machine::power_off()
}

/// Sends messages outside; shared by all threads.
#[derive(Clone)]
struct MessageSender(Arc<Mutex<File>>);

impl MessageSender {
    /// Sends a message, never interleaved with another. When nobody is outside any more, the machine is
    /// powered off.
    fn send(&self, message: &FromInside) {
        let Ok(frame) = encode(message) else { return };
        let mut port = self.0.lock();
        if port.write_all(&frame).is_err() {
            machine::power_off();
        }
    }
}

/// Serves Provium outside: receives the plan, runs the command, sends what comes of it.
///
/// # Errors
/// When the port cannot be used.
fn serve() -> io::Result<()> {
    machine::first_devices();
    let mut port = open_port()?;
    let sender = MessageSender(Arc::new(Mutex::new(port.try_clone()?)));
    let heart = sender.clone();
    thread::Builder::new()
        .name("heartbeat".into())
        .spawn(move || send_heartbeats(&heart))?;
    sender.send(&FromInside::Ready);

    let mut decoder = Decoder::default();
    let plan = match receive(&mut port, &mut decoder)? {
        ToInside::Plan(plan) => plan,
        other => return Err(io::Error::other(format!("{other:?} came before the plan"))),
    };
    if let Err(reason) = machine::set_up(&plan) {
        sender.send(&FromInside::Failed(reason));
        return wait_for_the_end(&mut port, &mut decoder);
    }
    let code = match spawn::spawn(&plan) {
        Ok(spawned) => {
            sender.send(&FromInside::Started);
            run(spawned, port.try_clone()?, decoder, &sender)?
        }
        Err(error) => {
            sender.send(&FromInside::Started);
            sender.send(&FromInside::Stderr(ByteBuf::from(not_started(&plan, &error))));
            if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            }
        }
    };
    rustix::fs::sync();
    sender.send(&FromInside::Exited(code));
    // Provium outside ends this machine now.
    thread::sleep(PORT_WAIT);
    Ok(())
}

/// Message for a command that cannot be executed, as a shell writes it.
fn not_started(plan: &Plan, error: &io::Error) -> String {
    let name = plan
        .argv
        .first()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    format!("provium: {}: {error}\n", name.unwrap_or_default())
}

/// Ignores messages until Provium outside ends this machine.
fn wait_for_the_end(port: &mut File, decoder: &mut Decoder) -> io::Result<()> {
    while receive(port, decoder).is_ok() {}
    Ok(())
}

/// Sends heartbeats without end.
fn send_heartbeats(sender: &MessageSender) {
    // Of this thread alone: in Linux each thread has its own niceness. A nested guest may use all of the CPU.
    let _ = rustix::process::setpriority_process(None, -20);
    loop {
        sender.send(&FromInside::Heartbeat);
        thread::sleep(HEARTBEAT);
    }
}

/// Opens the serial port with the name that QEMU was given, once it has appeared.
///
/// # Errors
/// When it has not appeared in time, or cannot be opened.
fn open_port() -> io::Result<File> {
    let deadline = Instant::now() + PORT_WAIT;
    loop {
        let ports = fs::read_dir("/sys/class/virtio-ports")
            .into_iter()
            .flatten()
            .flatten();
        let mut named = ports.filter(|port| {
            fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        });
        if let Some(port) = named.next() {
            let path = Path::new("/dev").join(port.file_name());
            match File::options().read(true).write(true).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                port => return port,
            }
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other(
                "the serial port to Provium outside has not appeared",
            ));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Receives the next message. An end of the stream means that Provium outside is gone, unless it has never
/// been there.
///
/// # Errors
/// When Provium outside is gone, or sends something that is not a message.
fn receive(port: &mut File, decoder: &mut Decoder) -> io::Result<ToInside> {
    let deadline = Instant::now() + PORT_WAIT;
    let mut bytes = vec![0; CHUNK];
    loop {
        if let Some(message) = decoder.next().map_err(io::Error::other)? {
            return Ok(message);
        }
        match port.read(&mut bytes) {
            Ok(0) if Instant::now() < deadline && !CONNECTED.load(Ordering::Relaxed) => {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                CONNECTED.store(true, Ordering::Relaxed);
                decoder.push(&bytes[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether anything was ever received from outside; until then the port may only not be connected yet.
static CONNECTED: AtomicBool = AtomicBool::new(false);

/// Attends the command until it ends, and gives its exit code; all its output is sent when this returns.
fn run(spawned: Spawned, port: File, decoder: Decoder, sender: &MessageSender) -> io::Result<i32> {
    let pid = spawned.pid;
    let ended = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let streams = [
        (spawned.stdout, FromInside::Stdout as fn(ByteBuf) -> _),
        (spawned.stderr, FromInside::Stderr as _),
    ];
    for (stream, wrap) in streams {
        if let Some(stream) = stream {
            readers.push(forward_output(stream, wrap, sender.clone(), ended.clone())?);
        }
    }
    let (input, chunks) = mpsc::channel();
    let taken = sender.clone();
    let stdin = spawned.stdin;
    thread::Builder::new()
        .name("stdin".into())
        .spawn(move || feed_stdin(stdin, &chunks, &taken))?;
    let pty = spawned.pty;
    thread::Builder::new()
        .name("commands".into())
        .spawn(move || handle_messages(port, decoder, pid, pty, &input))?;

    let code = reap_until(pid)?;
    ended.store(true, Ordering::SeqCst);
    for reader in readers {
        let _ = reader.join();
    }
    Ok(code)
}

/// Reaps all processes, since PID 1 inherits those whose parents have died, until this one has ended; gives
/// its exit code, or 128 and the signal's number.
fn reap_until(pid: Pid) -> io::Result<i32> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or(signal).unwrap_or(255));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Starts a thread that sends a stream outside, until it ends, or the command has ended and nothing more is
/// in it: a process that the command left behind may hold it open forever.
fn forward_output(
    mut stream: File,
    wrap: fn(ByteBuf) -> FromInside,
    sender: MessageSender,
    ended: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    let forward = move || {
        let mut bytes = vec![0; CHUNK];
        loop {
            let was_ended = ended.load(Ordering::SeqCst);
            let mut fds = [PollFd::new(&stream, PollFlags::IN)];
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: if was_ended { 0 } else { 20_000_000 },
            };
            match poll(&mut fds, Some(&wait)) {
                Ok(0) if was_ended => return,
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            match stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(len) => sender.send(&wrap(ByteBuf::from(&bytes[..len]))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal that no process has open now; one may open it again.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) && !was_ended => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name("output".into()).spawn(forward)
}

/// Input for the command; `None` is its end.
type InputChunk = Option<ByteBuf>;

/// Writes input to the command, and reports what it has taken.
fn feed_stdin(mut stdin: Option<File>, chunks: &Receiver<InputChunk>, sender: &MessageSender) {
    for chunk in chunks {
        let Some(bytes) = chunk else {
            stdin = None;
            continue;
        };
        if stdin
            .as_mut()
            .is_some_and(|stdin| stdin.write_all(&bytes).is_err())
        {
            stdin = None;
        }
        sender.send(&FromInside::StdinTaken(bytes.len() as u32));
    }
}

/// Handles messages from outside. When nobody is there any more, the machine is powered off.
fn handle_messages(
    mut port: File,
    mut decoder: Decoder,
    pid: Pid,
    pty: Option<File>,
    input: &Sender<InputChunk>,
) {
    loop {
        match receive(&mut port, &mut decoder) {
            Ok(ToInside::Stdin(bytes)) => drop(input.send(Some(bytes))),
            Ok(ToInside::StdinEnd) => {
                if let Some(pty) = &pty {
                    spawn::end_of_typing(pty);
                }
                drop(input.send(None));
            }
            Ok(ToInside::Signal(signal)) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = rustix::process::kill_process_group(pid, signal);
                }
            }
            Ok(ToInside::Resize(size)) => {
                if let Some(pty) = &pty {
                    spawn::resize(pty, size);
                }
            }
            Ok(ToInside::Plan(_) | ToInside::Nudge) => {}
            Err(_) => {
                machine::power_off();
            }
        }
    }
}
