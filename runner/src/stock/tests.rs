//! One way to a fixture, for tests and for the command, with a builder that needs no guest.
//!
//! A source's text is what it takes in: `uses NAME` starts from another fixture; anything else makes a build
//! of its own.

use std::fs;
use std::sync::atomic::AtomicUsize;

use provium_base::cancel::CancelReason;
use provium_base::events::{Event, Recorder};
use provium_cache::Key;
use tempfile::TempDir;

use super::*;
use crate::config::Environment;

/// A project in a folder of its own.
pub(crate) struct Project {
    folder: TempDir,
    config: Arc<Config>,
    /// Number of builds, of all fixtures.
    builds: Arc<AtomicUsize>,
}

impl Project {
    /// With these sources of fixtures.
    pub(crate) fn new(sources: &[(&str, &str)]) -> Project {
        let folder = TempDir::new().expect("a temporary folder");
        let toml = "[provium]\nroots = ['.']\ncache_dir = 'cache'\n";
        fs::write(folder.path().join("provium.toml"), toml).expect("write");
        let config =
            Config::load(None, folder.path(), &[], &Environment::default()).expect("a configuration");
        let project = Project {
            folder,
            config: Arc::new(config),
            builds: Arc::default(),
        };
        for (name, text) in sources {
            project.write(name, text);
        }
        project
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(format!("{name}.fixture.lua")), text).expect("write");
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Its fixtures as a new process has them, and who hears of what happens to them.
    pub(crate) fn fixtures(&self) -> (Arc<Fixtures>, Recorder) {
        self.fixtures_swept(Sweep::Here)
    }

    fn fixtures_swept(&self, sweep: Sweep) -> (Arc<Fixtures>, Recorder) {
        let (heard, builds) = (Recorder::default(), Arc::clone(&self.builds));
        let build = move |_: &Arc<Config>,
                          fixtures: &Arc<Fixtures>,
                          source: &FixtureSource,
                          building: &Building,
                          cancel: &Arc<Cancel>| {
            builds.fetch_add(1, Ordering::SeqCst);
            let text = fs::read_to_string(&source.path).expect("the source");
            if let Some(why) = text.strip_prefix("fail ") {
                return Err(why.to_owned());
            }
            if let Some(name) = text.strip_prefix("uses ") {
                let source = fixtures.source(name)?;
                let parent = fixtures.obtain(&source, building.chain(), "a build", cancel);
                let parent = parent.map_err(|error| error.to_string())?;
                building.inputs().uses(&parent.entry);
            }
            let vms = Vec::new();
            FixtureMeta { lab: true, vms }.write(building.dir())
        };
        let sink = Arc::new(heard.clone());
        let config = Arc::clone(&self.config);
        let fixtures = Fixtures::swept(sweep, config, WarmPool::new(0), sink, Box::new(build));
        (fixtures, heard)
    }

    /// Number of builds since the last call.
    pub(crate) fn builds(&self) -> usize {
        self.builds.swap(0, Ordering::SeqCst)
    }
}

fn obtain(fixtures: &Arc<Fixtures>, name: &str) -> Arc<Fixture> {
    let source = fixtures.source(name).expect(name);
    let obtained = fixtures.obtain(&source, &Chain::default(), "a test", &Cancel::new());
    obtained.expect(name)
}

fn id(fixture: &Fixture) -> (Key, String) {
    (fixture.entry.key(), fixture.entry.build_id().to_owned())
}

/// The events as lines, without what differs from one build to the next.
pub(crate) fn lines(heard: &Recorder) -> Vec<String> {
    let line = |event| match event {
        Event::Fixture(FixtureEvent::BuildDone {
            fixture,
            failure: None,
            ..
        }) => format!("fixture `{fixture}`: built"),
        Event::Fixture(event) => event.to_string(),
        other => panic!("fixtures say {other:?}"),
    };
    heard.take().into_iter().map(line).collect()
}

#[test]
fn each_use_of_a_fixture_is_an_event_and_its_first_a_build() {
    let project = Project::new(&[("base", ""), ("top", "uses base")]);
    let (fixtures, heard) = project.fixtures();
    let first = obtain(&fixtures, "top");
    let again = obtain(&fixtures, "top");
    assert!(Arc::ptr_eq(&first, &again), "its snapshots are shared");
    obtain(&fixtures, "base");
    assert_eq!(
        lines(&heard),
        [
            "fixture `top`: building",
            "fixture `base`: building",
            "fixture `base`: built",
            "fixture `top`: built",
            "fixture `top`: from the cache",
            "fixture `base`: from the cache",
        ]
    );
    assert_eq!(project.builds(), 2);
    let (fixtures, heard) = project.fixtures();
    assert_eq!(id(&obtain(&fixtures, "top")), id(&first));
    assert_eq!(lines(&heard), ["fixture `top`: from the cache"]);
    assert_eq!(project.builds(), 0, "another process finds it");
}

