//! Gives a fixture's entry, from the cache or by a build.
//!
//! Input: a [`Request`] and the caller's build function. Output: an [`Entry`], verified and in use. The steps
//! are in the order of their cost: look up the cache, wait for another builder, look up again, build. Not
//! here: how a built folder becomes an entry (`install`).

use std::sync::Arc;
use std::time::Instant;

use provium_base::events::{FixtureEvent, Sink};

use crate::builder_lock::{self, BuilderLock};
use crate::disk::allocated;
use crate::entry::Entry;
use crate::error::{FixtureError, ObtainError};
use crate::input::Input;
use crate::input_log::InputLog;
use crate::install::{InstallOutcome, install};
use crate::request::{Building, Request};
use crate::source::FixtureSource;
use crate::staging::Stage;
use crate::stamp::Verify;
use crate::store::{Lookup, Store};

/// Builds in a row before giving up on a fixture whose inputs change during each.
const ATTEMPTS: u32 = 3;

impl Store {
    /// Gives the fixture's entry. On a miss `build` fills a folder, again when an input changed meanwhile;
    /// what it wrote is installed in one step after it returned, or removed. `verify` checks an entry's
    /// folder when a file of more than 1 MiB in it may have changed; its error says what is wrong.
    ///
    /// # Errors
    /// What `build` returned, and [`FixtureError`] for the rest. The cache stays usable in any case.
    pub fn obtain<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        sink: &dyn Sink,
    ) -> Result<Entry, ObtainError<E>> {
        let got = self.obtain_inner(request, build, verify, sink);
        self.digests().save();
        got.map_err(|error| match error {
            ObtainError::Store(FixtureError::Cancelled { reason, .. }) => FixtureError::Cancelled {
                name: request.source.name.clone(),
                reason,
            }
            .into(),
            // What reads an input ends with the token, and its error is about that.
            ObtainError::Store(FixtureError::Io { .. } | FixtureError::Source { .. })
                if let Some(reason) = request.cancel.is_cancelled() =>
            {
                let name = request.source.name.clone();
                FixtureError::Cancelled { name, reason }.into()
            }
            other => other,
        })
    }

    fn obtain_inner<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        sink: &dyn Sink,
    ) -> Result<Entry, ObtainError<E>> {
        let (source, cancel) = (request.source, request.cancel);
        request.chain.check(source)?;
        self.prepare()?;
        if let Some(key) = self.current(source, request.world.as_ref())?.key
            && let Lookup::Valid(entry) = self.find(key, verify, cancel)?
        {
            return Ok(hit(source, entry, sink));
        }
        let locks = self.locks();
        let lock = builder_lock::lock(&locks, source, request.chain, request.by, cancel, sink)?;
        if let Some(entry) = self.look_up_again(request, verify, sink)? {
            return Ok(hit(source, entry, sink));
        }
        lock.announce();
        self.build(request, &lock, build, verify, sink)
    }

    /// Looks the entry up once more, with the builder's lock held, and removes an entry that cannot be used.
    fn look_up_again(
        &self,
        request: &Request<'_>,
        verify: Verify<'_>,
        sink: &dyn Sink,
    ) -> Result<Option<Entry>, FixtureError> {
        let fixture = &request.source.name;
        let current = self.current(request.source, request.world.as_ref())?;
        if let Some(why) = current.damaged {
            sink.emit(FixtureEvent::Damaged {
                fixture: fixture.clone(),
                what: format!("the record of its last build cannot be used: {why}"),
            });
        }
        let Some(key) = current.key else { return Ok(None) };
        match self.find(key, verify, request.cancel)? {
            Lookup::Valid(entry) => Ok(Some(entry)),
            Lookup::Missing => Ok(None),
            Lookup::Invalid { why, folder } => {
                self.discard(key, folder, request.cancel)?;
                sink.emit(FixtureEvent::Evicted {
                    fixture: Some(fixture.clone()),
                    entry: key.to_string(),
                    why,
                    warning: true,
                });
                Ok(None)
            }
        }
    }

    /// Builds until the inputs stay the same during a build, at most [`ATTEMPTS`] times.
    fn build<E: std::fmt::Display>(
        &self,
        request: &Request<'_>,
        lock: &Arc<BuilderLock>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
        sink: &dyn Sink,
    ) -> Result<Entry, ObtainError<E>> {
        let fixture = &request.source.name;
        let mut changed = None;
        for _ in 0..ATTEMPTS {
            if let Some(reason) = request.cancel.is_cancelled() {
                let name = fixture.clone();
                return Err(FixtureError::Cancelled { name, reason }.into());
            }
            let started = Instant::now();
            sink.emit(FixtureEvent::BuildStarted {
                fixture: fixture.clone(),
            });
            let built = self.build_once(request, lock, build, verify);
            let failure = match &built {
                Ok(InstallOutcome::Installed(_)) => None,
                Ok(InstallOutcome::Changed(input)) => Some(format!("{input} changed meanwhile")),
                Err(error) => Some(error.to_string()),
            };
            let bytes = match &built {
                Ok(InstallOutcome::Installed(entry)) => allocated(entry.dir()),
                _ => 0,
            };
            sink.emit(FixtureEvent::BuildDone {
                fixture: fixture.clone(),
                took: started.elapsed(),
                bytes,
                failure,
            });
            match built? {
                InstallOutcome::Installed(entry) => return Ok(entry),
                InstallOutcome::Changed(input) => changed = Some(input),
            }
        }
        Err(FixtureError::Changing {
            name: fixture.clone(),
            input: changed.map_or_else(String::new, |input| input.to_string()),
            times: ATTEMPTS,
        }
        .into())
    }

    /// Builds once into a staging folder, and installs what was written.
    fn build_once<E>(
        &self,
        request: &Request<'_>,
        lock: &Arc<BuilderLock>,
        build: &mut dyn FnMut(&Building) -> Result<(), E>,
        verify: Verify<'_>,
    ) -> Result<InstallOutcome, ObtainError<E>> {
        let source = request.source;
        let started = Instant::now();
        let stage = Stage::new(&self.staging())?;
        let inputs = Arc::new(InputLog::new(Arc::clone(request.world)));
        for input in [source.as_input(), Input::CpuModel, Input::SnapshotFormat] {
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
}

/// Reports a cache hit and passes the entry on.
fn hit(source: &FixtureSource, entry: Entry, sink: &dyn Sink) -> Entry {
    sink.emit(FixtureEvent::CacheHit {
        fixture: source.name.clone(),
        key: entry.key().to_string(),
    });
    entry
}
