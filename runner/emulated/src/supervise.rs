//! Runs a command in an emulated host, and again when the emulated host freezes.
//!
//! Input: an [`EmulatedRun`]. Output: the command's exit code, and events on the way. Not here:
//! the steps of one start (`session`).

use std::time::Instant;

use provium_base::events::HostEvent;
use signal_hook::consts::SIGWINCH;

use crate::environment;
use crate::error::EmulatedError;
use crate::frame::Plan;
use crate::output::LastOutput;
use crate::outside::{self, CommandStdin, Signals, Streams, UserInput};
use crate::plan::{plan, shape};
use crate::prepare;
use crate::qemu::Qemu;
use crate::request::EmulatedRun;
use crate::session::{self, SessionEnd};

/// Runs a command in the emulated host and returns its exit code, or 128 and a signal's number.
///
/// The command's output appears on this process's standard streams, unless it is given others. SIGINT,
/// SIGTERM and SIGHUP go to the command the first time, and end the emulated host at once the second time, or
/// while it starts. The calling thread starts QEMU, which dies with it.
///
/// # Errors
/// [`EmulatedError`]: the command did not run to its end.
pub fn run(mut request: EmulatedRun<'_>) -> Result<i32, EmulatedError> {
    if environment::is_inside() {
        return Err(EmulatedError::Inside);
    }
    if request.argv.is_empty() {
        return Err(EmulatedError::NoCommand);
    }
    // From the beginning: what comes while files are made ready must not be lost.
    let signals = request.signals.take().map_or_else(Signals::watch, Ok)?;
    let shape = shape(&request)?;
    let prepared = prepare::prepare(&mut |step| {
        let step = step.to_owned();
        request.sink.emit(HostEvent::Preparing { step });
    })?;
    let (terminal, streams) = match request.streams.take() {
        Some(streams) => (None, streams),
        None => (
            outside::terminal(request.stdin),
            Streams::of_process(request.stdin)?,
        ),
    };
    let typed = terminal.is_some_and(|terminal| terminal.stdin);
    let mut user = UserInput {
        stdin: CommandStdin::new(streams.stdin.is_some(), typed),
        streams,
        signals,
    };
    if let Some(signal) = user.signals.take().into_iter().find(|signal| *signal != SIGWINCH) {
        request.sink.emit(HostEvent::Ended);
        return Ok(128 + signal);
    }
    let of = request.limits.starts;
    let (mut cause, mut last) = (String::new(), LastOutput::default());
    for start in 1..=of {
        if start > 1 {
            if !user.stdin.rewind() {
                return Err(EmulatedError::InputLost { cause });
            }
            request.sink.emit(HostEvent::Again {
                cause: cause.clone(),
                start,
                of,
            });
        }
        let plan = Plan {
            terminal,
            ..plan(&request, &shape, start)
        };
        last = LastOutput::default();
        let mut qemu = Qemu::start(&prepared, &shape).map_err(|source| EmulatedError::Start {
            program: prepared.qemu.clone(),
            source,
        })?;
        let begun = Instant::now();
        request.sink.emit(HostEvent::Starting {
            start,
            pid: qemu.pid(),
        });
        let mut on_started = || {
            let after = begun.elapsed();
            request.sink.emit(HostEvent::Running { after });
        };
        let silence = request.limits.silence;
        let end = session::run(&mut qemu, &plan, &mut user, &mut last, silence, &mut on_started)?;
        let status = qemu.end()?;
        cause = match end {
            SessionEnd::Exited(code) => {
                request.sink.emit(HostEvent::Ended);
                return Ok(code);
            }
            SessionEnd::Interrupted(signal) => {
                request.sink.emit(HostEvent::Ended);
                return Ok(128 + signal);
            }
            SessionEnd::Failed(reason) => return Err(EmulatedError::Refused(reason)),
            SessionEnd::Died { started: false } => {
                return Err(EmulatedError::NotStarted { tail: last.show() });
            }
            SessionEnd::Died { started: true } => format!("the emulated host ended by itself ({status})"),
            SessionEnd::Frozen => format!(
                "the emulated host froze: no sign of life for {} s",
                silence.as_secs_f32()
            ),
        };
    }
    Err(EmulatedError::GaveUp {
        starts: of,
        cause,
        tail: last.show(),
    })
}
