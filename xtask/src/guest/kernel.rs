//! The guest kernel, built from Debian's source package and this project's fragments.
//!
//! Input: the unpacked or installed source and the fragments' text. Output: `vmlinux` (stripped), what was
//! stripped of it (`vmlinux.debug`: symbols and lines), `bzImage`, `System.map`, the final `config`, and what
//! modules are built with (`headers.tar.gz`). Not here: modules, and the build tree, which the caller throws
//! away.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use provium_debian::package::Package;

use super::config;
use crate::command::{output, run};

/// Part of the cache key: raised when the steps below leave something else.
pub(crate) const RECIPE: u32 = 2;

/// The package with the source.
pub(crate) const PACKAGE: &str = "linux-source-6.12";

/// Name of the file with symbols and debug information.
pub(crate) const DEBUG: &str = "vmlinux.debug";
/// Name of the archive of what modules are built with.
pub(crate) const HEADERS: &str = "headers.tar.gz";

/// A kernel in the cache, for which modules can be built.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its cache key.
    pub(crate) key: String,
    /// The archive of what modules are built with.
    pub(crate) headers: PathBuf,
}

/// Where the source comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// From apt, at this version.
    Apt(Package),
    /// The archive an installed package left, when apt offers none.
    Installed { archive: PathBuf, version: String },
}

impl Source {
    /// Finds the source: what apt offers, else what is installed.
    ///
    /// # Errors
    /// When there is neither; apt's own words are kept.
    pub(crate) fn find() -> Result<Source> {
        let archive = PathBuf::from(format!("/usr/src/{PACKAGE}.tar.xz"));
        match Package::find(PACKAGE) {
            Ok(package) => Ok(Source::Apt(package)),
            Err(_) if archive.is_file() => {
                let query = ["--show", "--showformat", "${Version}", PACKAGE];
                let version = output(Command::new("dpkg-query").args(query))?;
                Ok(Source::Installed { archive, version })
            }
            Err(error) => {
                Err(error.context(format!("no kernel source: {} is missing too", archive.display())))
            }
        }
    }

    /// The package's version, part of the cache key.
    pub(crate) fn version(&self) -> &str {
        match self {
            Source::Apt(package) => &package.version,
            Source::Installed { version, .. } => version,
        }
    }

    /// Unpacks the source below `scratch` and returns its folder.
    ///
    /// # Errors
    /// When the package cannot be had or unpacked.
    pub(super) fn unpack(&self, scratch: &Path) -> Result<PathBuf> {
        let (archive, below) = match self {
            Source::Installed { archive, .. } => (archive.clone(), None),
            Source::Apt(package) => {
                let folder = scratch.join("package");
                package.unpack(&folder, &super::say)?;
                (folder.join(format!("usr/src/{PACKAGE}.tar.xz")), Some(folder))
            }
        };
        run(Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(scratch))?;
        if let Some(folder) = below {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        Ok(scratch.join(PACKAGE))
    }
}

/// Builds the kernel in `scratch` and leaves its files in `out`.
///
/// # Errors
/// When a step fails (the compiler's words are on stderr) or an option of a fragment is lost.
pub(crate) fn build(
    source: &Source,
    fragments: &[(String, String)],
    scratch: &Path,
    out: &Path,
) -> Result<()> {
    let tree = source.unpack(scratch)?;
    let objects = scratch.join("objects");
    std::fs::create_dir_all(&objects)?;
    configure(&tree, &objects, fragments)?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("   compiling with {cores} job(s)");
    run(make(&tree, &objects)
        .arg(format!("--jobs={cores}"))
        .args(["vmlinux", "bzImage", "modules"]))?;

    let whole = objects.join("vmlinux");
    run(Command::new("strip")
        .arg("-o")
        .arg(out.join("vmlinux"))
        .arg(&whole))?;
    let debug = out.join(DEBUG);
    run(Command::new("objcopy")
        .arg("--only-keep-debug")
        .arg(&whole)
        .arg(&debug))?;
    pack_headers(&tree, &objects, scratch, &out.join(HEADERS))?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", "bzImage"),
        ("System.map", "System.map"),
        (".config", "config"),
    ] {
        let from = objects.join(from);
        std::fs::copy(&from, out.join(to)).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

/// Packs what modules are built with, as the kernel's own packages do, into the archive `target`.
fn pack_headers(tree: &Path, objects: &Path, scratch: &Path, target: &Path) -> Result<()> {
    let headers = scratch.join("headers");
    let install = format!(
        "+$(srctree)/scripts/package/install-extmod-build {}",
        headers.display()
    );
    run(make(tree, objects)
        .arg("run-command")
        .arg(format!("KBUILD_RUN_COMMAND={install}")))?;
    pack(&headers, target)
}

/// Packs a folder into the archive `target`, in one order, with one owner and time: it is part of what is
/// checked for having changed.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn pack(folder: &Path, target: &Path) -> Result<()> {
    run(Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mtime=@0", "-I", "gzip --no-name -6", "-cf"])
        .arg(target)
        .arg("-C")
        .arg(folder)
        .arg("."))
}

/// Leaves a `.config` in `objects`: the smallest kernel there is, and the fragments on top.
fn configure(tree: &Path, objects: &Path, fragments: &[(String, String)]) -> Result<()> {
    run(make(tree, objects).arg("tinyconfig"))?;
    let config = objects.join(".config");
    let mut merge = Command::new(tree.join("scripts/kconfig/merge_config.sh"));
    merge
        .current_dir(objects)
        .env("KCONFIG_CONFIG", &config)
        .arg("-m")
        .arg("-O")
        .arg(objects)
        .arg(&config);
    for (name, text) in fragments {
        let path = objects.join(format!("{name}.config"));
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        merge.arg(path);
    }
    output(&mut merge)?;
    run(make(tree, objects).arg("olddefconfig"))?;

    let wanted = config::merge(fragments.iter().map(|(_, text)| text.as_str()));
    let result = std::fs::read_to_string(&config).with_context(|| format!("read {}", config.display()))?;
    let lost = config::lost(&wanted, &config::parse(&result));
    if lost.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = lost
        .iter()
        .map(|l| format!("  {} wanted {}, got {}", l.option, l.wanted, l.got))
        .collect();
    bail!(
        "{} option(s) of the fragments did not survive; one they depend on is missing from kernel-config/, or they \
         do not exist in this kernel:\n{}",
        lost.len(),
        list.join("\n")
    )
}

/// `make` with everything fixed that would otherwise differ from build to build.
pub(super) fn make(tree: &Path, objects: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("--silent")
        .arg("-C")
        .arg(tree)
        .arg(format!("O={}", objects.display()));
    make.env("KBUILD_BUILD_USER", "provium")
        .env("KBUILD_BUILD_HOST", "xtask");
    make.env("KBUILD_BUILD_VERSION", "1")
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01");
    make.env("LC_ALL", "C").env_remove("MAKEFLAGS").env_remove("ARCH");
    make
}
