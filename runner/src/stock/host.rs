//! What VMs use of a project's fixtures and cache.
//!
//! Input: paths and snapshots. Output: machines made ahead, images, digests. Not here: fixtures.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_cache::{Input, Reading};
use provium_guest::{HostStore, WarmPool};
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;

use super::Fixtures;

/// A project's fixtures as the store of someone who may be told to stop.
pub struct CancellableStore<'a> {
    fixtures: &'a Fixtures,
    reading: Reading,
}

impl Fixtures {
    /// What VMs use of all this; `cancel` ends the reading of images and the making of one.
    pub fn until(&self, cancel: &Arc<Cancel>) -> CancellableStore<'_> {
        CancellableStore {
            fixtures: self,
            reading: self.reading(cancel),
        }
    }

    /// Reads what reading takes much longer in the emulated host, while this is not it: makes the images of
    /// profiles' folders and, where there are fixtures, learns the digests of all that profiles name. What
    /// goes wrong is said there, by whoever needs it.
    pub fn read_outside(&self, cancel: &Arc<Cancel>) {
        let (Ok(()), Ok(world)) = (self.prepare(), self.world()) else {
            return;
        };
        let has_fixtures = world.sources().all().next().is_some();
        let reading = self.reading(cancel);
        for (name, profile) in &self.config.profiles {
            if cancel.is_cancelled().is_some() {
                break;
            }
            if has_fixtures {
                let input = Input::Profile { name: name.clone() };
                drop(world.read_by(reading.clone()).digest(&input));
            } else if let Some(folder) = profile.guest.rootfs.as_deref().filter(|path| path.is_dir()) {
                drop(world.rootfs_image(folder, &reading));
            }
        }
        self.store().digests().save();
    }

    /// Reading that ends with `cancel`, and of which this project's sink hears.
    pub(super) fn reading(&self, cancel: &Arc<Cancel>) -> Reading {
        Reading::new(cancel, &self.sink)
    }
}

impl HostStore for CancellableStore<'_> {
    fn pool(&self) -> &WarmPool {
        &self.fixtures.pool
    }

    fn folder(&self) -> &Path {
        &self.fixtures.config.project
    }

    fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String> {
        self.fixtures.prepare()?;
        self.fixtures.world()?.rootfs_image(path, &self.reading)
    }

    fn temporary(&self) -> Result<PathBuf, String> {
        self.fixtures.temporary()
    }

    fn image_digest(&self, path: &Path) -> io::Result<ImageDigest> {
        self.fixtures.prepare().map_err(io::Error::other)?;
        let digests = self.fixtures.store().digests();
        Ok(*digests.digest(path, &self.reading)?.as_bytes())
    }

    /// A snapshot that is open here is in the cache, and stays there for as long as this run.
    fn keeps(&self, snapshot: &Snapshot) -> bool {
        let open = self.fixtures.open.lock();
        let mut all = open.values().flat_map(|open| &open.fixture.vms);
        all.any(|(_, held)| held.id() == snapshot.id())
    }
}
