//! What VMs use of a project's fixtures and cache.
//!
//! Input: paths and snapshots. Output: machines made ahead, images, digests. Not here: fixtures.

use std::io;
use std::path::{Path, PathBuf};

use provium_guest::{HostStore, WarmPool};
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;

use super::Fixtures;

impl HostStore for Fixtures {
    fn pool(&self) -> &WarmPool {
        &self.pool
    }

    fn folder(&self) -> &Path {
        &self.config.project
    }

    fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String> {
        self.prepare()?;
        self.world()?.rootfs_image(path)
    }

    fn image_digest(&self, path: &Path) -> io::Result<ImageDigest> {
        self.prepare().map_err(io::Error::other)?;
        Ok(*self.store().digests().digest(path)?.as_bytes())
    }

    /// A snapshot that is open here is in the cache, and stays there for as long as this run.
    fn keeps(&self, snapshot: &Snapshot) -> bool {
        let open = self.open.lock();
        let mut all = open.values().flat_map(|open| &open.fixture.vms);
        all.any(|(_, held)| held.id() == snapshot.id())
    }
}
