//! The kernel modules of vhost-vsock for the emulated host, by which a peer's guest answers.
//!
//! The emulated host keeps only what it needs itself. These come from the package of the very kernel it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use provium_debian::cache::{self, Cache};
use provium_debian::package::Package;

use crate::guest::say;

/// In the order they are to be loaded.
const MODULES: [&str; 5] = [
    "net/vmw_vsock/vsock.ko",
    "net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
    "drivers/vhost/vhost_iotlb.ko",
    "drivers/vhost/vhost.ko",
    "drivers/vhost/vhost_vsock.ko",
];

/// A folder with the modules, their names in that order.
///
/// # Errors
/// When the emulated host's kernel is not known, or its package cannot be had.
pub(super) fn modules(provium: &Path) -> Result<PathBuf> {
    let facts = Command::new(provium).args(["doctor", "--json"]).output()?;
    let facts: serde_json::Value = serde_json::from_slice(&facts.stdout).context("provium doctor --json")?;
    let release = facts["emulated_host"]["kernel"]["version"].as_str();
    let release = release.context("the emulated host's kernel is not there yet")?;
    let package = Package::find(&format!("linux-image-{release}"))?;
    let key = cache::key(["vhost-vsock", "1", release, &package.version]);
    Cache::of_user(&say)?.get(&format!("vhost-vsock-{key}"), |scratch, out| {
        package.unpack(scratch, &say)?;
        let kernel = scratch.join("lib/modules").join(release).join("kernel");
        for (number, module) in MODULES.iter().enumerate() {
            let from = kernel.join(module);
            let name = module.rsplit_once('/').map_or(*module, |(_, name)| name);
            std::fs::copy(&from, out.join(format!("{number}-{name}")))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    })
}
