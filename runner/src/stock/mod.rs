//! Fixtures as guests: from a name to snapshots that can be resumed.
//!
//! Enters: a fixture's name and a way to build it. Leaves: a [`Fixture`], its cache entry held and its snapshots open.
//! One [`Fixtures`] serves a whole run, from any thread: what one test file has opened, the others share. Absent on
//! purpose: Lua, which is how fixtures are written; and the cache's own rules, which are in [`provium_cache`].

mod order;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use provium_vmm::HostModel;
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::{FORMAT_VERSION, Snapshot};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Profile, WallClock};
use provium_base::cancel::Cancel;
use provium_cache::{
    Building, Chain, Digest, Entry, Event, FixtureError, FixtureSource, HostIdentity, ObtainError, ProfileInputs,
    ProjectFiles, ProjectWorld, Request, Store, World,
};
use provium_guest::{NOTE_VERSION, Ready, agent_archive};

pub use order::{BuildFixture, Order};

/// The file of an entry that says which VMs are in it.
const META: &str = "fixture.json";
/// The folder of an entry with a folder for each VM.
const VMS: &str = "vm";

/// What is in a fixture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixtureMeta {
    /// Whether it is a whole lab, and not one VM.
    pub lab: bool,
    /// Its VMs, in the order of their declaration.
    pub vms: Vec<FixtureVm>,
}

/// One VM of a fixture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixtureVm {
    /// Its name in the fixture.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it was booted with, as whoever built the fixture wrote it down.
    pub options: serde_json::Value,
    /// Its folder below the entry's.
    pub folder: String,
}

/// A fixture that is in the cache, and in use as long as this lives.
#[derive(Debug)]
pub struct Fixture {
    /// The cache's entry.
    pub entry: Entry,
    /// Each VM and its snapshot.
    pub vms: Vec<(FixtureVm, Arc<Snapshot>)>,
    /// Whether it is a whole lab.
    pub lab: bool,
}

/// The fixtures of a project, for one run.
pub struct Fixtures {
    config: Arc<Config>,
    ready: Ready,
    say: Box<dyn Fn(&Event) + Send + Sync>,
    cache: OnceLock<Result<Cache, String>>,
    open: Mutex<HashMap<PathBuf, Arc<Fixture>>>,
}

struct Cache {
    store: Store,
    world: Arc<dyn World>,
    project: Arc<ProjectWorld>,
}

impl std::fmt::Debug for Fixtures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixtures")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl Fixtures {
    /// The fixtures of a project; nothing is opened yet. `say` hears what happens in the cache.
    pub fn new(config: Arc<Config>, ready: Ready, say: Box<dyn Fn(&Event) + Send + Sync>) -> Arc<Fixtures> {
        Arc::new(Fixtures {
            config,
            ready,
            say,
            cache: OnceLock::new(),
            open: Mutex::default(),
        })
    }

    /// The machines that are kept ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    fn cache(&self) -> Result<&Cache, String> {
        let opened = self.cache.get_or_init(|| {
            let say = &mut |event| (self.say)(&event);
            let mut open = || {
                let store = Store::open(&self.config.cache_dir, self.config.cache_max_size, say)?;
                let world = project_world(&self.config, &store)?;
                Ok((store, Arc::new(world)))
            };
            let (store, project) = open().map_err(|error: FixtureError| error.to_string())?;
            let world: Arc<dyn World> = Arc::clone(&project) as Arc<dyn World>;
            Ok(Cache {
                store,
                world,
                project,
            })
        });
        opened.as_ref().map_err(Clone::clone)
    }

    /// The source that `name` means.
    ///
    /// # Errors
    /// There is none of that name; names those that are near.
    pub fn source(&self, name: &str) -> Result<FixtureSource, String> {
        let found = self.cache()?.project.sources().lookup(name, None).cloned();
        found.map_err(|error| error.to_string())
    }

    /// The fixture, from the cache or built.
    ///
    /// # Errors
    /// What went wrong, for the user; the build's own error where it is that.
    pub fn obtain(
        &self,
        source: &FixtureSource,
        chain: &Chain,
        by: &str,
        cancel: &Cancel,
        build: &mut dyn FnMut(&Building) -> Result<(), String>,
    ) -> Result<Arc<Fixture>, String> {
        let known = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&source.path)
            .cloned();
        if let Some(fixture) = known {
            return Ok(fixture);
        }
        let cache = self.cache()?;
        let request = Request {
            source,
            world: &cache.world,
            chain,
            by,
            cancel,
        };
        let entry = cache
            .store
            .obtain(&request, build, &verify_entry, &mut |event| (self.say)(&event))
            .map_err(|error| match error {
                ObtainError::Build(error) => format!("fixture `{}` could not be built: {error}", source.name),
                ObtainError::Store(error) => error.to_string(),
            })?;
        let fixture = Arc::new(open_entry(entry)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(open.entry(source.path.clone()).or_insert(fixture)))
    }

    /// The disk image that a profile's `rootfs` stands for.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String> {
        self.cache()?.project.rootfs_image(path)
    }

    /// The digest of an image's content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn image_digest(&self, path: &Path) -> std::io::Result<ImageDigest> {
        let cache = self.cache().map_err(std::io::Error::other)?;
        Ok(*cache.store.digests().digest(path)?.as_bytes())
    }

    /// Whether a snapshot is in the cache, where it stays for as long as this run.
    pub fn holds(&self, snapshot: &Snapshot) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = open.values().flat_map(|fixture| &fixture.vms);
        all.any(|(_, held)| held.id() == snapshot.id())
    }

    /// Ends what is kept ready.
    pub fn close(&self) {
        self.ready.close();
    }
}

