//! `provium --watch`: runs tests, and again what a change touches, until the user has enough.
//!
//! Input: the arguments; changes of files; keys. Output: reports of one round after the other; the exit code
//! of the last. The watcher is outside of the emulated host, where there is one, and that stays up between
//! rounds. Not here: one round, which is a run like any other.
//!
//! ```text
//! mod      what happens when
//! changes  files that have changed
//! uses     what that touches
//! keys     what the user presses
//! rounds   runs, here or in the emulated host
//! scene    the project: its configuration, its files, where it runs
//! ```

mod changes;
mod keys;
mod rounds;
mod scene;
mod uses;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use parking_lot::Mutex;
use provium_base::cancel::Cancel;
use provium_base::events::{Event, Sinks};
use provium_base::{cause, exit};

use super::args::RunArgs;
use super::defaults;
use super::interrupt::SignalWatch;
use super::project::Project;
use super::relay::UsersTime;
use super::run;
use super::screen::Screen;
use super::settings::{Settings, Surroundings};
use changes::Changes;
use keys::{Key, Keys};
use rounds::{Round, RoundEnd, Rounds};
use uses::Uses;

/// What ends the wait for something to happen.
#[derive(Debug)]
enum Wake {
    /// Files have changed.
    Changed(BTreeSet<PathBuf>),
    /// The user has pressed a key.
    Pressed(Key),
    /// A round has ended.
    RoundEnded(RoundEnd),
    /// The emulated host has ended, and why if it was not told to.
    HostEnded(Option<String>),
    /// The process was told to stop.
    Stop,
}

/// A watch.
struct Watch {
    args: RunArgs,
    screen: Arc<Screen>,
    sink: Arc<UsersTime>,
    uses: Arc<Mutex<Uses>>,
    changes: Changes,
    cancel: Arc<Cancel>,
    wake: Sender<Wake>,
    wakes: Receiver<Wake>,
    keys: bool,
    /// The project, as long as its configuration is good.
    project: Option<Project>,
    rounds: Option<Rounds>,
    /// The round that runs, and whether it was begun again already.
    running: Option<(Round, bool)>,
    /// The round that ran last.
    last: Round,
    changed: BTreeSet<PathBuf>,
    code: u8,
}

pub(super) fn watch(args: RunArgs) -> anyhow::Result<u8> {
    if args.running.journal.is_some() {
        return rounds::serve();
    }
    let args = match Project::load(&args.choose.project, &args.choose.paths) {
        Ok(project) => defaults::apply(&project.config, args)?,
        // What is wrong with it is said where it is waited out.
        Err(_) => args,
    };
    let around = Surroundings::of_process();
    let settings = Settings::resolve(&args, &around);
    let cwd = std::env::current_dir()?;
    let mut screen = Screen::new(&settings, &args.reports, &around, &cwd)?;
    let uses = Arc::<Mutex<Uses>>::default();
    let heard = Arc::clone(&uses);
    let hear = move |event: &Event| heard.lock().hear(event);
    screen.sink = Arc::new(Sinks(vec![Box::new(hear), Box::new(Arc::clone(&screen.sink))]));
    let screen = Arc::new(screen);
    let cancel = Cancel::new();
    let _signals = SignalWatch::new(&cancel)?;
    let (wake, wakes) = mpsc::channel();
    let stop = wake.clone();
    let _stop = cancel.on_cancel(Box::new(move || drop(stop.send(Wake::Stop))));
    let (matter, changed) = (Arc::clone(&uses), wake.clone());
    let changes = Changes::begin(Box::new(move |path| matter.lock().matters(path)), move |paths| {
        drop(changed.send(Wake::Changed(paths)))
    })?;
    let pressed = wake.clone();
    let keys = Keys::begin(Arc::clone(&screen.stderr), move |key| {
        drop(pressed.send(Wake::Pressed(key)));
    });
    let all = Round {
        files: None,
        pattern: None,
        failed: false,
        reload: false,
    };
    let watch = Watch {
        args,
        sink: Arc::new(UsersTime::new(screen.sink.clone(), screen.began)),
        screen,
        uses,
        changes,
        cancel,
        wake,
        wakes,
        keys: keys.is_some(),
        project: None,
        rounds: None,
        running: None,
        last: all,
        changed: BTreeSet::new(),
        code: exit::SUCCESS,
    };
    watch.run()
}

impl Watch {
    fn run(mut self) -> anyhow::Result<u8> {
        self.screen.own_stdout()?;
        self.load_and_begin();
        while let Ok(wake) = self.wakes.recv() {
            match wake {
                Wake::Changed(paths) => self.changed.extend(paths),
                Wake::Pressed(Key::Quit) | Wake::Stop if self.running.is_none() => break,
                // The round ends, and with it the watch.
                Wake::Pressed(Key::Quit) => drop(signal_hook::low_level::raise(signal_hook::consts::SIGINT)),
                Wake::Stop => {}
                Wake::Pressed(key) => self.press(key),
                Wake::RoundEnded(end) => self.round_ended(end),
                Wake::HostEnded(why) => self.host_ended(why),
            }
            if self.running.is_none() {
                if self.cancel.is_cancelled().is_some() {
                    break;
                }
                self.look_at_changes();
            }
        }
        // Its guests end, and with them the emulated host, before the terminal is the user's again.
        self.rounds = None;
        Ok(self.code)
    }

