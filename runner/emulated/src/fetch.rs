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

use provium_base::modules::{self, ModuleError};
use provium_debian::apt;
use provium_debian::package::Package;

use crate::kernel::{self, Kernel};

/// The package that always depends on the newest kernel.
const META: &str = "linux-image-amd64";

/// Says nothing of each step: who asks has said what it is about.
const QUIETLY: fn(&str) = |_| {};

/// Why no kernel could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// apt does not know the package, or cannot download it.
    #[error("{0}")]
    Apt(String),
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

impl FetchError {
    fn apt(error: impl std::borrow::Borrow<anyhow::Error>) -> FetchError {
        FetchError::Apt(provium_base::cause::once(error.borrow().as_ref()))
    }
}

/// The package with Debian's current kernel. Where the package lists do not have it, they are fetched first.
///
/// # Errors
/// [`FetchError`] when the lists cannot be fetched or do not have it.
pub(crate) fn package() -> Result<Package, FetchError> {
    if let Ok(package) = listed() {
        return Ok(package);
    }
    apt::update(&QUIETLY)
        .and_then(|()| listed())
        .map_err(FetchError::apt)
}

/// The package with Debian's current kernel, if the package lists have it.
pub(crate) fn listed() -> anyhow::Result<Package> {
    Package::find(META)?.dependency("linux-image-")
}

/// Downloads `package` and keeps its kernel, and the modules that are needed, as the folder `into`, which
/// appears complete or not at all.
///
/// # Errors
/// [`FetchError`].
pub(crate) fn fetch(package: &Package, into: &Path) -> Result<Kernel, FetchError> {
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
    let (whole, kept) = (temporary.path().join("whole"), temporary.path().join("kept"));
    package.unpack(&whole, &QUIETLY).map_err(FetchError::apt)?;
    let no_kernel = || FetchError::NoKernel {
        package: package.name.clone(),
    };
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
