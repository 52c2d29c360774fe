//! A fixture from the cache, or built.
//!
//! Enters: a fixture and the caller's way to build it. Leaves: an [`Entry`], sound and in use. The order is one of
//! growing cost: a look at the cache, the wait for whoever builds it already, a second look, the build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::Verify;
use super::digest::Digest;
use super::entry::Entry;
use super::error::{FixtureError, ObtainError};
use super::event::Event;
use super::holder::{self, BuilderLock, Chain};
use super::input::{self, Digests, Input, InputLog, Key};
use super::install::{Done, install};
use super::manifest::Manifest;
use super::source::FixtureSource;
use super::staging::Stage;
use super::store::{Found, Store, allocated};
use super::world::World;
use provium_base::cancel::Cancel;

/// How often a fixture is built because something changed meanwhile.
const ATTEMPTS: u32 = 3;

/// What is wanted, and for whom.
#[derive(Clone)]
pub struct Request<'a> {
    /// The fixture.
    pub source: &'a FixtureSource,
    /// What inputs are.
    pub world: &'a Arc<dyn World>,
    /// The builds that led here: [`Building::chain`] in a build, else empty.
    pub chain: &'a Chain,
    /// Whom others wait for while this builds: a test file, say.
    pub by: &'a str,
    /// Ends the waits.
    pub cancel: &'a Cancel,
}

/// A build under way.
#[derive(Debug, Clone)]
pub struct Building {
    dir: PathBuf,
    inputs: Arc<InputLog>,
    chain: Chain,
}

impl Building {
    /// Where the build leaves its files: files and folders, and neither `entry.json` nor `stamp`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the build notes what it takes in, before it does. Its own source, the processor and the snapshots'
    /// format are noted already.
    pub fn inputs(&self) -> &Arc<InputLog> {
        &self.inputs
    }

    /// For requests that this build makes.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// What a fixture's inputs are now.
#[derive(Debug)]
pub(super) struct Current {
    /// The manifest for the source as it is, if there is a readable one.
    pub(super) manifest: Option<Manifest>,
    /// Why there is none that can be read.
    pub(super) damaged: Option<String>,
    /// The inputs of that manifest as they are now, or the source alone.
    pub(super) digests: Digests,
    /// The key that follows; `None` before the first build of this source, and of those it starts from.
    pub(super) key: Option<Key>,
}

impl Store {
    /// Gives the fixture's entry. On a miss `build` is called, once, to fill a folder; whatever it wrote is
    /// installed in one step after it returned, or is gone. `verify` is asked about an entry's folder when a file
    /// of more than 1 MiB in it may have changed; it says what is wrong with that.
    ///
    /// # Errors
    /// What `build` returned, and [`FixtureError`] for the rest. The cache stays sound in any case.
    pub fn obtain<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Entry, ObtainError<E>> {
        let got = self.obtain_inner(request, build, verify, on_event);
        self.digests().save();
        got.map_err(|error| match error {
            ObtainError::Store(FixtureError::Cancelled { reason, .. }) => FixtureError::Cancelled {
                name: request.source.name.clone(),
                reason,
            }
            .into(),
            other => other,
        })
    }

    fn obtain_inner<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Entry, ObtainError<E>> {
        let (source, cancel) = (request.source, request.cancel);
        request.chain.check(source)?;
        self.prepare()?;
        if let Some(key) = self.current(source, request.world.as_ref())?.key
            && let Found::Sound(entry) = self.find(key, verify, cancel)?
        {
            return Ok(hit(source, entry, on_event));
        }
        let locks = self.locks();
        let lock = holder::lock(&locks, source, request.chain, request.by, cancel, on_event)?;
        if let Some(entry) = self.look_again(request, verify, on_event)? {
            return Ok(hit(source, entry, on_event));
        }
        lock.announce();
        self.build(request, &lock, build, verify, on_event)
    }

    /// What others may have built meanwhile; removes what nobody can use.
    fn look_again(
        &self,
        request: &Request<'_>,
        verify: Verify<'_>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Option<Entry>, FixtureError> {
        let fixture = &request.source.name;
        let current = self.current(request.source, request.world.as_ref())?;
        if let Some(why) = current.damaged {
            on_event(Event::Damaged {
                fixture: fixture.clone(),
                what: format!("the record of its last build cannot be used: {why}"),
            });
        }
        let Some(key) = current.key else { return Ok(None) };
        match self.find(key, verify, request.cancel)? {
            Found::Sound(entry) => Ok(Some(entry)),
            Found::Missing => Ok(None),
            Found::Bad { why, place } => {
                self.discard(key, place, request.cancel)?;
                on_event(Event::Evicted {
                    fixture: Some(fixture.clone()),
                    entry: key.to_string(),
                    why,
                    warning: true,
                });
                Ok(None)
            }
        }
    }