/// What the inputs of a project's fixtures are, here and now.
///
/// # Errors
/// When the project's folders cannot be searched for fixtures.
pub fn project_world(config: &Arc<Config>, store: &Store) -> Result<ProjectWorld, FixtureError> {
    let agent = Digest::of(agent_archive());
    ProjectWorld::new(
        project_files(config),
        agent,
        this_machine(),
        Arc::clone(store.digests()),
    )
}

/// What of the configuration can be an input of a fixture.
fn project_files(config: &Config) -> ProjectFiles {
    let profiles = config.profiles.iter();
    ProjectFiles {
        project: config.project.clone(),
        roots: config.roots.clone(),
        cache_dir: config.cache_dir.clone(),
        profiles: profiles
            .map(|(name, profile)| (name.clone(), profile_inputs(profile)))
            .collect(),
    }
}

/// All of a profile that a guest can see; a key that `Profile` gains belongs in here.
fn profile_inputs(profile: &Profile) -> ProfileInputs {
    ProfileInputs {
        kernel: profile.kernel.clone(),
        initrd: profile.initrd.clone(),
        rootfs: profile.rootfs.clone(),
        agent: profile.inject_agent,
        settings: vec![
            profile.cmdline.clone().into_bytes(),
            profile.memory.to_le_bytes().to_vec(),
            vec![profile.cpus],
            vec![u8::from(profile.wall_clock == WallClock::Kept)],
        ],
    }
}

/// What this machine adds to every fixture's key.
fn this_machine() -> HostIdentity {
    HostIdentity {
        // A host without KVM can list fixtures and build none.
        cpu_model: HostModel::of_this_host()
            .map_or_else(|error| error.to_string(), |model| model.to_string()),
        snapshot_format: format!("{FORMAT_VERSION}.{NOTE_VERSION}"),
    }
}

impl FixtureMeta {
    /// The folder for the snapshot of VM `index` in a build's folder, made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn vm_folder(build: &Path, index: usize) -> Result<(String, PathBuf), String> {
        let name = format!("{VMS}/{index}");
        let folder = build.join(&name);
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok((name, folder)),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        }
    }

    /// Writes it into a build's folder.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, build: &Path) -> Result<(), String> {
        let path = build.join(META);
        let text = serde_json::to_vec_pretty(self).expect("plain data is written to memory");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Reads what says which VMs are in a folder: of an entry, or of a saved lab.
///
/// # Errors
/// When it is not there or makes no sense.
pub fn read_meta(folder: &Path) -> Result<FixtureMeta, String> {
    let path = folder.join(META);
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let meta: FixtureMeta =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let below = |vm: &FixtureVm| {
        Path::new(&vm.folder)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    match meta.vms.iter().find(|vm| !below(vm)) {
        Some(vm) => Err(format!(
            "{}: `{}` is no folder below it",
            path.display(),
            vm.folder
        )),
        None => Ok(meta),
    }
}

/// Opens the snapshots of an entry.
///
/// # Errors
/// When the entry has none that can be used.
pub fn open_entry(entry: Entry) -> Result<Fixture, String> {
    let meta = read_meta(entry.dir())?;
    let vms = meta.vms.into_iter().map(|vm| {
        let snapshot = Snapshot::open(&entry.dir().join(&vm.folder)).map_err(|error| error.to_string())?;
        Ok((vm, snapshot))
    });
    Ok(Fixture {
        vms: vms.collect::<Result<_, String>>()?,
        lab: meta.lab,
        entry,
    })
}

/// Reads everything in an entry's snapshots and compares it with the checksums.
///
/// # Errors
/// What is wrong.
pub fn verify_entry(entry: &Path) -> Result<(), String> {
    for vm in read_meta(entry)?.vms {
        let snapshot = Snapshot::open(&entry.join(&vm.folder)).map_err(|error| error.to_string())?;
        snapshot.verify().map_err(|error| error.to_string())?;
    }
    Ok(())
}
