//! A command in a guest with this process's standard streams.
//!
//! Input: a guest and a command. Output: how the command ended; its output on this process's streams, bytes
//! as they come. Where streams are a terminal it has one, and this process's is raw where somebody types and
//! sees there. Not here: signals, and what an end means.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use provium_base::terminal::{self, Hurry, RawTerminal, Terminals};
use provium_guest::{
    AGENT_PORT, AttachedInput, Attachment, Cancel, ExecSpec, ExitStatus, GuestError, Terminal, TerminalSize,
    VmError, VmHandle,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGPIPE};

use super::signals::Signals;

/// Most bytes of input that are read at once.
const READ: usize = 64 << 10;
/// The size of a terminal that does not say.
const SIZE: (u16, u16) = (24, 80);

/// Why there is no end of the command.
pub(super) enum NoEnd {
    /// It was not started.
    NotStarted(GuestError),
    /// The guest or its agent went away; the guest knows why.
    Lost(GuestError),
    /// The guest does not run.
    Vm(VmError),
}

/// Runs the command to its end; also the bits of the kernel's taint that were set meanwhile.
pub(super) fn attend(
    vm: &VmHandle,
    spec: ExecSpec,
    signals: &Signals,
    cancel: &Arc<Cancel>,
) -> Result<(ExitStatus, u64), NoEnd> {
    let here = Terminals::of_process();
    let terminal = here.any().then(|| Terminal {
        stdin: here.stdin,
        stdout: here.stdout,
        stderr: here.stderr,
        cooked: here.interactive(),
        size: size(),
    });
    let session = vm.lock().session(AGENT_PORT, cancel).map_err(NoEnd::Vm)?;
    let mut program = session.attach(spec, terminal).map_err(|error| match error {
        error if error.session_lives() => NoEnd::NotStarted(error),
        error => NoEnd::Lost(error),
    })?;
    let _end_on_cancel = vm.lock().machine().map(|machine| {
        signals.pass_on(Arc::clone(&machine), program.started().handle, terminal.is_some());
        cancel.on_cancel(Box::new(move || machine.kill()))
    });
    // A terminal that has gone away meanwhile needs nothing.
    let _raw = here.interactive().then(RawTerminal::enter).and_then(Result::ok);
    let input = program.input().map_err(NoEnd::Lost)?;
    let hurry = here.interactive().then(|| signals.clone());
    // It ends with the process: there is no way to call it back from a read.
    let _ = thread::Builder::new()
        .name("stdin".into())
        .spawn(move || feed(input, hurry.as_ref()));
    let mut outputs = [Output::new(io::stdout()), Output::new(io::stderr())];
    loop {
        let (at, bytes) = match program.read().map_err(NoEnd::Lost)? {
            Attachment::Stdout(bytes) => (0, bytes),
            Attachment::Stderr(bytes) => (1, bytes),
            Attachment::Ended(exited) => return Ok((exited.status, program.taint() | signals.taint())),
        };
        if outputs[at].write(&bytes).is_err() {
            // What the command would have got here.
            signals.send(SIGPIPE);
        }
    }
}

/// The size of the terminal.
pub(super) fn size() -> TerminalSize {
    let (rows, columns) = terminal::size().unwrap_or(SIZE);
    TerminalSize { rows, columns }
}

/// Sends what comes on standard input, and its end; `hurry` is told of three Ctrl-C within a second, which
/// are characters on a raw terminal.
fn feed(mut input: AttachedInput, hurry: Option<&Signals>) {
    let (mut bytes, mut pressed) = (vec![0; READ], Hurry::default());
    loop {
        match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(0) => break,
            Ok(n) => {
                if let Some(signals) = hurry
                    && pressed.typed(&bytes[..n], Instant::now())
                {
                    signals.end_now(SIGINT);
                }
                if input.write(&bytes[..n]).is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            // A terminal that has gone away, or a standard input that was closed.
            Err(_) => break,
        }
    }
    let _ = input.end();
}

/// One of this process's outputs, unbuffered; none once nobody reads it any more.
struct Output(Option<OwnedFd>);

impl Output {
    fn new(stream: impl AsFd) -> Output {
        Output(stream.as_fd().try_clone_to_owned().ok())
    }

    /// Writes all of it; fails once, when there is nobody left who reads it.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while let Some(stream) = self.0.as_ref().filter(|_| !bytes.is_empty()) {
            match rustix::io::write(stream, bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::INTR) => {}
                // Somebody else has made the file description one that does not block.
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(stream, PollFlags::OUT)], None);
                }
                Err(error) => {
                    self.0 = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
