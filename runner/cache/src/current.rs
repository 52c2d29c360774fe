//! The inputs of a fixture as they are now, without building it.
//!
//! Input: a fixture's source. Output: [`CurrentInputs`] with the key of the entry that would fit. Not here:
//! whether that entry is there.

use crate::digest::Digest;
use crate::error::FixtureError;
use crate::input::{self, Digests, Input, Key};
use crate::manifest::Manifest;
use crate::source::FixtureSource;
use crate::store::Store;
use crate::world::World;

/// A fixture's inputs and their digests now.
#[derive(Debug)]
pub(crate) struct CurrentInputs {
    /// Manifest of the last build from the source as it is now, if there is a readable one.
    pub(crate) manifest: Option<Manifest>,
    /// Why the manifest that is there cannot be read.
    pub(crate) damaged: Option<String>,
    /// Digests now of that manifest's inputs, or of the source alone.
    pub(crate) digests: Digests,
    /// Key that follows; `None` before the first build of this source, or of a fixture that it starts from.
    pub(crate) key: Option<Key>,
}

impl Store {
    /// The fixture's inputs now, as far as they are known without building it.
    ///
    /// # Errors
    /// When an input is there but cannot be read.
    pub(crate) fn current(
        &self,
        source: &FixtureSource,
        world: &dyn World,
    ) -> Result<CurrentInputs, FixtureError> {
        self.current_in(source, world, &mut Vec::new())
    }

    fn current_in(
        &self,
        source: &FixtureSource,
        world: &dyn World,
        seen: &mut Vec<String>,
    ) -> Result<CurrentInputs, FixtureError> {
        let own = source.as_input();
        let digest = world.digest(&own)?;
        let (manifest, damaged) = match Manifest::read(&self.manifests(), source, &digest) {
            Ok(manifest) => (manifest, None),
            Err(problem) => (None, Some(problem)),
        };
        let mut current = CurrentInputs {
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
            return Ok(None); // gone, or a cycle: the build reports it
        };
        match self.current_in(&source, world, seen) {
            Ok(current) => Ok(current.key.map(|key| key.digest())),
            // Its source is gone: the build reports it.
            Err(FixtureError::Source { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
