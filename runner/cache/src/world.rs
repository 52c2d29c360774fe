//! The digests of inputs as they are now.
//!
//! Input: the project's configuration, the agent, the host. Output: a digest for each [`Input`], except for
//! other fixtures, whose keys the store computes. Not here: anything that no input names; a profile that no
//! fixture boots is never read.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::digest::{Digest, Hasher};
use crate::digest_cache::DigestCache;
use crate::error::FixtureError;
use crate::input::Input;
use crate::reading::Reading;
use crate::rootfs::{self, RootfsImage};
use crate::source::{FixtureSource, Sources};

/// Source of the digests of inputs.
pub trait World: Send + Sync {
    /// Digest of the input now; [`Digest::MISSING`] for what is not there. Not called for other fixtures.
    ///
    /// # Errors
    /// When it is there but cannot be read, and when a fixture's own source is not there.
    fn digest(&self, input: &Input) -> Result<Digest, FixtureError>;

    /// The source of the fixture that has exactly this name, if there is one.
    fn fixture(&self, name: &str) -> Option<FixtureSource>;
}

/// What of the host is part of every key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    /// Processor model, as far as a snapshot depends on it.
    pub cpu_model: String,
    /// Version of the snapshots' format.
    pub snapshot_format: String,
}

/// The files and profiles of a project that can be inputs of its fixtures.
#[derive(Debug, Clone, Default)]
pub struct ProjectFiles {
    /// The project's folder, absolute.
    pub project: PathBuf,
    /// The folders that are searched for fixtures, absolute.
    pub roots: Vec<PathBuf>,
    /// The cache's folder, absolute; images made of rootfs folders are in it.
    pub cache_dir: PathBuf,
    /// The profiles by name.
    pub profiles: BTreeMap<String, ProfileInputs>,
}

/// The parts of a profile that a guest can see.
#[derive(Debug, Clone, Default)]
pub struct ProfileInputs {
    /// The kernel, absolute.
    pub kernel: PathBuf,
    /// The initrd, absolute.
    pub initrd: Option<PathBuf>,
    /// The image or folder of the root disk, absolute.
    pub rootfs: Option<PathBuf>,
    /// Whether the agent is added at boot.
    pub agent: bool,
    /// All other settings that a guest can see, as bytes, always in the same order.
    pub settings: Vec<Vec<u8>>,
}

/// The inputs of a project on this host's disk.
#[derive(Debug)]
pub struct ProjectWorld {
    files: ProjectFiles,
    agent: Digest,
    host: HostIdentity,
    sources: Sources,
    digests: Arc<DigestCache>,
    /// Images that were asked for; held, so that none is evicted between its digest and its use.
    images: Mutex<BTreeMap<PathBuf, RootfsImage>>,
}

impl ProjectWorld {
    /// The world of a project. `agent` is the digest of the agent that guests boot with, `digests` the
    /// store's.
    ///
    /// # Errors
    /// When the project's folders cannot be searched for fixtures.
    pub fn new(
        files: ProjectFiles,
        agent: Digest,
        host: HostIdentity,
        digests: Arc<DigestCache>,
    ) -> Result<ProjectWorld, FixtureError> {
        Ok(ProjectWorld {
            sources: Sources::find(&files.project, &files.roots)?,
            files,
            agent,
            host,
            digests,
            images: Mutex::default(),
        })
    }

    /// The project's fixtures.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Path of the disk image for a profile's `rootfs`. The image stays in use as long as this lives.
    ///
    /// # Errors
    /// Why there is none and none can be made, in words.
    pub fn rootfs_image(&self, path: &Path, reading: &Reading) -> Result<PathBuf, String> {
        let image = rootfs::image(path, &self.files.cache_dir, &self.digests, reading)?;
        let path = image.path().to_owned();
        self.images.lock().entry(path.clone()).or_insert(image);
        Ok(path)
    }

    /// Digest of everything in a profile that a guest can see.
    fn profile(&self, profile: &ProfileInputs, reading: &Reading) -> Result<Digest, FixtureError> {
        let mut hasher = Hasher::default();
        // For a folder, the image that is made of it: a snapshot refers to exactly that file.
        let rootfs = profile.rootfs.as_ref().map(|path| match path.is_dir() {
            true => self
                .rootfs_image(path, reading)
                .map_err(|message| FixtureError::io("reading", path)(std::io::Error::other(message))),
            false => Ok(path.clone()),
        });
        let rootfs = rootfs.transpose()?;
        for (key, path) in [
            ("kernel", Some(&profile.kernel)),
            ("initrd", profile.initrd.as_ref()),
            ("rootfs", rootfs.as_ref()),
        ] {
            hasher.part(key.as_bytes());
            let Some(path) = path else {
                hasher.part(b"none");
                continue;
            };
            let digest = self
                .digests
                .digest(path, reading)
                .map_err(FixtureError::io("reading", path))?;
            hasher.part(digest.as_bytes());
        }
        // A snapshot opens the image below its root disk where it was: the same image elsewhere is another.
        let place = rootfs.as_deref().unwrap_or(Path::new(""));
        hasher.part(place.as_os_str().as_bytes());
        let agent = profile.agent.then_some(self.agent);
        hasher.part(agent.unwrap_or(Digest::MISSING).as_bytes());
        for setting in &profile.settings {
            hasher.part(setting);
        }
        Ok(hasher.finish())
    }

    /// This world for one who wants `reading` to be how it is read.
    pub fn read_by(self: &Arc<Self>, reading: Reading) -> Arc<dyn World> {
        Arc::new(ReadWorld {
            world: Arc::clone(self),
            reading,
        })
    }

    fn digest_by(&self, input: &Input, reading: &Reading) -> Result<Digest, FixtureError> {
        let read = |path| {
            self.digests
                .digest(path, reading)
                .map_err(FixtureError::io("reading", path))
        };
        match input {
            Input::Source { name, path } => {
                let error = |because| FixtureError::Source {
                    name: name.clone(),
                    path: path.clone(),
                    because,
                };
                match self.digests.digest(path, reading).map_err(error)? {
                    Digest::MISSING => Err(error(std::io::ErrorKind::NotFound.into())),
                    digest => Ok(digest),
                }
            }
            Input::Helper { path, .. } | Input::HostFile { path } => read(path),
            Input::Profile { name } => match self.files.profiles.get(name) {
                Some(profile) => self.profile(profile, reading),
                None => Ok(Digest::MISSING),
            },
            Input::CpuModel => Ok(Digest::of(self.host.cpu_model.as_bytes())),
            Input::SnapshotFormat => Ok(Digest::of(self.host.snapshot_format.as_bytes())),
            Input::Fixture { .. } => Ok(Digest::MISSING),
        }
    }
}

impl World for ProjectWorld {
    fn digest(&self, input: &Input) -> Result<Digest, FixtureError> {
        self.digest_by(input, &Reading::undisturbed())
    }

    fn fixture(&self, name: &str) -> Option<FixtureSource> {
        self.sources.named(name).cloned()
    }
}

/// A project's world as one reads it who may be told to stop.
struct ReadWorld {
    world: Arc<ProjectWorld>,
    reading: Reading,
}

impl World for ReadWorld {
    fn digest(&self, input: &Input) -> Result<Digest, FixtureError> {
        self.world.digest_by(input, &self.reading)
    }

    fn fixture(&self, name: &str) -> Option<FixtureSource> {
        self.world.fixture(name)
    }
}
