//! The inputs of a build, recorded while it runs.
//!
//! Input: [`Input`]s and [`Entry`]s as the build uses them. Output: their digests, and which of them changed
//! since. Not here: how digests are computed ([`World`]).

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::entry::Entry;
use crate::error::FixtureError;
use crate::input::{Digests, Input};
use crate::world::World;

/// Recorder of a build's inputs. It is shared between everything that takes part in the build.
pub struct InputLog {
    world: Arc<dyn World>,
    logged: Mutex<Logged>,
}

#[derive(Default)]
struct Logged {
    digests: Digests,
    /// Entries of the fixtures that this one starts from; held, so that they are not evicted.
    parents: Vec<Entry>,
}

impl InputLog {
    /// An empty log; `world` gives the digests.
    pub(crate) fn new(world: Arc<dyn World>) -> InputLog {
        InputLog {
            world,
            logged: Mutex::default(),
        }
    }

    /// Records an input with its digest now. Must be called before the input is read or booted: a change
    /// between this call and the build's end is noticed, and the build is repeated. A second call for one
    /// input does nothing.
    ///
    /// # Errors
    /// When the input is there but cannot be read, and when it is a fixture, which [`InputLog::uses`]
    /// records.
    pub fn add(&self, input: Input) -> Result<(), FixtureError> {
        if let Input::Fixture { name } = input {
            let what = "noted as an input without its entry".to_owned();
            return Err(FixtureError::Builder { name, what });
        }
        if self.logged.lock().digests.contains_key(&input) {
            return Ok(());
        }
        let digest = self.world.digest(&input)?;
        self.logged.lock().digests.entry(input).or_insert(digest);
        Ok(())
    }

    /// Records the entry of a fixture that this one starts from. It stays in use as long as this log lives.
    pub fn uses(&self, entry: &Entry) {
        let input = Input::Fixture {
            name: entry.name().to_owned(),
        };
        let mut logged = self.logged.lock();
        if logged.digests.insert(input, entry.key().digest()).is_none() {
            logged.parents.push(entry.clone());
        }
    }

    /// All recorded inputs with their digests, and the entries of the fixtures among them.
    pub(crate) fn recorded(&self) -> (Digests, Vec<Entry>) {
        let logged = self.logged.lock();
        (logged.digests.clone(), logged.parents.clone())
    }

    /// The first input whose digest is not the recorded one any more. Fixtures are not asked about: their
    /// entries are held.
    ///
    /// # Errors
    /// When an input is there but cannot be read.
    pub(crate) fn changed(&self) -> Result<Option<Input>, FixtureError> {
        let (digests, _) = self.recorded();
        for (input, digest) in digests {
            if !matches!(input, Input::Fixture { .. }) && self.world.digest(&input)? != digest {
                return Ok(Some(input));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for InputLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputLog")
            .field("inputs", &self.recorded().0)
            .finish_non_exhaustive()
    }
}