    fn say(&self, text: &str) {
        self.screen.stderr.write(&format!("provium: {text}\n"));
    }

    /// Reads the configuration and runs everything; a mistake in there is said and waited out.
    fn load_and_begin(&mut self) {
        match self.load() {
            Ok(()) => self.begin(Round {
                files: None,
                pattern: self.last.pattern.clone(),
                failed: false,
                reload: true,
            }),
            Err(error) => {
                self.project = None;
                self.rounds = None;
                self.code = exit::HARNESS;
                self.say(&format!("error: {}", cause::once(error.as_ref())));
                let nearest = self.nearest_configuration();
                self.uses.lock().set_project(nearest, BTreeSet::new());
                if let Err(error) = self.watch_more() {
                    self.say(&format!("error: {}", cause::once(error.as_ref())));
                }
                self.say("waiting for a change");
            }
        }
    }

    fn begin(&mut self, round: Round) {
        let Some(project) = &self.project else { return };
        if let Err(error) = run::clear_artifacts(&self.args, project) {
            return self.say(&format!("error: {}", cause::once(error.as_ref())));
        }
        if let Some(rounds) = &mut self.rounds {
            rounds.begin(&round);
            self.running = Some((round.clone(), false));
            self.last = Round {
                reload: false,
                ..round
            };
        }
    }

    /// Begins a round for which the user begins to wait now.
    fn begin_now(&mut self, files: Option<Vec<PathBuf>>, failed: bool) {
        self.sink.begin(Instant::now());
        self.begin(Round {
            files,
            pattern: self.last.pattern.clone(),
            failed,
            reload: false,
        });
    }

    fn press(&mut self, key: Key) {
        if self.running.is_some() {
            return;
        }
        match key {
            Key::All => self.begin_now(None, false),
            Key::Again => self.begin_now(self.last.files.clone(), self.last.failed),
            Key::Failed => {
                let failed = self.uses.lock().failed();
                match failed.is_empty() {
                    true => self.say("nothing has failed"),
                    false => self.begin_now(Some(failed.into_iter().collect()), true),
                }
            }
            Key::Pattern(pattern) => {
                self.last.pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
                self.begin_now(None, false);
            }
            Key::Quit => {}
        }
    }

    fn round_ended(&mut self, end: RoundEnd) {
        self.running = None;
        self.code = end.code;
        if let Some(error) = end.error {
            self.say(&format!("error: {error}"));
        }
        let checked = self.screen.reports.check().and_then(|()| self.watch_more());
        if let Err(error) = checked {
            self.say(&format!("error: {}", cause::once(error.as_ref())));
        }
        if self.cancel.is_cancelled().is_none() {
            let keys = match self.keys {
                true => "; Enter runs them again, a all, f what failed, p by name, q quits",
                false => "",
            };
            let count = self.uses.lock().count();
            self.say(&format!("watching {count} test file(s){keys}"));
        }
    }

    /// Starts the emulated host again: it has frozen, or its round was interrupted.
    fn host_ended(&mut self, why: Option<String>) {
        self.rounds = None;
        let running = self.running.take();
        if self.cancel.is_cancelled().is_some() {
            if running.is_some() {
                self.code = exit::INTERRUPTED;
            }
            return;
        }
        if let Some(why) = why {
            self.say(&why);
        }
        if let Err(error) = self.choose_where() {
            return self.say(&format!("error: {}", cause::once(error.as_ref())));
        }
        if let Some((round, false)) = running {
            self.begin(round);
            if let Some((_, again)) = &mut self.running {
                *again = true;
            }
        }
    }

    /// Runs what has changed while nothing ran, or before.
    fn look_at_changes(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        changed.extend(self.refresh());
        if changed.iter().any(|path| path.is_dir())
            && let Err(error) = self.watch_more()
        {
            self.say(&format!("error: {}", cause::once(error.as_ref())));
        }
        let touched = self.uses.lock().touched(&changed);
        if touched.is_nothing() {
            return;
        }
        self.sink.begin(Instant::now());
        if touched.reload {
            return self.load_and_begin();
        }
        if matches!(self.rounds, Some(Rounds::Emulated(_))) && !self.seen_inside(&changed) {
            // Its view of this machine's files is as it was when it started.
            self.rounds = None;
            if let Err(error) = self.choose_where() {
                return self.say(&format!("error: {}", cause::once(error.as_ref())));
            }
        }
        self.begin(Round {
            files: (!touched.all).then(|| touched.files.into_iter().collect()),
            pattern: self.last.pattern.clone(),
            failed: false,
            reload: false,
        });
    }
}