    fn build<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        lock: &Arc<BuilderLock>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Entry, ObtainError<E>> {
        let fixture = &request.source.name;
        let mut changed = None;
        for _ in 0..ATTEMPTS {
            if let Some(reason) = request.cancel.is_cancelled() {
                let name = fixture.clone();
                return Err(FixtureError::Cancelled { name, reason }.into());
            }
            let started = Instant::now();
            on_event(Event::BuildStarted {
                fixture: fixture.clone(),
            });
            let built = self.build_once(request, lock, build, verify);
            let failure = match &built {
                Ok(Done::Installed(_)) => None,
                Ok(Done::Changed(input)) => Some(format!("{input} changed meanwhile")),
                Err(error) => Some(error.to_string()),
            };
            let bytes = match &built {
                Ok(Done::Installed(entry)) => allocated(entry.dir()),
                _ => 0,
            };
            on_event(Event::BuildDone {
                fixture: fixture.clone(),
                seconds: started.elapsed().as_secs_f64(),
                bytes,
                failure,
            });
            match built? {
                Done::Installed(entry) => return Ok(entry),
                Done::Changed(input) => changed = Some(input),
            }
        }
        Err(FixtureError::Changing {
            name: fixture.clone(),
            input: changed.map_or_else(String::new, |input| input.to_string()),
            times: ATTEMPTS,
        }
        .into())
    }

    fn build_once<E>(
        &self,
        request: &Request<'_>,
        lock: &Arc<BuilderLock>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
    ) -> Result<Done, ObtainError<E>> {
        let source = request.source;
        let started = Instant::now();
        let stage = Stage::new(&self.staging())?;
        let inputs = Arc::new(InputLog::new(Arc::clone(request.world)));
        for input in [source_input(source), Input::CpuModel, Input::SnapshotFormat] {
            inputs.add(input)?;
        }
        let building = Building {
            dir: stage.dir().to_owned(),
            inputs,
            chain: request.chain.with(source, lock),
        };
        build(&building).map_err(ObtainError::Build)?;
        Ok(install(self, request, stage, &building.inputs, started, verify)?)
    }

    /// What the fixture's inputs are now, as far as they are known without building it.
    pub(super) fn current(&self, source: &FixtureSource, world: &dyn World) -> Result<Current, FixtureError> {
        self.current_in(source, world, &mut Vec::new())
    }

    fn current_in(
        &self,
        source: &FixtureSource,
        world: &dyn World,
        seen: &mut Vec<String>,
    ) -> Result<Current, FixtureError> {
        let own = source_input(source);
        let digest = world.digest(&own)?;
        let (manifest, damaged) = match Manifest::read(&self.manifests(), source, &digest) {
            Ok(manifest) => (manifest, None),
            Err(problem) => (None, Some(problem)),
        };
        let mut current = Current {
            damaged,
            digests: Digests::from([(own, digest)]),
            key: None,
            manifest: None,
        };
        let Some(manifest) = manifest else {
            return Ok(current);
        };
        seen.push(source.id());
        let inputs = manifest.inputs.iter().map(|recorded| &recorded.input);
        let mut known = true;
        for input in inputs {
            let digest = match input {
                Input::Fixture { name } => self.key_of_parent(name, world, seen)?,
                Input::Source { .. } => continue,
                input => Some(world.digest(input)?),
            };
            known &= digest.is_some();
            current
                .digests
                .insert(input.clone(), digest.unwrap_or(Digest::MISSING));
        }
        seen.pop();
        current.key = known.then(|| input::key(&current.digests));
        current.manifest = Some(manifest);
        Ok(current)
    }

    fn key_of_parent(
        &self,
        name: &str,
        world: &dyn World,
        seen: &mut Vec<String>,
    ) -> Result<Option<Digest>, FixtureError> {
        let Some(source) = world.fixture(name).filter(|source| !seen.contains(&source.id())) else {
            return Ok(None); // gone, or a cycle, of which the build will tell
        };
        match self.current_in(&source, world, seen) {
            Ok(current) => Ok(current.key.map(|key| key.digest())),
            // Its source is gone: the build will tell.
            Err(FixtureError::Source { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn source_input(source: &FixtureSource) -> Input {
    Input::Source {
        name: source.name.clone(),
        path: source.path.clone(),
    }
}

fn hit(source: &FixtureSource, entry: Entry, on_event: &mut dyn FnMut(Event)) -> Entry {
    on_event(Event::CacheHit {
        fixture: source.name.clone(),
        key: entry.key().to_string(),
    });
    entry
}
