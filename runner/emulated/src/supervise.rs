//! Runs a command in an emulated host, and again when the emulated host freezes.
//!
//! Enters: an [`EmulatedRun`]. Leaves: the command's exit code. Absent on purpose: what one start consists of.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde_bytes::ByteBuf;

use super::frame::Plan;
use super::outside::{self, Input, Signals, Stdin};
use super::prepare::{self, PrepareError};
use super::qemu::{Qemu, Shape};
use super::session::{self, End, Outside, Tails};
use super::{ATTEMPT, INSIDE};

/// More than this is not taken by default, in MiB.
const DEFAULT_MEMORY: u64 = 6144;
/// Less than this is no use, in MiB.
const LEAST_MEMORY: u64 = 512;

/// A command for the emulated host.
pub struct EmulatedRun<'a> {
    /// Program and arguments. The program is looked for as a shell would.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Folders that may be written; all else is written to memory and lost.
    pub writable: Vec<PathBuf>,
    /// Memory in MiB, or what fits this machine.
    pub memory_mib: Option<u64>,
    /// Virtual CPUs. With more than one, QEMU 7.2 freezes now and then.
    pub cpus: u8,
    /// What the command reads.
    pub stdin: Stdin,
    /// The `provium` that is PID 1 inside: this process's own program by default.
    pub exe: Option<PathBuf>,
    /// When to give up.
    pub limits: Limits,
    /// Hears what happens.
    pub observer: Box<dyn FnMut(Event<'_>) + 'a>,
}

/// When something is concluded from silence, and from failing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Without any sign of life for so long, the emulated host is frozen.
    pub silence: Duration,
    /// It is started so often.
    pub starts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(20),
            starts: 4,
        }
    }
}

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something that may take long is done before the start.
    Preparing(&'a str),
    /// QEMU has been started.
    Starting {
        /// Which start this is, from 1.
        start: u32,
        /// QEMU's process id.
        pid: u32,
    },
    /// The command runs.
    Running {
        /// Time since QEMU was started.
        after: Duration,
    },
    /// It is started again.
    Again {
        /// Why, as a sentence.
        cause: &'a str,
        /// Which start comes now.
        start: u32,
        /// Of how many.
        of: u32,
    },
    /// It is over.
    Ended,
}

/// Why a command has no exit code.
#[derive(Debug, thiserror::Error)]
pub enum EmulatedError {
    /// Emulated hosts do not nest.
    #[error("this is the emulated host already: run the command directly")]
    Inside,
    /// It cannot be started on this machine.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// There is no command.
    #[error("no command given")]
    NoCommand,
    /// A folder to write cannot be shared.
    #[error("cannot make {} writable in the emulated host: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not enough memory.
    #[error(
        "the emulated host needs at least {LEAST_MEMORY} MiB of memory, {0} MiB is given or to be had here"
    )]
    Memory(u64),
    /// No QEMU process.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before the command ran.
    #[error("the emulated host did not start{tail}")]
    NotStarted {
        /// What QEMU and its kernel said last.
        tail: String,
    },
    /// It is there, but cannot run the command.
    #[error("the emulated host cannot run the command: {0}")]
    Refused(String),
    /// It failed every time.
    #[error("the emulated host was started {starts} times and failed each time; the last time {cause}{tail}")]
    GaveUp {
        /// How often.
        starts: u32,
        /// The last cause.
        cause: String,
        /// What QEMU and its kernel said last.
        tail: String,
    },
    /// A new start cannot be given the same input.
    #[error("{cause}; the command cannot be started again, for it had read more than 1 MiB of its input")]
    InputLost {
        /// Why a new start was needed.
        cause: String,
    },
    /// This process's own streams.
    #[error("watching the emulated host: {0}")]
    Io(#[from] io::Error),
}

impl<'a> EmulatedRun<'a> {
    /// A command in the present folder, which reads what this process reads.
    pub fn new(argv: Vec<OsString>) -> Self {
        Self {
            argv,
            cwd: env::current_dir().unwrap_or_else(|_| "/".into()),
            writable: Vec::new(),
            memory_mib: None,
            cpus: 1,
            stdin: Stdin::Inherit,
            exe: None,
            limits: Limits::default(),
            observer: Box::new(|_| {}),
        }
    }
}

