//! What a caller asks the cache for, and what a build is given.
//!
//! Input: the caller's wishes. Output: a [`Request`]; a [`Building`] for the build function. Not here: the
//! work on it (`obtain`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::cancel::Cancel;

use crate::builder_lock::Chain;
use crate::input_log::InputLog;
use crate::source::FixtureSource;
use crate::world::World;

/// A fixture to obtain, and for whom.
#[derive(Clone)]
pub struct Request<'a> {
    /// The fixture.
    pub source: &'a FixtureSource,
    /// Gives the digests of inputs.
    pub world: &'a Arc<dyn World>,
    /// The builds that this request is part of: [`Building::chain`] in a build, else empty.
    pub chain: &'a Chain,
    /// Name shown to others who wait while this builds, such as a test file.
    pub by: &'a str,
    /// Ends waits for other builders.
    pub cancel: &'a Cancel,
}

/// A running build, as the build function sees it.
#[derive(Debug, Clone)]
pub struct Building {
    pub(crate) dir: PathBuf,
    pub(crate) inputs: Arc<InputLog>,
    pub(crate) chain: Chain,
}

impl Building {
    /// Folder for what the build writes: files and folders, except for `entry.json` and `stamp` at its top.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Log in which the build records each input before it uses it. The fixture's own source, the processor
    /// model and the snapshots' format are recorded already.
    pub fn inputs(&self) -> &Arc<InputLog> {
        &self.inputs
    }

    /// Chain for the requests that this build makes.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}
