//! A Debian userland as a disk image, for tests of programs that busybox does not have.
//!
//! Input: Debian's archive, by way of debootstrap. Output: an ext4 file system with python3, nginx, curl,
//! systemd and what a shell script expects, ready to be a profile's `rootfs`. Not here: a kernel; and whether
//! the guest's process 1 is the agent or, with `provium.init=` on the command line, systemd.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::apt::{self, output};
use crate::cache::{self, Cache};
use crate::package::Package;

/// Part of the cache key: raised when the steps below leave something else.
const RECIPE: u32 = 2;
const SUITE: &str = "bookworm";
/// What is in it, on top of what Debian calls minbase.
pub const PACKAGES: [&str; 8] = [
    "curl",
    "e2fsprogs",
    "iproute2",
    "libpython3-stdlib",
    "nginx-light",
    "procps",
    "python3-minimal",
    "systemd-sysv",
];
/// Nobody reads them in a guest.
const UNWANTED: [&str; 6] = [
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
];
/// Name of the image, in the cache and in `target/guest/`.
pub const IMAGE: &str = "debian.ext4";
/// What the file system holds at most; what it does not hold takes no space.
const SIZE: &str = "640M";

/// The folder in the cache with [`IMAGE`], which is made first when it is missing.
///
/// # Errors
/// When a package cannot be had, debootstrap or mke2fs fails, or this is not root.
pub fn entry(cache: &Cache<'_>) -> Result<PathBuf> {
    let mut parts = vec![
        "userland".to_owned(),
        RECIPE.to_string(),
        SUITE.to_owned(),
        SIZE.to_owned(),
    ];
    for name in PACKAGES {
        let package = Package::find(name)?;
        parts.push(format!("{name}={}", package.version));
    }
    cache.say(&format!("Debian userland: {SUITE} with {}", PACKAGES.join(", ")));
    let key = cache::key(parts.iter().map(String::as_str));
    cache.get(&format!("userland-{key}"), |scratch, out| {
        build(cache, scratch, out)
    })
}

fn build(cache: &Cache<'_>, scratch: &Path, out: &Path) -> Result<()> {
    ensure!(
        apt::is_root(),
        "the Debian userland is made by debootstrap, which has to be root: run `sudo --preserve-env=HOME` with this command once"
    );
    let tree = scratch.join("tree");
    cache.say("debootstrap, about a minute");
    output(
        apt::administrative("debootstrap")
            .args(["--variant=minbase", &format!("--include={}", PACKAGES.join(","))])
            .arg(SUITE)
            .arg(&tree),
    )?;
    for folder in UNWANTED {
        let folder = tree.join(folder);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    for (file, content) in [
        ("etc/hostname", "guest\n"),
        ("etc/hosts", "127.0.0.1 localhost guest\n::1 localhost\n"),
        ("etc/resolv.conf", ""),
    ] {
        let file = tree.join(file);
        std::fs::write(&file, content).with_context(|| format!("write {}", file.display()))?;
    }
    output(
        apt::administrative("mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-L",
                "debian",
                "-E",
                "lazy_itable_init=0",
                "-d",
            ])
            .arg(&tree)
            .arg(out.join(IMAGE))
            .arg(SIZE),
    )?;
    Ok(())
}