/// Runs a command in the emulated host and returns its exit code, or 128 and a signal's number.
///
/// The command's output appears on this process's standard streams. SIGINT, SIGTERM and SIGHUP go to the command the
/// first time, and end the emulated host at once the second time, or while it starts. The calling thread starts QEMU,
/// which dies with it.
///
/// # Errors
/// [`EmulatedError`]: the command did not run to its end.
pub fn run(mut request: EmulatedRun<'_>) -> Result<i32, EmulatedError> {
    if super::is_inside() {
        return Err(EmulatedError::Inside);
    }
    if request.argv.is_empty() {
        return Err(EmulatedError::NoCommand);
    }
    let shape = shape(&request)?;
    let prepared = prepare::prepare(&mut |text| (request.observer)(Event::Preparing(text)))?;
    let terminal = outside::terminal(request.stdin);
    let mut outside = Outside {
        input: Input::new(request.stdin, terminal.is_some_and(|terminal| terminal.stdin)),
        signals: Signals::watch()?,
    };
    let of = request.limits.starts;
    let (mut cause, mut tails) = (String::new(), Tails::default());
    for start in 1..=of {
        if start > 1 {
            if !outside.input.rewind() {
                return Err(EmulatedError::InputLost { cause });
            }
            (request.observer)(Event::Again {
                cause: &cause,
                start,
                of,
            });
        }
        let plan = Plan {
            terminal,
            ..plan(&request, &shape, start)
        };
        tails = Tails::default();
        let mut qemu = Qemu::start(&prepared, &shape).map_err(|source| EmulatedError::Start {
            program: prepared.qemu.clone(),
            source,
        })?;
        let begun = Instant::now();
        (request.observer)(Event::Starting {
            start,
            pid: qemu.pid(),
        });
        let observer = &mut request.observer;
        let mut on_started = || {
            observer(Event::Running {
                after: begun.elapsed(),
            })
        };
        let silence = request.limits.silence;
        let end = session::run(
            &mut qemu,
            &plan,
            &mut outside,
            &mut tails,
            silence,
            &mut on_started,
        )?;
        let status = qemu.end()?;
        cause = match end {
            End::Exited(code) => {
                (request.observer)(Event::Ended);
                return Ok(code);
            }
            End::Interrupted(signal) => {
                (request.observer)(Event::Ended);
                return Ok(128 + signal);
            }
            End::Failed(reason) => return Err(EmulatedError::Refused(reason)),
            End::Died { started: false } => return Err(EmulatedError::NotStarted { tail: tails.show() }),
            End::Died { started: true } => format!("the emulated host ended by itself ({status})"),
            End::Frozen => format!(
                "the emulated host froze: no sign of life for {} s",
                silence.as_secs_f32()
            ),
        };
    }
    Err(EmulatedError::GaveUp {
        starts: of,
        cause,
        tail: tails.show(),
    })
}

impl Tails {
    /// What was said last, indented below an error.
    fn show(&self) -> String {
        let mut text = String::new();
        for (who, said) in [("QEMU", &self.complaints), ("its kernel", &self.console)] {
            let said = String::from_utf8_lossy(said);
            // It warns of features that it leaves out, for each of them.
            let lines: Vec<_> = said
                .lines()
                .filter(|line| !line.contains("TCG doesn't support"))
                .collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            if last.iter().any(|line| !line.trim().is_empty()) {
                text += &format!("\n  {who} said last:");
                for line in last {
                    text += &format!("\n    {}", line.trim_end());
                }
            }
        }
        text
    }
}

/// Memory that an emulated host takes unless told otherwise, in MiB: 6 GiB, or 60 % of what is available.
pub fn default_memory_mib() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available_mib(&info).map_or(DEFAULT_MEMORY, |available| DEFAULT_MEMORY.min(available * 6 / 10))
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

