//! The rounds of a watch: each a run of some files, in this process or in an emulated host that stays up.
//!
//! Input: rounds, one after the other. Output: what each came to; events, as of any run. What one round has
//! opened the next finds open: fixtures, machines that are kept ready. Not here: what a round runs.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use clap::Parser;
use provium_base::cancel::Cancel;
use provium_base::cause;
use provium_base::events::Sink;
use provium_base::exit;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use super::Wake;
use crate::cli::args::Cli;
use crate::cli::interrupt::SignalWatch;
use crate::cli::project::Project;
use crate::cli::relay::Receiving;
use crate::cli::screen::Screen;
use crate::cli::{defaults, host, run};
use crate::session::Session;
use crate::stock::Sweep;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// Test files, absolute; `None` for all that the command line means.
    pub(super) files: Option<Vec<PathBuf>>,
    /// Text in the names of the tests that are wanted, if not all are.
    pub(super) pattern: Option<String>,
    /// Whether only the tests of them that failed when they ran last are wanted.
    pub(super) failed: bool,
    /// Whether the configuration is to be read again.
    pub(super) reload: bool,
}

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoundEnd {
    /// Exit code that it stands for.
    pub(super) code: u8,
    /// Why it could not be carried out.
    pub(super) error: Option<String>,
}

/// Where rounds run.
pub(super) enum Rounds {
    /// In this process, on a thread of its own.
    Here(mpsc::Sender<Round>),
    /// In an emulated host.
    Emulated(EmulatedRounds),
}

/// An emulated host that runs rounds.
pub(super) struct EmulatedRounds {
    /// Its standard input, which ends it when it is closed.
    input: Option<File>,
    thread: Option<JoinHandle<()>>,
}

impl Rounds {
    /// Rounds in this process.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn here(
        screen: &Arc<Screen>,
        cancel: &Arc<Cancel>,
        wake: mpsc::Sender<Wake>,
    ) -> io::Result<Rounds> {
        let (sender, rounds) = mpsc::channel::<Round>();
        let mut runner = Runner::new(Arc::clone(screen), Sweep::Here, Arc::clone(cancel));
        thread::Builder::new().name("rounds".into()).spawn(move || {
            for round in rounds {
                let _ = wake.send(Wake::RoundEnded(runner.run(&round)));
            }
        })?;
        Ok(Rounds::Here(sender))
    }

    /// Rounds in an emulated host, which is started now; its events go to `sink`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn emulated(
        project: Project,
        artifacts: PathBuf,
        screen: &Screen,
        sink: Arc<dyn Sink>,
        cancel: &Arc<Cancel>,
        wake: mpsc::Sender<Wake>,
    ) -> anyhow::Result<Rounds> {
        let ends = wake.clone();
        let round_end = move |line: &[u8]| {
            if let Ok(end) = serde_json::from_slice::<RoundEnd>(line) {
                let _ = ends.send(Wake::RoundEnded(end));
            }
        };
        let (mut streams, receiving) =
            Receiving::begin(Arc::clone(&sink), Arc::clone(&screen.stderr), Box::new(round_end))?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        streams.stdin = Some(read);
        let cancel = Arc::clone(cancel);
        let thread = thread::Builder::new()
            .name("emulated host".into())
            .spawn(move || {
                let ended = host::rerun(
                    &project,
                    0,
                    Some(&artifacts),
                    Some(streams),
                    None,
                    &cancel,
                    &*sink,
                );
                receiving.end();
                let ended = ended
                    .map(drop)
                    .map_err(|error| cause::once(error.as_ref()).to_string());
                let _ = wake.send(Wake::HostEnded(ended.err()));
            })?;
        Ok(Rounds::Emulated(EmulatedRounds {
            input: Some(File::from(write)),
            thread: Some(thread),
        }))
    }

    /// Begins a round; its end comes as a [`Wake`].
    pub(super) fn begin(&mut self, round: &Round) {
        match self {
            Rounds::Here(rounds) => drop(rounds.send(round.clone())),
            Rounds::Emulated(host) => {
                let line = serde_json::to_vec(round).map(|line| [&line[..], b"\n"].concat());
                // A host that is gone says so by itself.
                if let (Some(input), Ok(line)) = (&mut host.input, line) {
                    let _ = input.write_all(&line);
                }
            }
        }
    }
}

impl Drop for EmulatedRounds {
    fn drop(&mut self) {
        self.input = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs rounds in this process.
struct Runner {
    screen: Arc<Screen>,
    sweep: Sweep,
    cancel: Arc<Cancel>,
    held: Option<(Project, Session)>,
}

impl Runner {
    fn new(screen: Arc<Screen>, sweep: Sweep, cancel: Arc<Cancel>) -> Runner {
        Runner {
            screen,
            sweep,
            cancel,
            held: None,
        }
    }

    fn run(&mut self, round: &Round) -> RoundEnd {
        match self.carry_out(round) {
            Ok(code) => RoundEnd { code, error: None },
            Err(error) => RoundEnd {
                code: exit::HARNESS,
                error: Some(cause::once(error.as_ref()).to_string()),
            },
        }
    }

    fn carry_out(&mut self, round: &Round) -> anyhow::Result<u8> {
        let mut args = Cli::try_parse()?.run;
        // Guests of an old configuration end before those of a new one come.
        self.held.take_if(|_| round.reload);
        let (project, session) = match self.held.take() {
            Some(held) => self.held.insert(held),
            None => {
                let project = Project::load(&args.choose.project, &args.choose.paths)?;
                project.config.check_files()?;
                let with_defaults = defaults::apply(&project.config, Cli::try_parse()?.run)?;
                let session = run::session(&with_defaults, &project, self.sweep, &self.screen);
                self.held.insert((project, session))
            }
        };
        args = defaults::apply(&project.config, args)?;
        if let Some(files) = &round.files {
            args.choose.paths.clone_from(files);
        }
        args.select.filter = round.pattern.clone().or(args.select.filter);
        args.select.rerun_failed |= round.failed;
        // A journal is for a run that begins again as a whole.
        args.running.journal = None;
        match run::carry_out(&args, project, session, &self.cancel)? {
            Some(outcome) => run::judge(outcome, &self.screen, &self.cancel),
            None => Ok(exit::SUCCESS),
        }
    }
}

/// The emulated host's end: runs the rounds that standard input names.
pub(super) fn serve() -> anyhow::Result<u8> {
    let cancel = Cancel::new();
    let _watch = SignalWatch::new(&cancel)?;
    let screen = Arc::new(Screen::elsewhere()?);
    screen.own_stdout()?;
    let mut runner = Runner::new(Arc::clone(&screen), Sweep::Outside, Arc::clone(&cancel));
    let mut code = exit::SUCCESS;
    for line in io::stdin().lock().lines() {
        let round: Round = serde_json::from_str(&line?)?;
        let end = runner.run(&round);
        code = end.code;
        screen
            .stdout
            .write(&format!("{}\n", serde_json::to_string(&end)?));
        if cancel.is_cancelled().is_some() {
            break;
        }
        if let Some((_, session)) = &runner.held {
            session.make_room();
        }
    }
    Ok(code)
}
