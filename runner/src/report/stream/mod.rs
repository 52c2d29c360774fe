//! The event stream: what happens in a run, for other programs while it happens.
//!
//! Input: events. Output: a frame for each that other programs know (docs/reference/events.md), to every
//! target. Whatever comes in, what comes out keeps its pairs: the end of a run, of a file and of Ctrl-C ends
//! what is still open. Not here: the bytes of a frame (`frame`), where they go (`target`).

mod frame;
mod payload;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use parking_lot::Mutex;
use provium_base::events::{Amount, ClaimEvent, Event, FixtureEvent, HostEvent, Sink, VmChange, VmEvent};
use provium_base::exit;
use provium_base::meta::Meta;
use provium_base::outcome::FileEnd;

use frame::{Fields, Payload, frame};
pub use target::{EventFile, EventSocket, EventStdout, Target};

/// Name and version of the schema, which are in the first frame.
const SCHEMA: &str = "provium-events";
const VERSION: u32 = 1;

/// A target, and who hears that it takes no more.
pub type Listened = (Box<dyn Target>, Box<dyn Fn(io::Error) + Send>);

/// Writes the stream.
pub struct EventStream(Mutex<Stream>);

/// The stream so far.
struct Stream {
    targets: Vec<OpenTarget>,
    /// Whether the first and the last frame are out.
    begun: bool,
    ended: bool,
    emulated: bool,
    found: BTreeSet<String>,
    files: BTreeMap<String, OpenFile>,
    builds: BTreeMap<String, Instant>,
}

/// A target that took all so far.
struct OpenTarget {
    target: Box<dyn Target>,
    error: Box<dyn Fn(io::Error) + Send>,
}

/// What of a file has begun and not ended.
#[derive(Default)]
struct OpenFile {
    tests: BTreeMap<String, Meta>,
    /// Tests that run side by side have VMs of the same names.
    vms: BTreeMap<String, Vec<Instant>>,
    claims: Vec<Amount>,
}

impl EventStream {
    /// A stream to these targets.
    pub fn new(targets: Vec<Listened>) -> EventStream {
        let targets = targets
            .into_iter()
            .map(|(target, error)| OpenTarget { target, error });
        EventStream(Mutex::new(Stream {
            targets: targets.collect(),
            begun: false,
            ended: false,
            emulated: false,
            found: BTreeSet::new(),
            files: BTreeMap::new(),
            builds: BTreeMap::new(),
        }))
    }
}

impl Sink for EventStream {
    fn event(&self, event: &Event) {
        self.0.lock().event(event);
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut stream = self.0.lock();
        if stream.begun && !stream.ended {
            stream.close_all("the run could not be carried out");
            let ended = Fields::default().number("exit_code", exit::HARNESS);
            stream.say("run_ended", ended);
        }
    }
}

