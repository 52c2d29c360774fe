//! Fetches Debian's generic kernel package and unpacks from it what is needed; nothing is installed.
//!
//! Input: a folder to put it in. Output: `boot/` and `lib/modules/` of the kernel there. Not here: other
//! distributions, whose users can name a kernel by `PROVIUM_HOST_KERNEL_ROOT`.
//!
//! Installing a kernel runs hooks that make initial RAM disks and touch the boot loader; unpacking one does
//! not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use provium_base::modules::{self, ModuleError};

use crate::kernel::{self, Kernel};

/// The package that always depends on the newest kernel.
const META: &str = "linux-image-amd64";

/// Why no kernel could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A program failed or did not start.
    #[error("`{command}` failed: {reason}")]
    Failed {
        /// The command as it would be typed.
        command: String,
        /// What it wrote to standard error, or why it did not start.
        reason: String,
    },
    /// The package lists do not have the kernel's package.
    #[error("the package lists do not know {META}: run `apt-get update` as root")]
    Unknown,
    /// The package holds no usable kernel.
    #[error("{package} holds no kernel with kvm-amd")]
    NoKernel {
        /// Name of the package.
        package: String,
    },
    /// The kernel's modules are not complete.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// Files could not be put in place.
    #[error("cannot keep the kernel in {}: {source}", path.display())]
    Io {
        /// The kernel's folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Name of the package with Debian's current kernel. Where the package lists do not have it, they are fetched
/// first if this process is root.
///
/// # Errors
/// [`FetchError`] when the lists cannot be fetched or do not have it.
pub(crate) fn package() -> Result<String, FetchError> {
    if let Some(package) = listed()? {
        return Ok(package);
    }
    if rustix::process::geteuid().is_root() {
        run(Command::new("apt-get").args(["-qq", "update"]))?;
    }
    listed()?.ok_or(FetchError::Unknown)
}

/// Name of the package with Debian's current kernel, if the package lists have it.
pub(crate) fn listed() -> Result<Option<String>, FetchError> {
    // It fails without a message when the package is unknown.
    let shown = run(Command::new("apt-cache").args(["show", "--no-all-versions", META]));
    Ok(shown.ok().and_then(|shown| dependency(&shown)))
}

/// Name of the kernel's package, from the fields of the package that depends on it.
fn dependency(shown: &str) -> Option<String> {
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends:"))?;
    let names = depends
        .split([',', '|'])
        .filter_map(|one| one.split_whitespace().next());
    names
        .into_iter()
        .find(|name| name.starts_with("linux-image-") && name.ends_with("-amd64"))
        .map(str::to_owned)
}

/// Downloads `package` and keeps its kernel, and the modules that are needed, as the folder `into`, which
/// appears complete or not at all.
///
/// # Errors
/// [`FetchError`].
pub(crate) fn fetch(package: &str, into: &Path) -> Result<Kernel, FetchError> {
    let io = |source| FetchError::Io {
        path: into.to_owned(),
        source,
    };
    let parent = into.parent().unwrap_or(into);
    fs::create_dir_all(parent).map_err(io)?;
    let temporary = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(parent)
        .map_err(io)?;
    let (package_file, whole, kept) = (
        temporary.path(),
        temporary.path().join("whole"),
        temporary.path().join("kept"),
    );
    // As root, apt would want to download as a user of its own, who cannot write here.
    let download = ["-qq", "-o", "APT::Sandbox::User=root", "download", package];
    run(Command::new("apt-get").args(download).current_dir(package_file))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let mut files = fs::read_dir(package_file)
        .map_err(io)?
        .flatten()
        .map(|entry| entry.path());
    let no_kernel = || FetchError::NoKernel {
        package: package.to_owned(),
    };
    let package_file = files.find(is_package).ok_or_else(no_kernel)?;
    run(Command::new("dpkg").arg("-x").arg(&package_file).arg(&whole))?;

    let kernel = kernel::newest_below(&whole).ok_or_else(no_kernel)?;
    let mut keep = vec![kernel.image.clone(), kernel.modules.join("modules.builtin")];
    keep.extend(
        modules::load(&kernel.modules, &kernel::NEEDED, &[])?
            .into_iter()
            .map(|module| module.path),
    );
    for path in keep {
        let target = kept.join(path.strip_prefix(&whole).unwrap_or(&path));
        fs::create_dir_all(target.parent().unwrap_or(&kept)).map_err(io)?;
        fs::rename(path, target).map_err(io)?;
    }
    if into.exists() {
        fs::remove_dir_all(into).map_err(io)?; // another kernel's remains: it was not usable
    }
    fs::rename(&kept, into).map_err(io)?;
    kernel::newest_below(into).ok_or_else(no_kernel)
}

/// Runs a program without a terminal, and gives what it writes to standard output.
fn run(command: &mut Command) -> Result<String, FetchError> {
    let failed = |command: &Command, reason: String| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        FetchError::Failed {
            command: words
                .map(|word| word.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" "),
            reason,
        }
    };
    let output = command
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(std::process::Stdio::null());
    let output = output
        .output()
        .map_err(|error| failed(command, error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(command, format!("{} ({})", words.trim(), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_package_is_read_from_what_apt_shows() {
        let shown = "Package: linux-image-amd64\nVersion: 6.1.192-2\n\
                     Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\nDescription: Linux\n";
        assert_eq!(dependency(shown).as_deref(), Some("linux-image-6.1.0-56-amd64"));
        let several = "Depends: linux-base, linux-image-6.12.9+deb13-amd64 (= 6.12.9-1) | linux-image-x\n";
        assert_eq!(
            dependency(several).as_deref(),
            Some("linux-image-6.12.9+deb13-amd64")
        );
        assert_eq!(dependency("Package: linux-image-amd64\n"), None);
        assert_eq!(dependency(""), None);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "echo no network >&2; exit 100"])).unwrap_err();
        assert!(
            error.to_string().contains("no network (exit status: 100)"),
            "{error}"
        );
    }
}
