//! The smallest user space: busybox and the few files a shell expects.
//!
//! Input: Debian's package `busybox-static`. Output: an archive that boots under Provium as it is. Not here:
//! `/init`. Provium adds its agent at boot, and without an `/init` to hand over to, the agent stays PID 1.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::output;
use crate::archive::Archive;
use crate::cache::{self, Cache};
use crate::package::Package;

/// Part of the cache key: raised when the steps below leave something else.
const RECIPE: &str = "1";
pub(crate) const PACKAGE: &str = "busybox-static";
const FILE: &str = "busybox";

/// The files of `/etc`.
const ETC: [(&str, &str); 4] = [
    ("passwd", include_str!("../../../fixtures/initrd/etc/passwd")),
    ("group", include_str!("../../../fixtures/initrd/etc/group")),
    ("hosts", include_str!("../../../fixtures/initrd/etc/hosts")),
    ("hostname", include_str!("../../../fixtures/initrd/etc/hostname")),
];

/// The static busybox of Debian's package.
///
/// # Errors
/// When the package cannot be had.
pub fn program(cache: &Cache<'_>) -> Result<PathBuf> {
    let package = Package::find(PACKAGE)?;
    let key = cache::key([PACKAGE, RECIPE, &package.version]);
    let entry = cache.get(&format!("busybox-{key}"), |scratch, out| {
        let tree = scratch.join("tree");
        package.unpack(&tree, &|what| cache.say(what))?;
        let places = ["bin", "usr/bin"].map(|folder| tree.join(folder).join("busybox"));
        let found = places.iter().find(|path| path.is_file());
        let found = found.with_context(|| format!("{PACKAGE} has no busybox"))?;
        std::fs::rename(found, out.join(FILE)).context("keep busybox")
    })?;
    Ok(entry.join(FILE))
}

/// The archive with busybox, its applets as links, and the folders and files of a tiny system.
///
/// # Errors
/// When the package cannot be had.
pub fn userland(cache: &Cache<'_>) -> Result<Archive> {
    let busybox = program(cache)?;
    let content = std::fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?;
    let applets = output(Command::new(&busybox).arg("--list-full"))?;
    ensure!(
        applets.lines().any(|line| line == "bin/sh"),
        "{} has no shell applet",
        busybox.display()
    );

    let mut archive = Archive::default();
    archive.file("/bin/busybox", 0o755, content);
    for applet in applets.lines().filter(|line| !line.is_empty()) {
        archive.symlink(applet, "/bin/busybox");
    }
    for mount_point in ["/proc", "/sys", "/dev", "/run", "/mnt", "/var", "/var/log"] {
        archive.directory(mount_point, 0o755);
    }
    archive.directory("/tmp", 0o1777);
    archive.directory("/root", 0o700);
    for (name, content) in ETC {
        archive.file(&format!("/etc/{name}"), 0o644, content);
    }
    Ok(archive)
}