fn shape(request: &EmulatedRun<'_>) -> Result<Shape, EmulatedError> {
    let memory_mib = request.memory_mib.unwrap_or_else(default_memory_mib);
    if memory_mib < LEAST_MEMORY {
        return Err(EmulatedError::Memory(memory_mib));
    }
    let mut folders = Vec::new();
    for path in &request.writable {
        let error = |reason: String| EmulatedError::Folder {
            path: path.clone(),
            reason,
        };
        let folder = fs::canonicalize(path).map_err(|source| error(source.to_string()))?;
        match folder {
            folder if !folder.is_dir() => return Err(error("it is not a folder".into())),
            folder if folder == Path::new("/") => {
                return Err(error(
                    "all of the file system cannot be; name the folders that need it".into(),
                ));
            }
            folder => folders.push(folder),
        }
    }
    Ok(Shape {
        memory_mib,
        cpus: request.cpus,
        writable: outermost(folders),
        exe: match &request.exe {
            Some(exe) => fs::canonicalize(exe)?,
            None => env::current_exe()?,
        },
    })
}

/// Without those that lie in others.
fn outermost(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    folders.sort();
    folders.dedup();
    let all = folders.clone();
    folders.retain(|folder| {
        !all.iter()
            .any(|other| other != folder && folder.starts_with(other))
    });
    folders
}

fn plan(request: &EmulatedRun<'_>, shape: &Shape, start: u32) -> Plan {
    let bytes = |text: &OsStr| ByteBuf::from(text.as_bytes());
    let ours = |key: &OsStr| [INSIDE, ATTEMPT].iter().any(|name| key == *name);
    let mut environment: Vec<_> = env::vars_os().filter(|(key, _)| !ours(key)).collect();
    environment.push((INSIDE.into(), "1".into()));
    environment.push((ATTEMPT.into(), start.to_string().into()));
    let open_files = getrlimit(Resource::Nofile);
    Plan {
        argv: request.argv.iter().map(|word| bytes(word)).collect(),
        env: environment
            .iter()
            .map(|(key, value)| (bytes(key), bytes(value)))
            .collect(),
        cwd: bytes(request.cwd.as_os_str()),
        writable: shape.writable.clone(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: rustix::process::getgroups()
            .unwrap_or_default()
            .iter()
            .map(|group| group.as_raw())
            .collect(),
        umask: umask(),
        open_files: (open_files.current, open_files.maximum),
        now: Duration::ZERO,
        terminal: None,
    }
}

/// This process's file mode creation mask, without changing it.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_a_shared_folder_is_shared_with_it() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let given = paths(&[
            "/home/me/project/target",
            "/home/me/project",
            "/home/me/project2",
            "/home/me/project",
            "/cache",
        ]);
        assert_eq!(
            outermost(given),
            paths(&["/cache", "/home/me/project", "/home/me/project2"])
        );
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(
            available_mib("MemTotal: 1 kB\nMemAvailable:    2097152 kB\n"),
            Some(2048)
        );
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn folders_that_cannot_be_shared_are_named() {
        for (path, reason) in [
            ("/", "all of"),
            ("/nonexistent", "No such"),
            ("/proc/version", "not a folder"),
        ] {
            let mut request = EmulatedRun::new(vec!["true".into()]);
            request.writable = vec![path.into()];
            let error = shape(&request).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
        let mut request = EmulatedRun::new(vec!["true".into()]);
        request.memory_mib = Some(100);
        assert!(matches!(shape(&request), Err(EmulatedError::Memory(100))));
    }

    #[test]
    fn the_plan_says_which_start_it_is_and_whose_it_is() {
        let request = EmulatedRun::new(vec!["true".into()]);
        let shape = shape(&request).unwrap();
        let plan = plan(&request, &shape, 3);
        let of = |name: &str| {
            let values = plan.env.iter().filter(|(key, _)| key.as_ref() == name.as_bytes());
            values
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(INSIDE), ["1"]);
        assert_eq!(of(ATTEMPT), ["3"]);
        assert_eq!(plan.uid, rustix::process::geteuid().as_raw());
        assert!(plan.umask <= 0o777);
    }

    #[test]
    fn the_last_words_are_shown_without_what_qemu_always_says() {
        let tails = Tails {
            console: b"[1.0] Linux\r\n[2.0] Kernel panic\r\n".to_vec(),
            complaints: b"qemu: warning: TCG doesn't support requested feature: CPUID\n".to_vec(),
        };
        assert_eq!(
            tails.show(),
            "\n  its kernel said last:\n    [1.0] Linux\n    [2.0] Kernel panic"
        );
        assert_eq!(Tails::default().show(), "");
    }
}
