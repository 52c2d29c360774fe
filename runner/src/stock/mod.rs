//! A project's fixtures, for tests and for `provium fixture`: from a name to snapshots that can be resumed.
//!
//! Input: the configuration, a sink, the function that builds a fixture; then a fixture's name. Output: a
//! [`Fixture`], its cache entry in use and its snapshots open; events. One [`Fixtures`] serves a whole
//! session, from any thread: what one test file has opened, the others share. Not here: Lua, in which
//! fixtures are written; the rules by which an entry is still good, which are `provium-cache`'s.
//!
//! ```text
//! mod     Fixtures: one store, one world, one way to build
//! world   what the inputs of fixtures are, for the cache
//! host    what VMs use of all this
//! meta    what is in a fixture's folder
//! ```

mod host;
mod meta;
#[cfg(test)]
pub(crate) mod tests;
mod world;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use provium_base::cancel::Cancel;
use provium_base::events::{FixtureEvent, Sink};
use provium_cache::{
    Building, Chain, FixtureSource, ObtainError, ProjectWorld, Request, Stage, Store, World,
};
use provium_guest::WarmPool;
use provium_symbols::{KernelFiles, KnownKernels, Symbolizer};

use crate::config::{Config, Profile};

pub use host::CancellableStore;
pub(crate) use meta::META;
pub use meta::{Fixture, FixtureMeta, FixtureVm, read_meta};
use meta::{open_entry, verify_entry};

/// Runs a fixture's source, which may obtain others, and leaves its snapshots in the build's folder; an error
/// is for the user.
pub type BuildFixture = dyn Fn(&Arc<Config>, &Arc<Fixtures>, &FixtureSource, &Building, &Arc<Cancel>) -> Result<(), String>
    + Send
    + Sync;

/// Why a fixture cannot be had; the message is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObtainFailure {
    /// Its build failed.
    #[error("fixture `{name}` could not be built: {error}")]
    Build {
        /// The fixture.
        name: String,
        /// What the build said.
        error: String,
    },
    /// The cache cannot be used, or the run was told to stop.
    #[error("{0}")]
    Cache(String),
}

/// The fixtures of a project.
pub struct Fixtures {
    config: Arc<Config>,
    pool: WarmPool,
    sink: Arc<dyn Sink>,
    build: Box<BuildFixture>,
    store: OnceLock<Store>,
    /// Who sweeps the cache and makes room in it.
    sweep: Sweep,
    /// Whether that was seen to.
    prepared: PerRun<()>,
    /// Whether something was built since room was made.
    built: AtomicBool,
    world: PerRun<Arc<ProjectWorld>>,
    /// Which run this is.
    run: AtomicU64,
    /// Opened fixtures by the path of their source.
    open: Mutex<HashMap<PathBuf, OpenFixture>>,
    /// Symbols of the kernels that profiles boot.
    kernels: KnownKernels,
    /// Where what goes with the session is made, once that is known.
    temporary: Mutex<Option<Temporary>>,
}

/// A folder of things that go with the session.
enum Temporary {
    /// In the cache, where the next run finds and removes what a killed one has left.
    Stage(Stage),
    /// One that somebody else keeps clean.
    Given(PathBuf),
}

/// Who sweeps the cache and makes room in it before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Whoever takes a fixture first.
    Here,
    /// The process outside of the emulated host, where looking at all entries takes milliseconds and not
    /// seconds.
    Outside,
}

/// A fixture whose snapshots are open.
struct OpenFixture {
    fixture: Arc<Fixture>,
    /// The run in which the cache was last asked whether it is still the one to use.
    run: u64,
}

/// A value that is made once in a run, when it is first needed.
struct PerRun<T>(Mutex<Option<Result<T, String>>>);

impl<T: Clone> PerRun<T> {
    fn new() -> PerRun<T> {
        PerRun(Mutex::new(None))
    }

    fn get(&self, make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        self.0.lock().get_or_insert_with(make).clone()
    }

    fn forget(&self) {
        *self.0.lock() = None;
    }
}