impl Stream {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Host(event) => self.host(event),
            Event::RunStarted { files } => self.begin(*files),
            _ if !self.begun || self.ended => {}
            Event::FilesFound { files } => {
                for file in files
                    .iter()
                    .filter(|file| self.found.insert(file.path.clone()))
                    .collect::<Vec<_>>()
                {
                    self.say("file_discovered", payload::found(file));
                }
            }
            Event::FileStarted { path } => {
                self.files.insert(path.clone(), OpenFile::default());
                self.say("file_dispatched", payload::dispatched(path));
            }
            Event::FileBlocked {
                path,
                waiting_for,
                why,
            } => {
                let blocked = Fields::default()
                    .text("path", path)
                    .value("waiting_for", payload::amount(*waiting_for));
                self.say(
                    "file_blocked",
                    blocked.text("reason", "pool_full").text("why", why),
                );
            }
            Event::TestStarted { path, test, meta } => {
                if let Some(file) = self.files.get_mut(path) {
                    file.tests.insert(test.clone(), meta.clone());
                    self.say("test_started", payload::test(path, test, meta));
                }
            }
            Event::TestEnded { path, result } => {
                if let Some(file) = self.files.get_mut(path) {
                    file.tests.remove(&result.name);
                    let (kind, payload) = payload::ended(path, result);
                    self.say(kind, payload);
                }
            }
            // What an earlier start of the run has shown is no news.
            Event::FileEnded(end) => self.file_ended(end),
            Event::RunEnded(summary) => {
                self.close_all("the run has ended");
                self.say("run_ended", payload::run_ended(summary));
                self.ended = true;
            }
            Event::PoolState { used, available } => {
                let state = Fields::default().value("used", payload::amount(*used));
                self.say(
                    "pool_state",
                    state.value("available", payload::amount(*available)),
                );
            }
            Event::Vm(event) => self.vm(event),
            Event::Claim(event) => self.claim(event),
            Event::Fixture(event) => self.fixture(event),
            _ => {}
        }
    }

    fn say(&mut self, kind: &str, payload: Fields) {
        let payload: Payload = payload.done();
        let frame = frame(kind, &payload);
        self.targets.retain_mut(|open| match open.target.take(&frame) {
            Ok(()) => true,
            Err(error) => {
                (open.error)(error);
                false
            }
        });
    }

    fn begin(&mut self, files: usize) {
        if self.begun && !self.ended {
            return; // started again, in an emulated host that froze
        }
        (self.begun, self.ended) = (true, false);
        self.found.clear();
        let system = rustix::system::uname();
        let host = Fields::default()
            .text("name", &system.nodename().to_string_lossy())
            .text("kernel", &system.release().to_string_lossy());
        let begun = Fields::default()
            .text("schema", SCHEMA)
            .number("version", VERSION)
            .text("accel", if self.emulated { "tcg" } else { "kvm" })
            .value("host", host.map())
            .number("files", i64::try_from(files).unwrap_or(i64::MAX));
        self.say("run_started", begun);
    }

    fn host(&mut self, event: &HostEvent) {
        self.emulated = true;
        if matches!(event, HostEvent::Again { .. }) {
            self.close_all("the emulated host froze, and is started again");
        }
    }

    fn vm(&mut self, event: &VmEvent) {
        let VmEvent { path, vm, what } = event;
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        match what {
            VmChange::Began { .. } => {
                file.vms.entry(vm.clone()).or_default().push(Instant::now());
                self.say("vm_spawned", payload::vm_began(event));
            }
            VmChange::Ended { died } => {
                if let Some(since) = file.vms.get_mut(vm).and_then(Vec::pop) {
                    let kind = if died.is_some() { "vm_died" } else { "vm_shutdown" };
                    let ended = payload::vm_ended(path, vm, since).maybe("reason", died.as_deref());
                    self.say(kind, ended);
                }
            }
        }
    }

    fn claim(&mut self, event: &ClaimEvent) {
        let (path, amount, kind) = match event {
            ClaimEvent::Acquired { path, amount } => (path, *amount, "claim_acquired"),
            ClaimEvent::Released { path, amount } => (path, *amount, "claim_released"),
        };
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        match event {
            ClaimEvent::Acquired { .. } => file.claims.push(amount),
            ClaimEvent::Released { .. } => drop(file.claims.pop()),
        }
        self.say(
            kind,
            Fields::default()
                .text("path", path)
                .value("amount", payload::amount(amount)),
        );
    }

    fn fixture(&mut self, event: &FixtureEvent) {
        match event {
            FixtureEvent::BuildStarted { fixture } => {
                self.builds.insert(fixture.clone(), Instant::now());
            }
            FixtureEvent::BuildDone { fixture, .. } => drop(self.builds.remove(fixture)),
            _ => {}
        }
        if let Some((kind, payload)) = payload::fixture(event) {
            self.say(kind, payload);
        }
    }

    fn file_ended(&mut self, end: &FileEnd) {
        if self.close_file(&end.result.path, "its file has ended") {
            self.say("file_completed", payload::completed(end));
        }
    }

    /// Ends what is open of a file; says whether the file was.
    fn close_file(&mut self, path: &str, why: &str) -> bool {
        let Some(file) = self.files.remove(path) else {
            return false;
        };
        for (test, meta) in file.tests {
            self.say("test_failed", payload::cut_off(path, &test, &meta, why));
        }
        for (vm, begun) in file.vms {
            for since in begun {
                self.say("vm_shutdown", payload::vm_ended(path, &vm, since));
            }
        }
        for amount in file.claims {
            let released = Fields::default()
                .text("path", path)
                .value("amount", payload::amount(amount));
            self.say("claim_released", released);
        }
        true
    }

    /// Ends all that is open.
    fn close_all(&mut self, why: &str) {
        for path in self.files.keys().cloned().collect::<Vec<_>>() {
            self.close_file(&path, why);
            let cut = Fields::default().text("path", &path).text("status", "crashed");
            self.say("file_completed", cut.number("duration_ns", 0).text("reason", why));
        }
        for (fixture, since) in std::mem::take(&mut self.builds) {
            let done = Fields::default().text("path", &fixture).text("error", why);
            self.say(
                "fixture_build_done",
                done.number("duration_ns", payload::since(since)),
            );
        }
    }
}
