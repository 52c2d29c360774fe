//! Debian's cloud kernel, to prove that a distribution's kernel boots too.
//!
//! Input: the package behind `linux-image-cloud-amd64`. Output: its bzImage, the modules a guest here needs
//! in the order they load, and an initrd whose `/init` loads them. Not here: Debian's own initramfs; nothing
//! of the package is installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::debian::Package;
use super::initrd;
use crate::command::{output, run};

/// Part of the cache key: raised when the steps below leave something else.
pub(crate) const RECIPE: u32 = 1;

/// The drivers a guest of ours needs; what they depend on comes along.
const WANTED: [&str; 7] = [
    "virtio_mmio",
    "vmw_vsock_virtio_transport",
    "virtio_rng",
    "virtio_blk",
    "virtio_net",
    "pvpanic_mmio",
    "button",
];

/// Runs as PID 1 once Provium's agent has started.
const INIT: &str = include_str!("../../../fixtures/debian-cloud/init");

/// Unpacks the kernel and its modules into `out`, as `vmlinuz` and `modules/NN-name.ko`.
///
/// # Errors
/// When the package cannot be had or lacks one of the drivers.
pub(crate) fn build(package: &Package, scratch: &Path, out: &Path) -> Result<()> {
    package.unpack(scratch)?;
    let version = package.name.strip_prefix("linux-image-").unwrap_or(&package.name);
    let kernel = scratch.join("boot").join(format!("vmlinuz-{version}"));
    std::fs::copy(&kernel, out.join("vmlinuz")).with_context(|| format!("copy {}", kernel.display()))?;

    let tree = scratch.join("lib/modules").join(version);
    run(Command::new("/usr/sbin/depmod")
        .arg("-b")
        .arg(scratch)
        .arg(version))?;
    let read = |name| {
        let path = tree.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = load_order(&WANTED, &dependencies, &builtin)?;
    let modules = out.join("modules");
    std::fs::create_dir_all(&modules)?;
    for (index, path) in order.iter().enumerate() {
        let target = modules.join(format!("{index:02}-{}.ko", module_name(path)));
        write_uncompressed(&tree.join(path), &target)?;
    }
    Ok(())
}

/// The initrd for the kernel and modules that [`build`] left in `built`.
///
/// # Errors
/// When busybox is missing or `built` is not readable.
pub(crate) fn initrd(built: &Path) -> Result<Vec<u8>> {
    let mut archive: Archive = initrd::userland()?;
    archive.file("/init", 0o755, INIT);
    let modules = built.join("modules");
    for entry in std::fs::read_dir(&modules).with_context(|| format!("read {}", modules.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        archive.file(&format!("/modules/{name}"), 0o644, std::fs::read(entry.path())?);
    }
    archive.into_bytes()
}

/// The modules' paths (as modules.dep names them) in an order in which each finds what it needs loaded.
fn load_order<'a>(wanted: &[&str], dependencies: &'a str, builtin: &str) -> Result<Vec<&'a str>> {
    let mut order: Vec<&str> = Vec::new();
    for module in wanted {
        let line = dependencies.lines().find(|line| {
            line.split_once(':')
                .is_some_and(|(path, _)| module_name(path) == *module)
        });
        let Some((path, needs)) = line.and_then(|line| line.split_once(':')) else {
            if builtin.lines().any(|path| module_name(path) == *module) {
                continue;
            }
            bail!("the kernel package has no driver {module}, neither built in nor as a module");
        };
        // depmod lists what a module needs with the deepest need last.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

/// `kernel/drivers/virtio/virtio-rng.ko.xz` is module `virtio_rng`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn write_uncompressed(from: &Path, to: &Path) -> Result<()> {
    if from.extension().is_some_and(|end| end == "xz") {
        let copy = to.with_extension("ko.xz");
        std::fs::copy(from, &copy).with_context(|| format!("copy {}", from.display()))?;
        output(Command::new("xz").arg("--decompress").arg(&copy))?;
    } else {
        std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/virtio/virtio_ring.ko:\n\
        kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko\n\
        kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n\
        kernel/drivers/char/hw_random/virtio-rng.ko.xz: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n";

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let order = load_order(&["virtio_rng", "virtio_mmio"], DEP, "").unwrap();
        let names: Vec<String> = order.into_iter().map(module_name).collect();
        assert_eq!(names, ["virtio_ring", "virtio", "virtio_rng", "virtio_mmio"]);
    }

    #[test]
    fn a_built_in_driver_needs_no_module() {
        assert!(
            load_order(&["pvpanic_mmio"], DEP, "kernel/drivers/misc/pvpanic-mmio.ko\n")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_driver_the_kernel_lacks_is_named() {
        let message = load_order(&["virtio_blk"], DEP, "").unwrap_err().to_string();
        assert!(message.contains("virtio_blk"), "{message}");
    }
}