impl std::fmt::Debug for Fixtures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixtures")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Fixtures {
    /// The fixtures of a project; nothing is opened yet. `pool` is where machines are made ahead for them,
    /// `sink` hears what happens in the cache, `build` builds what is not in it.
    pub fn new(
        config: Arc<Config>,
        pool: WarmPool,
        sink: Arc<dyn Sink>,
        build: Box<BuildFixture>,
    ) -> Arc<Fixtures> {
        Fixtures::swept(Sweep::Here, config, pool, sink, build)
    }

    /// The same, with a word about who makes room in the cache.
    pub fn swept(
        sweep: Sweep,
        config: Arc<Config>,
        pool: WarmPool,
        sink: Arc<dyn Sink>,
        build: Box<BuildFixture>,
    ) -> Arc<Fixtures> {
        Arc::new(Fixtures {
            sweep,
            built: AtomicBool::new(false),
            config,
            pool,
            sink,
            build,
            store: OnceLock::new(),
            prepared: PerRun::new(),
            world: PerRun::new(),
            run: AtomicU64::new(0),
            open: Mutex::default(),
            kernels: KnownKernels::default(),
            temporary: Mutex::default(),
        })
    }

    /// The cache as it is; asking for it makes and removes nothing.
    pub fn store(&self) -> &Store {
        self.store
            .get_or_init(|| Store::look(&self.config.cache_dir, self.config.cache_max_size))
    }

    /// What inputs are, and which fixtures there are.
    ///
    /// # Errors
    /// When the project's folders cannot be searched.
    pub fn world(&self) -> Result<Arc<ProjectWorld>, String> {
        self.world
            .get(|| match world::project_world(&self.config, self.store()) {
                Ok(world) => Ok(Arc::new(world)),
                Err(error) => Err(error.to_string()),
            })
    }

    /// Makes the cache if there is none, sweeps it and makes room in it: before anything is taken from it,
    /// and again once something was built.
    ///
    /// # Errors
    /// When its folder cannot be made or written, or holds something else.
    pub fn prepare(&self) -> Result<(), String> {
        self.prepared.get(|| {
            let prepared = match self.sweep {
                Sweep::Here => self.store().tidy(&*self.sink),
                Sweep::Outside => self.store().prepare(),
            };
            prepared.map_err(|error| error.to_string())
        })
    }

    /// Makes room in the cache if anything was built since that was done, at a time when nobody waits. What
    /// goes wrong is for the next run to say.
    pub fn make_room(&self) {
        if self.built.swap(false, Ordering::Relaxed)
            && let Err(error) = self.store().tidy(&*self.sink)
        {
            tracing::debug!(%error, "no room is made in the cache");
        }
    }

    /// Has what goes with the session made in this folder, which goes by itself.
    pub fn use_temporary(&self, folder: PathBuf) {
        *self.temporary.lock() = Some(Temporary::Given(folder));
    }

    /// The folder in which what goes with the session is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn temporary(&self) -> Result<PathBuf, String> {
        let mut known = self.temporary.lock();
        let known = match &mut *known {
            Some(known) => known,
            none => {
                self.prepare()?;
                let stage = self.store().stage().map_err(|error| error.to_string())?;
                none.insert(Temporary::Stage(stage))
            }
        };
        Ok(match known {
            Temporary::Stage(stage) => stage.dir().to_owned(),
            Temporary::Given(folder) => folder.clone(),
        })
    }

    /// Begins another run with the same fixtures: what changed since is seen. Snapshots stay open where the
    /// cache says that they are still the ones to use.
    pub fn begin_run(&self) {
        self.run.fetch_add(1, Ordering::SeqCst);
        self.world.forget();
        self.kernels.forget();
    }

    /// Symbols of the kernel that a profile boots, which are read when one is asked for.
    pub fn symbols(&self, profile: &Profile) -> Arc<Symbolizer> {
        self.kernels.symbols(KernelFiles {
            kernel: profile.guest.kernel.clone(),
            debuginfo: profile.debuginfo.clone(),
        })
    }

    /// The source that `name` means.
    ///
    /// # Errors
    /// There is none of that name; names those that are near.
    pub fn source(&self, name: &str) -> Result<FixtureSource, String> {
        self.prepare()?;
        let world = self.world()?;
        let found = world.sources().lookup(name, None).cloned();
        found.map_err(|error| error.to_string())
    }

    /// The fixture, from the cache or built. `chain` is the builds that led here, `by` whom others wait for
    /// while this builds, `cancel` ends the build and any wait.
    ///
    /// # Errors
    /// [`ObtainFailure`].
    pub fn obtain(
        self: &Arc<Self>,
        source: &FixtureSource,
        chain: &Chain,
        by: &str,
        cancel: &Arc<Cancel>,
    ) -> Result<Arc<Fixture>, ObtainFailure> {
        let run = self.run.load(Ordering::SeqCst);
        if let Some(fixture) = self.opened(source, |open| open.run == run) {
            self.sink.emit(FixtureEvent::CacheHit {
                fixture: source.name.clone(),
                key: fixture.entry.key().to_string(),
            });
            return Ok(fixture);
        }
        self.prepare().map_err(ObtainFailure::Cache)?;
        let world: Arc<dyn World> = self
            .world()
            .map_err(ObtainFailure::Cache)?
            .read_by(self.reading(cancel));
        let request = Request {
            source,
            world: &world,
            chain,
            by,
            cancel,
        };
        let mut build = |building: &Building| {
            // The next run makes room for what comes now.
            self.prepared.forget();
            self.built.store(true, Ordering::Relaxed);
            (self.build)(&self.config, self, source, building, cancel)
        };
        let entry = self
            .store()
            .obtain(&request, &mut build, &verify_entry, &*self.sink)
            .map_err(|error| match error {
                ObtainError::Build(error) => ObtainFailure::Build {
                    name: source.name.clone(),
                    error,
                },
                ObtainError::Store(error) => ObtainFailure::Cache(error.to_string()),
            })?;
        let same = |open: &OpenFixture| {
            let known = &open.fixture.entry;
            (known.key(), known.build_id()) == (entry.key(), entry.build_id())
        };
        let fixture = match self.opened(source, same) {
            Some(fixture) => fixture,
            None => Arc::new(open_entry(entry).map_err(ObtainFailure::Cache)?),
        };
        let mut open = self.open.lock();
        match open.get(&source.path) {
            // Another thread was faster; its snapshots are the ones to share.
            Some(open) if open.run == run => Ok(Arc::clone(&open.fixture)),
            _ => {
                let opened = OpenFixture {
                    fixture: Arc::clone(&fixture),
                    run,
                };
                open.insert(source.path.clone(), opened);
                Ok(fixture)
            }
        }
    }

    /// The open fixture of that source, if there is one and it will do.
    fn opened(
        &self,
        source: &FixtureSource,
        will_do: impl FnOnce(&OpenFixture) -> bool,
    ) -> Option<Arc<Fixture>> {
        let open = self.open.lock();
        let found = open.get(&source.path).filter(|open| will_do(open));
        found.map(|open| Arc::clone(&open.fixture))
    }

    /// Ends the machines that were made ahead and removes what goes with the session.
    pub fn close(&self) {
        self.pool.close();
        *self.temporary.lock() = None;
    }
}