#[test]
fn a_cache_swept_elsewhere_is_swept_here_once_something_was_built() {
    let project = Project::new(&[("a", "")]);
    let (fixtures, _) = project.fixtures();
    obtain(&fixtures, "a");
    let unusable = project.config.cache_dir.join("entries/unusable");
    fs::create_dir(&unusable).expect("a folder");
    let (inside, _) = project.fixtures_swept(Sweep::Outside);
    obtain(&inside, "a");
    inside.make_room();
    assert!(unusable.exists(), "nobody has looked");
    project.write("a", "2");
    inside.begin_run();
    obtain(&inside, "a");
    assert!(unusable.exists(), "nobody waits for a sweep");
    inside.make_room();
    assert!(!unusable.exists());

    fs::create_dir(&unusable).expect("a folder");
    let (here, _) = project.fixtures();
    obtain(&here, "a");
    assert!(!unusable.exists());
}

#[test]
fn another_run_sees_what_changed_and_keeps_open_what_did_not() {
    let project = Project::new(&[("a", "1"), ("b", "1")]);
    let (fixtures, heard) = project.fixtures();
    let (a, b) = (obtain(&fixtures, "a"), obtain(&fixtures, "b"));
    project.write("a", "2");
    assert!(
        Arc::ptr_eq(&a, &obtain(&fixtures, "a")),
        "within a run, a fixture stays what it is"
    );
    assert_eq!(project.builds(), 2);
    fixtures.begin_run();
    project.write("new", "");
    heard.take();
    assert_ne!(id(&obtain(&fixtures, "a")), id(&a));
    assert!(Arc::ptr_eq(&b, &obtain(&fixtures, "b")));
    obtain(&fixtures, "new");
    assert_eq!(project.builds(), 2, "`a` and `new`");
    assert!(
        lines(&heard).contains(&"fixture `b`: from the cache".to_owned()),
        "the cache was asked"
    );
}

#[test]
fn what_cannot_be_had_says_why() {
    let project = Project::new(&[("bad", "fail it is so"), ("on_bad", "uses bad"), ("a", "")]);
    let (fixtures, _) = project.fixtures();
    let error = |name: &str, cancel: &Arc<Cancel>| {
        let source = fixtures.source(name).expect(name);
        let obtained = fixtures.obtain(&source, &Chain::default(), "a test", cancel);
        obtained.map(|_| ()).expect_err(name)
    };
    let cancel = Cancel::new();
    let bad = ObtainFailure::Build {
        name: "bad".into(),
        error: "it is so".into(),
    };
    assert_eq!(bad.to_string(), "fixture `bad` could not be built: it is so");
    assert_eq!(error("bad", &cancel), bad);
    assert_eq!(
        error("on_bad", &cancel).to_string(),
        format!("fixture `on_bad` could not be built: {bad}")
    );
    cancel.cancel(CancelReason::Interrupted);
    assert_eq!(
        error("a", &cancel),
        ObtainFailure::Cache("fixture `a`: interrupted".into())
    );
    assert!(fixtures.source("abd").expect_err("none").contains("did you mean"));
}

#[test]
fn what_goes_with_a_session_is_in_the_cache_and_what_a_killed_one_left_is_removed_by_the_next() {
    let project = Project::new(&[]);
    let cache = &project.config().cache_dir;
    let temporary = |fixtures: &Arc<Fixtures>| fixtures.temporary().expect("a folder");
    let (first, _) = project.fixtures();
    let alive = temporary(&first);
    assert!(alive.starts_with(cache) && alive.is_dir());
    // As after a kill: the folder, and a marker that nobody has locked.
    let dead = alive.with_file_name("0123");
    fs::create_dir(&dead).expect("a folder");
    fs::write(dead.join("memory"), "a guest's memory").expect("write");
    fs::write(dead.with_extension("lock"), "").expect("write");
    let (second, _) = project.fixtures();
    let other = temporary(&second);
    assert!(alive.is_dir() && other.is_dir() && !dead.exists());
    first.close();
    assert!(!alive.exists() && other.is_dir());
    let given = tempfile::tempdir().expect("a folder");
    second.use_temporary(given.path().to_owned());
    assert!(!other.exists());
    assert_eq!(temporary(&second), given.path());
}
