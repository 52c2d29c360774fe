//! `cargo xtask guest`: everything a guest is booted from.
//!
//! Input: names of fragments. Output: in `target/guest/` our kernel (`vmlinux`, `vmlinux.debug`, `bzImage`,
//! `System.map`, `config`, and `headers/` to build modules with), `initrd.cpio` (busybox), `hostile.cpio` (an
//! agent that lies, for tests), `debian-cloud/{vmlinuz,initrd.cpio,modules}`, `debian.ext4` (a userland to be
//! `/`), for tests two small kernels with checkers, in `checked/` and `races/`, `selftests.tar.gz` (some of
//! the kernel's own tests), and beside each kernel `splat.ko` (a module that goes wrong); with
//! fragments, our kernel's files and its module in `target/guest-NAME/` instead.
//! Kernels come from a cache outside the tree (see [`provium_debian::cache`]); the archives are put together
//! anew, in milliseconds.

mod config;
mod hostile;
mod kernel;
mod module;
mod selftests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use provium_debian::cache::{self, Cache, place};
use provium_debian::{apt, busybox, userland};

use crate::workspace;

/// Our kernel's files, as the cache holds them and `target/guest/` gets them.
const KERNEL_FILES: [&str; 5] = ["vmlinux", kernel::DEBUG, "bzImage", "System.map", "config"];

/// The fragment that is no addition to `base`, but stands in its place.
const LEAST: &str = "least";
/// The small kernels with checkers, named like their fragments. No kernel can have both.
const CHECKERS: [&str; 2] = ["checked", "races"];

/// Builds what is missing and puts everything below `target/`.
///
/// # Errors
/// When a fragment does not exist, a download or a build fails, or a file cannot be written.
pub(crate) fn build(fragments: &[String]) -> Result<()> {
    apt::refresh(&say)?;
    let cache = Cache::of_user(&say)?;
    let folder = folder_for(fragments);
    // The quick parts first: what is missing on this machine shows before the long build.
    if fragments.is_empty() {
        place(
            &busybox::userland(&cache)?.into_bytes()?,
            &folder.join("initrd.cpio"),
        )?;
        place(&hostile::archive()?, &folder.join("hostile.cpio"))?;
        debian_files(&cache, &folder)?;
        copy(&selftests::archive(&cache)?, &folder.join(selftests::FILE))?;
    }
    let kernel = kernel_files(&cache, fragments, &folder)?;
    headers(&kernel, &folder.join("headers"))?;
    copy(&module::for_ours(&cache, &kernel)?, &folder.join(module::FILE))?;
    if fragments.is_empty() {
        for name in CHECKERS {
            let folder = folder.join(name);
            let kernel = kernel_files(&cache, &[LEAST, name].map(str::to_owned), &folder)?;
            copy(&module::for_ours(&cache, &kernel)?, &folder.join(module::FILE))?;
        }
    }
    println!("   guest files are in {}", folder.display());
    Ok(())
}

/// Builds the kernel with these fragments and puts its files into `folder`.
fn kernel_files(cache: &Cache<'_>, fragments: &[String], folder: &Path) -> Result<kernel::Built> {
    let fragments = read_fragments(fragments)?;
    let source = kernel::Source::find()?;
    let version = source.version();
    let names: Vec<&str> = fragments.iter().map(|(name, _)| name.as_str()).collect();
    println!(
        "   kernel: {} {version}, fragments {}",
        kernel::PACKAGE,
        names.join(" + ")
    );
    let recipe = kernel::RECIPE.to_string();
    let texts = fragments
        .iter()
        .flat_map(|(name, text)| [name.as_str(), text.as_str()]);
    let key = cache::key(
        ["kernel", &recipe, kernel::PACKAGE, version]
            .into_iter()
            .chain(texts),
    );
    let entry = cache.get(&format!("kernel-{key}"), |scratch, out| {
        kernel::build(&source, &fragments, scratch, out)
    })?;
    for name in KERNEL_FILES {
        copy(&entry.join(name), &folder.join(name))?;
    }
    let headers = entry.join(kernel::HEADERS);
    Ok(kernel::Built { key, headers })
}

