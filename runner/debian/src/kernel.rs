//! Debian's cloud kernel, which boots under Provium as Debian built it.
//!
//! Input: the package behind `linux-image-cloud-amd64`. Output: its bzImage and configuration, all its
//! modules, and an initrd: busybox, and the modules a guest here needs, which the agent loads first of all.
//! Not here: Debian's own initramfs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use provium_base::modules;

use crate::busybox;
use crate::cache::{self, Cache};
use crate::package::Package;

/// Part of the cache key: raised when the steps below leave something else.
pub(crate) const RECIPE: &str = "3";
/// The package that always depends on the newest kernel.
const META: &str = "linux-image-cloud-amd64";
/// Name of the bzImage in an entry.
pub const IMAGE: &str = "vmlinuz";
/// Name of the initrd in an entry.
pub const INITRD: &str = "initrd.cpio";

/// Where the agent looks for modules, in a folder for each version.
const MODULES: &str = "/.provium/modules";

/// A kernel in the cache.
#[derive(Debug)]
pub struct CloudKernel {
    /// The folder with the files.
    pub entry: PathBuf,
    /// The package they are from.
    pub package: Package,
}

/// Debian's current cloud kernel, fetched when it is not in the cache.
///
/// # Errors
/// When a package cannot be had or lacks one of the drivers.
pub fn cloud(cache: &Cache<'_>) -> Result<CloudKernel> {
    let package = Package::find(META)?.dependency("linux-image-")?;
    let busybox = Package::find(busybox::PACKAGE)?;
    cache.say(&format!(
        "Debian's cloud kernel: {} {}",
        package.name, package.version
    ));
    let key = cache::key(["cloud", RECIPE, &package.name, &package.version, &busybox.version]);
    let entry = cache.get(&format!("cloud-{key}"), |scratch, out| {
        build(cache, &package, scratch, out)
    })?;
    Ok(CloudKernel { entry, package })
}

/// Leaves in `out` what a guest boots: `vmlinuz`, `config`, `initrd.cpio` and `lib/modules/VERSION`.
fn build(cache: &Cache<'_>, package: &Package, scratch: &Path, out: &Path) -> Result<()> {
    let tree = scratch.join("tree");
    package.unpack(&tree, &|what| cache.say(what))?;
    let version = package.name.strip_prefix("linux-image-").unwrap_or(&package.name);
    let keep = |from: PathBuf, to: PathBuf| {
        let folder = to.parent().unwrap_or(out);
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        std::fs::rename(&from, &to).with_context(|| format!("keep {}", from.display()))
    };
    let boot = tree.join("boot");
    keep(boot.join(format!("vmlinuz-{version}")), out.join(IMAGE))?;
    keep(boot.join(format!("config-{version}")), out.join("config"))?;
    let places = ["lib/modules", "usr/lib/modules"].map(|folder| tree.join(folder).join(version));
    let found = places.into_iter().find(|folder| folder.is_dir());
    let modules = out.join("lib/modules").join(version);
    keep(
        found.with_context(|| format!("{} has no modules", package.name))?,
        modules.clone(),
    )?;

    let mut archive = busybox::userland(cache)?;
    for (index, module) in modules::load(&modules, &modules::GUEST_NEEDS, &modules::GUEST_WANTS)?
        .into_iter()
        .enumerate()
    {
        archive.file(
            &format!("{MODULES}/{version}/{index:02}-{}.ko", module.name),
            0o644,
            module.image,
        );
    }
    let initrd = out.join(INITRD);
    std::fs::write(&initrd, archive.into_bytes()?).with_context(|| format!("write {}", initrd.display()))
}
