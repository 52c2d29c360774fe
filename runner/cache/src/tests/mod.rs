//! Tests of the cache with a builder that needs no guest.
//!
//! A fixture's source is a recipe of a few words: `uses NAME`, `helper NAME PATH`, `profile NAME`, `host
//! PATH`, `await PATH`, `meet PATH`, `slow`, `bulk MIB`, `fail WORDS`. What is built depends on
//! the inputs alone, so that every byte of an entry can be checked.

mod crowd;
mod damage;
mod full_disk;
mod helper;
mod inputs;
mod kill;
mod lru;
mod names;
mod owner;
mod status;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use provium_base::cancel::Cancel;
use provium_base::events::{Discard, Event, FixtureEvent, Recorder, Sink};

/// Bytes of the large file in an entry; too many to be read at each use.
const MEMORY: u64 = (2 << 20) + 4096;
/// Longer than anything here takes on a slow machine.
const LONG: Duration = Duration::from_secs(60);

const TOML: &str = "
[provium]
cache_dir = 'cache'
[profiles.minimal]
kernel = 'kernel'
initrd = 'initrd'
cmdline = 'quiet'
[profiles.other]
kernel = 'other-kernel'
cmdline = 'quiet'
";

/// A project with a cache of its own.
struct Bench {
    root: PathBuf,
    machine: HostIdentity,
    agent: Digest,
    max_size: u64,
    _dir: Option<TempDir>,
}

/// Result of one request.
#[derive(Debug)]
struct Got {
    entry: Entry,
    events: Vec<FixtureEvent>,
}

impl Got {
    fn built(&self) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, FixtureEvent::BuildStarted { .. }))
    }

    fn warnings(&self) -> Vec<String> {
        let warnings = self.events.iter().filter(|event| event.is_warning());
        warnings.map(FixtureEvent::to_string).collect()
    }
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Bench {
        let dir = TempDir::new().expect("a temporary folder");
        let bench = Bench {
            _dir: None,
            ..Bench::at(dir.path())
        };
        for (name, content) in [
            ("provium.toml", TOML),
            ("kernel", "kernel 1"),
            ("initrd", "initrd 1"),
            ("other-kernel", "other 1"),
        ] {
            bench.write(name, content);
        }
        for (name, content) in files {
            bench.write(name, content);
        }
        Bench {
            _dir: Some(dir),
            ..bench
        }
    }

    /// The project that another process has made.
    fn at(root: &Path) -> Bench {
        Bench {
            root: root.canonicalize().expect("a project"),
            machine: HostIdentity {
                cpu_model: "cpu".into(),
                snapshot_format: "1".into(),
            },
            agent: Digest::of(b"agent"),
            max_size: u64::MAX,
            _dir: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("write");
    }

    /// The content of `provium.toml`, as far as the cache needs it.
    fn files(&self) -> ProjectFiles {
        let toml = fs::read_to_string(self.path("provium.toml")).expect("provium.toml");
        let toml: toml::Table = toml.parse().expect("TOML");
        let roots = toml["provium"].get("roots").and_then(toml::Value::as_array);
        let path = |value: &toml::Value| self.path(value.as_str().expect("a path"));
        let profile = |profile: &toml::Value| ProfileInputs {
            kernel: path(&profile["kernel"]),
            initrd: profile.get("initrd").map(path),
            rootfs: profile.get("rootfs").map(path),
            agent: true,
            settings: ["cmdline", "memory"]
                .map(|key| {
                    profile
                        .get(key)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                        .into_bytes()
                })
                .to_vec(),
        };
        let profiles = toml["profiles"].as_table().expect("profiles");
        ProjectFiles {
            project: self.root.clone(),
            roots: roots.map_or_else(
                || vec![self.root.clone()],
                |roots| roots.iter().map(path).collect(),
            ),
            cache_dir: self.path("cache"),
            profiles: profiles
                .iter()
                .map(|(name, table)| (name.clone(), profile(table)))
                .collect(),
        }
    }

    fn look(&self) -> Store {
        Store::look(&self.path("cache"), self.max_size)
    }

    fn open(&self) -> (Store, Vec<FixtureEvent>) {
        let heard = Recorder::default();
        let store = Store::open(&self.path("cache"), self.max_size, &heard).expect("a store");
        (store, of_fixtures(heard.take()))
    }

    fn world(&self, store: &Store) -> Arc<dyn World> {
        Arc::new(self.project_world(store))
    }

    fn project_world(&self, store: &Store) -> ProjectWorld {
        let digests = Arc::clone(store.digests());
        ProjectWorld::new(self.files(), self.agent, self.machine.clone(), digests).expect("a world")
    }

    /// Obtains the fixture with a new store and world, as a new process has them, and checks every byte.
    fn obtain(&self, name: &str) -> Got {
        self.try_obtain(name, &Cancel::new())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"))
    }

    fn try_obtain(&self, name: &str, cancel: &Cancel) -> anyhow::Result<Got> {
        let (store, mut events) = self.open();
        let heard = Recorder::default();
        let world = self.world(&store);
        let kitchen = Kitchen {
            store: &store,
            world: &world,
            cancel,
            sink: &heard,
        };
        let entry = kitchen.obtain(name, &Chain::default())?;
        check(&entry);
        events.extend(of_fixtures(heard.take()));
        Ok(Got { entry, events })
    }

    fn names_in(&self, folder: &str) -> Vec<String> {
        let listing = fs::read_dir(self.path("cache").join(folder)).expect("a folder");
        let mut names: Vec<_> = listing
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// The events as events of fixtures, which all of the cache's are.
fn of_fixtures(events: Vec<Event>) -> Vec<FixtureEvent> {
    let fixtures = events.into_iter().map(|event| match event {
        Event::Fixture(event) => event,
        other => panic!("the cache says {other:?}"),
    });
    fixtures.collect()
}

/// Builds fixtures from their recipes.
struct Kitchen<'a> {
    store: &'a Store,
    world: &'a Arc<dyn World>,
    cancel: &'a Cancel,
    sink: &'a dyn Sink,
}

impl Kitchen<'_> {
    fn obtain(&self, name: &str, chain: &Chain) -> anyhow::Result<Entry> {
        let source = self
            .world
            .fixture(name)
            .ok_or_else(|| anyhow::anyhow!("no fixture {name}"))?;
        let request = Request {
            source: &source,
            world: self.world,
            chain,
            by: "a test",
            cancel: self.cancel,
        };
        let mut build = |building: &Building| self.cook(&source, building);
        let entry = self.store.obtain(&request, &mut build, &verify, self.sink);
        // A cycle that is found deep inside is the same error all the way out.
        entry.map_err(|error| match error {
            ObtainError::Build(error) => error,
            ObtainError::Store(error) => error.into(),
        })
    }

    fn cook(&self, source: &FixtureSource, building: &Building) -> anyhow::Result<()> {
        let recipe = fs::read_to_string(&source.path)?;
        let project = source.path.parent().unwrap_or(Path::new("/"));
        let mut taken = vec![recipe.clone()];
        let mut bulk = 0;
        let mut slow = Duration::ZERO;
        for line in recipe.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let inputs = building.inputs();
            match words.as_slice() {
                ["uses", name] => {
                    let entry = self.obtain(name, building.chain())?;
                    taken.push(fs::read_to_string(entry.dir().join("vm/a/state"))?);
                    inputs.uses(&entry);
                }
                ["helper", name, path] => {
                    let path = project.join(path);
                    inputs.add(Input::Helper {
                        name: (*name).into(),
                        path: path.clone(),
                    })?;
                    taken.push(fs::read_to_string(path).unwrap_or_default());
                }
                ["profile", name] => inputs.add(Input::Profile { name: (*name).into() })?,
                ["host", path] => {
                    let path = project.join(path);
                    inputs.add(Input::HostFile { path: path.clone() })?;
                    taken.push(fs::read_to_string(path).unwrap_or_default());
                }
                ["await", path] => wait_for("the file", || project.join(path).exists()),
                ["meet", path] => {
                    fs::write(project.join(format!("{path}-{}", source.name)), "")?;
                    wait_for("the others", || {
                        let there = |name| project.join(format!("{path}-{name}")).exists();
                        there("a") && there("b")
                    });
                }
                ["slow"] => slow = Duration::from_millis(2),
                ["bulk", mib] => bulk = mib.parse::<u64>()? << 20,
                ["fail", ..] => anyhow::bail!("{}", words[1..].join(" ")),
                [] => {}
                other => anyhow::bail!("no such step: {other:?}"),
            }
        }
        fill(building.dir(), &taken.join("\n--\n"), bulk, slow)
    }
}

