//! The kernel module that goes wrong on request, for tests of splats: `fixtures/splat-module`.
//!
//! Input: its sources, and the headers of a kernel: ours as our build left them, or Debian's packages.
//! Output: `splat.ko` for that kernel. Not here: what the module does; its README says that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use provium_debian::cache::{self, Cache};
use provium_debian::package::Package;

use super::kernel::Built;
use crate::command::{output, run};
use crate::workspace;

/// Part of the cache key: raised when the steps below leave something else.
const RECIPE: u32 = 2;
/// The module's file name, in cache entries and in `target/guest/`.
pub(super) const FILE: &str = "splat.ko";
/// Its sources.
const SOURCES: [&str; 2] = ["Kbuild", "splat.c"];

/// The module for a kernel of ours.
///
/// # Errors
/// When it does not build.
pub(super) fn for_ours(cache: &Cache<'_>, kernel: &Built) -> Result<PathBuf> {
    let entry = cache.get(&format!("module-{}", key(&[&kernel.key])?), |scratch, out| {
        let tree = scratch.join("headers");
        unpack(&kernel.headers, &tree)?;
        build(&tree, scratch, out)
    })?;
    Ok(entry.join(FILE))
}

/// The module for Debian's cloud kernel of this image package.
///
/// # Errors
/// When a package cannot be had or the module does not build.
pub(super) fn for_debian(cache: &Cache<'_>, image: &Package) -> Result<PathBuf> {
    let named = image.name.replacen("linux-image-", "linux-headers-", 1);
    let headers = Package::find(&named)?;
    ensure!(
        headers.version == image.version,
        "{} is at version {}, {named} at {}: run `apt-get update`",
        image.name,
        image.version,
        headers.version
    );
    let common = headers.dependency("linux-headers-")?;
    let tools = headers.dependency("linux-kbuild-")?;
    let packages = [headers, common, tools];
    let parts: Vec<&str> = packages
        .iter()
        .flat_map(|package| [package.name.as_str(), &package.version])
        .collect();
    let entry = cache.get(&format!("module-{}", key(&parts)?), |scratch, out| {
        let root = scratch.join("packages");
        for package in &packages {
            package.unpack(&root, &super::say)?;
        }
        // The makefile in the package names the common one by the path it is installed at.
        let [tree, common] =
            [&packages[0], &packages[1]].map(|package| root.join("usr/src").join(&package.name));
        let makefile = format!("include {}/Makefile\n", common.display());
        std::fs::write(tree.join("Makefile"), makefile).context("write the headers' makefile")?;
        build(&tree, scratch, out)
    })?;
    Ok(entry.join(FILE))
}

/// Unpacks an archive of headers into the new folder `tree`.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn unpack(headers: &Path, tree: &Path) -> Result<()> {
    std::fs::create_dir_all(tree).with_context(|| format!("create {}", tree.display()))?;
    run(Command::new("tar").arg("-xf").arg(headers).arg("-C").arg(tree))
}

/// The cache key of the module's sources and of what it is built for.
fn key(parts: &[&str]) -> Result<String> {
    let mut texts = vec!["module".to_owned(), RECIPE.to_string()];
    for name in SOURCES {
        texts.push(std::fs::read_to_string(folder().join(name)).with_context(|| format!("read {name}"))?);
    }
    texts.extend(parts.iter().map(|part| (*part).to_owned()));
    Ok(cache::key(texts.iter().map(String::as_str)))
}

fn folder() -> PathBuf {
    workspace::root().join("fixtures/splat-module")
}

/// Builds the module with the headers in `tree` and leaves it in `out`.
fn build(tree: &Path, scratch: &Path, out: &Path) -> Result<()> {
    let sources = scratch.join("module");
    std::fs::create_dir_all(&sources)?;
    for name in SOURCES {
        std::fs::copy(folder().join(name), sources.join(name)).with_context(|| format!("copy {name}"))?;
    }
    println!("   building the module {FILE}");
    let mut make = Command::new("make");
    make.arg("--silent").arg("-C").arg(tree);
    make.arg(format!("M={}", sources.display()))
        // Splats name the source by its path: not by that of a folder that is soon gone.
        .arg(format!("KCFLAGS=-ffile-prefix-map={}/=", sources.display()))
        // Type information would need the whole kernel.
        .args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
        .env("LC_ALL", "C")
        .env_remove("MAKEFLAGS")
        .env_remove("ARCH");
    output(&mut make)?;
    std::fs::copy(sources.join(FILE), out.join(FILE)).with_context(|| format!("copy {FILE}"))?;
    Ok(())
}
