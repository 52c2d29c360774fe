//! A fixture's entry in the cache is sound or is built again, whatever became of its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium::config::{Config, Environment};
use provium::stock::{Fixture, FixtureMeta, FixtureVm, Fixtures, ObtainFailure};
use provium_base::cancel::Cancel;
use provium_base::events::{Event, FixtureEvent, Recorder};
use provium_cache::{Building, Chain};
use provium_guest::{ResumeOptions, WarmPool, resume, save};
use provium_tests::*;
use provium_vmm::snapshot::Snapshot;

/// A project with one fixture, whose builds resume a guest, mark it and save it.
struct Project {
    folder: tempfile::TempDir,
    config: Arc<Config>,
    seed: Arc<Snapshot>,
}

impl Project {
    fn new(seed: Arc<Snapshot>) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[provium]\nroots = ['.']\ncache_dir = 'cache'\n";
        std::fs::write(folder.path().join("provium.toml"), toml).unwrap();
        std::fs::write(folder.path().join("a.fixture.lua"), "return vm").unwrap();
        let config = Config::load(None, folder.path(), &[], &Environment::default()).unwrap();
        Project {
            folder,
            config: Arc::new(config),
            seed,
        }
    }

    /// What a run that starts now gets, and how often it had to build.
    fn obtain(&self) -> (Result<Arc<Fixture>, ObtainFailure>, usize) {
        let heard = Recorder::default();
        let seed = Arc::clone(&self.seed);
        let fixtures = Fixtures::new(
            Arc::clone(&self.config),
            WarmPool::new(0),
            Arc::new(heard.clone()),
            Box::new(move |_, _, _, building, _| build(&seed, building).map_err(|error| error.to_string())),
        );
        let source = fixtures.source("a").unwrap();
        let obtained = fixtures.obtain(&source, &Chain::default(), "a test", &Cancel::new());
        let events = heard.take();
        events.iter().for_each(|event| println!("  {event:?}"));
        let started = |event: &&Event| matches!(event, Event::Fixture(FixtureEvent::BuildStarted { .. }));
        let builds = events.iter().filter(started).count();
        (obtained, builds)
    }
}

/// Resumes the guest, marks it and saves it.
fn build(seed: &Arc<Snapshot>, building: &Building) -> anyhow::Result<()> {
    let mut guest = resume(seed, ResumeOptions::default())?;
    guest.client.push_file(b"/run/mark", None, &mut &b"marked"[..])?;
    let (folder, at) = FixtureMeta::vm_folder(building.dir(), 0).map_err(anyhow::Error::msg)?;
    save(&guest, &at, false, ResumeOptions::default())?;
    let vm = FixtureVm {
        labs: Vec::new(),
        name: "a".to_owned(),
        profile: "none".to_owned(),
        options: provium_guest::BootOptions::default(),
        folder,
    };
    let meta = FixtureMeta {
        lab: false,
        vms: vec![vm],
    };
    meta.write(building.dir()).map_err(anyhow::Error::msg)
}
/// The guest of the fixture is the one that was built.
fn check(fixture: &Fixture) {
    let mut guest = resume(&fixture.vms[0].1, ResumeOptions::default()).unwrap();
    assert_eq!(
        guest
            .client
            .ask(provium_guest::ops::read_file(b"/run/mark"))
            .unwrap(),
        b"marked"
    );
    assert_eq!(stdout(&mut guest, "sleep 0.01; echo well"), "well\n");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name();
    let files = all.into_iter().map(|entry| entry.unwrap());
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.into_path())
        .collect()
}

fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn an_entry_that_was_altered_anywhere_is_built_again() {
    let guest = boot_guest(config());
    let seed_folder = tempfile::tempdir().unwrap();
    let seed = save(&guest, seed_folder.path(), false, ResumeOptions::default()).unwrap();
    drop(guest);
    let project = Project::new(seed);
    let (first, builds) = project.obtain();
    let first = first.unwrap();
    assert_eq!(builds, 1);
    check(&first);
    let (run, _) = first.vms[0].1.first_run();
    let entry = first.entry.dir().to_owned();
    drop(first);
    let (again, builds) = project.obtain();
    assert_eq!(builds, 0, "a second run builds nothing");
    check(&again.unwrap());

    for file in files(&entry) {
        let name = file.strip_prefix(&entry).unwrap().display().to_string();
        // Of a file so long, as each build leaves it: lengths differ a little from one to the next.
        type Place = Box<dyn Fn(u64) -> u64>;
        let places: Vec<Place> = match name.as_str() {
            // Magic, version, length, the state's begin, middle and end, checksum.
            "vm/0/state" => vec![
                Box::new(|_| 0),
                Box::new(|_| 8),
                Box::new(|_| 12),
                Box::new(|_| 20),
                Box::new(|len| len / 2),
                Box::new(|len| len - 9),
                Box::new(|len| len - 1),
            ],
            // A page that is in the index, and the last of the guest's memory.
            "vm/0/memory" => vec![Box::new(move |_| run * 4096 + 5), Box::new(|len| len - 1)],
            _ => vec![Box::new(|_| 0), Box::new(|len| len / 2), Box::new(|len| len - 1)],
        };
        let cuts: Vec<Place> = vec![Box::new(|len| len - 1), Box::new(|len| len / 2), Box::new(|_| 0)];
        let flips = places.into_iter().map(|place| (true, place));
        for (flips, place) in flips.chain(cuts.into_iter().map(|place| (false, place))) {
            let len = std::fs::metadata(&file).unwrap().len();
            let at = place(len);
            let what = match flips {
                true => {
                    flip(&file, at);
                    format!("{name} flipped at {at} of {len}")
                }
                false => {
                    let file = std::fs::File::options().write(true).open(&file).unwrap();
                    file.set_len(at).unwrap();
                    format!("{name} cut to {at} of {len}")
                }
            };
            let (obtained, builds) = project.obtain();
            println!("{what}: {builds} build(s)");
            assert_eq!(builds, 1, "{what}");
            check(&obtained.unwrap_or_else(|error| panic!("{what}: {error}")));
        }
    }
    assert!(project.folder.path().join("cache/entries").is_dir());
}