/// Unpacks what modules for a kernel are built with to `tree`, unless its content is there already.
fn headers(kernel: &kernel::Built, tree: &Path) -> Result<()> {
    let mark = tree.join(".key");
    if std::fs::read_to_string(&mark).is_ok_and(|old| old == kernel.key) {
        return Ok(());
    }
    cache::remove(tree)?;
    module::unpack(&kernel.headers, tree)?;
    // Last: a tree that was not unpacked to its end has no mark.
    std::fs::write(&mark, &kernel.key).with_context(|| format!("write {}", mark.display()))
}

/// Puts Debian's guest into `folder`, where it has a module of ours and no name that hangs on the user.
fn debian_files(cache: &Cache<'_>, folder: &Path) -> Result<()> {
    let guest = provium_debian::guest::fetch(&cache::base()?, true, &say)?;
    let cloud = folder.join("debian-cloud");
    copy(&guest.kernel, &cloud.join("vmlinuz"))?;
    copy(&guest.initrd, &cloud.join("initrd.cpio"))?;
    let kernel = provium_debian::kernel::cloud(cache)?;
    let modules = cloud.join("modules");
    if modules.is_symlink() {
        std::fs::remove_file(&modules).with_context(|| format!("remove {}", modules.display()))?;
    }
    std::os::unix::fs::symlink(kernel.entry.join("lib/modules"), &modules)
        .with_context(|| format!("link {}", modules.display()))?;
    copy(
        &module::for_debian(cache, &kernel.package)?,
        &cloud.join(module::FILE),
    )?;
    link(&guest.rootfs.canonicalize()?, &folder.join(userland::IMAGE))
}

/// Shows what is done, below the headline of a phase.
pub(crate) fn say(what: &str) {
    println!("   {what}");
}

/// Brings a large file to `to` without copying it where both are on one file system.
fn link(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file needs a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    // The new link takes the old one's place at once: somebody may be using it.
    let new = tempfile::TempDir::new_in(folder)
        .with_context(|| format!("create a folder in {}", folder.display()))?;
    let new = new.path().join("new");
    if std::fs::hard_link(from, &new).is_err() {
        std::fs::copy(from, &new).with_context(|| format!("copy {}", from.display()))?;
    }
    std::fs::rename(&new, to).with_context(|| format!("install {}", to.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
    place(&content, to)
}

/// `target/guest`, or `target/guest-debug` for the variant with that fragment.
fn folder_for(fragments: &[String]) -> PathBuf {
    let name: Vec<&str> = ["guest"]
        .into_iter()
        .chain(fragments.iter().map(String::as_str))
        .collect();
    workspace::root().join("target").join(name.join("-"))
}

/// Name and text of `base`, unless `least` comes first, and of each named fragment, in the order they are
/// laid over each other.
fn read_fragments(extra: &[String]) -> Result<Vec<(String, String)>> {
    let folder = workspace::root().join("kernel-config");
    let mut fragments = Vec::new();
    let base = (extra.first().map(String::as_str) != Some(LEAST)).then_some("base");
    for name in base.into_iter().chain(extra.iter().map(String::as_str)) {
        ensure!(
            !fragments.iter().any(|(seen, _)| seen == name),
            "fragment `{name}` is named twice"
        );
        let path = folder.join(format!("{name}.config"));
        if !path.is_file() || name.contains('/') {
            bail!(
                "no fragment `{name}`; kernel-config/ has: {}",
                fragment_names(&folder)?.join(", ")
            );
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        fragments.push((name.to_owned(), text));
    }
    Ok(fragments)
}

fn fragment_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".config").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_get_folders_of_their_own() {
        let name = |fragments: &[&str]| {
            let fragments: Vec<String> = fragments.iter().map(|name| (*name).to_owned()).collect();
            folder_for(&fragments).file_name().unwrap().to_owned()
        };
        assert_eq!(
            (name(&[]), name(&["debug"])),
            ("guest".into(), "guest-debug".into())
        );
    }

    #[test]
    fn an_unknown_fragment_is_refused_with_those_there_are() {
        let message = read_fragments(&["debgu".to_owned()]).unwrap_err().to_string();
        assert!(
            message.contains("`debgu`") && message.contains("base, checked, debug"),
            "{message}"
        );
        let message = read_fragments(&["base".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("named twice"), "{message}");
    }
}