/// Writes an entry's files, with a pause of `slow` between the parts.
fn fill(dir: &Path, taken: &str, bulk: u64, slow: Duration) -> anyhow::Result<()> {
    let vm = dir.join("vm/a");
    fs::create_dir_all(&vm)?;
    std::thread::sleep(slow);
    fs::write(vm.join("state"), taken)?;
    std::thread::sleep(slow);
    let memory = File::create(vm.join("memory"))?;
    for page in [0, 7, MEMORY / 4096 - 1] {
        memory.write_all_at(page_of(taken).as_bytes(), page * 4096)?;
        std::thread::sleep(slow);
    }
    memory.set_len(MEMORY)?;
    let block = vec![b'x'; 1 << 16];
    for at in (0..bulk).step_by(block.len()) {
        memory.write_all_at(&block, MEMORY + at)?;
    }
    Ok(())
}

fn page_of(taken: &str) -> String {
    format!("a page of {}", Digest::of(taken.as_bytes()))
}

/// Checks that the memory belongs to the state, as a snapshot's own check does.
fn verify(dir: &Path) -> Result<(), String> {
    let read = |name: &str| fs::read(dir.join("vm/a").join(name)).map_err(|error| error.to_string());
    let page = page_of(&String::from_utf8(read("state")?).map_err(|error| error.to_string())?);
    let memory = read("memory")?;
    let mut expected = vec![0; memory.len()];
    for at in [0, 7, MEMORY as usize / 4096 - 1] {
        let room = expected.get_mut(at * 4096..).unwrap_or_default();
        let room = room.get_mut(..page.len()).ok_or("memory is too short")?;
        room.copy_from_slice(page.as_bytes());
    }
    expected[MEMORY as usize..].fill(b'x');
    match memory == expected {
        true => Ok(()),
        false => Err("the checksum of its memory does not match".to_owned()),
    }
}

/// Checks every byte of an entry and of those it was built on.
fn check(entry: &Entry) {
    verify(entry.dir()).expect("a sound entry");
    let state = fs::read_to_string(entry.dir().join("vm/a/state")).expect("state");
    for parent in entry.parents() {
        check(parent);
        let below = fs::read_to_string(parent.dir().join("vm/a/state")).expect("state");
        assert!(
            state.contains(&below),
            "{} stands on another {}",
            entry.name(),
            parent.name()
        );
    }
}

/// Waits until `holds` returns true.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
