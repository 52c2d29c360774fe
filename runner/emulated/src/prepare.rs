//! The files that an emulated host starts from, made once and kept in the cache folder.
//!
//! Input: an [`Availability`]. Output: [`Prepared`] files, made once per kernel and recipe. Not here:
//! starting anything.
//!
//! ```text
//! CACHE/provium/emulated-host/
//!   lock                    locked while something below is made
//!   kernels/PACKAGE/        an unpacked kernel package, reduced to what is needed
//!   prepared/KEY/           kernel, initramfs: what QEMU is given; appears complete or not at all
//!   runs/                   folders of runs under way (see `scratch`)
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use provium_base::initramfs::ArchiveError;
use provium_base::modules::{self, ModuleError};
use sha2::{Digest, Sha256};

use crate::availability::{Availability, KernelSource, Missing, available, find_kernel};
use crate::fetch::{self, FetchError};
use crate::image;
use crate::kernel::{self, KERNEL_ROOT, Kernel};

/// Part of the key of prepared files; raised when they are made in another way.
const RECIPE: u32 = 1;

/// Why the files cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something has to be installed or mended first.
    #[error("the emulated host cannot start: {0}")]
    Missing(#[from] Missing),
    /// A kernel cannot be fetched.
    #[error("no kernel for the emulated host: {0}; or name one unpacked elsewhere by {KERNEL_ROOT}")]
    Fetch(#[from] FetchError),
    /// The kernel's modules cannot be used.
    #[error("the kernel {version} does not serve the emulated host: {source}")]
    Modules {
        /// Version of the kernel.
        version: String,
        /// What is wrong with them.
        source: ModuleError,
    },
    /// The initramfs cannot be made.
    #[error("the emulated host's initramfs: {0}")]
    Archive(#[from] ArchiveError),
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// QEMU and the files that it boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
}

/// Finds the files or makes them; `say` is told, as part of a sentence, what takes long.
///
/// # Errors
/// [`PrepareError`].
pub(crate) fn prepare(say: &mut dyn FnMut(&str)) -> Result<Prepared, PrepareError> {
    let available = available()?;
    let cache = &available.cache;
    let io = |source| PrepareError::Io {
        path: cache.clone(),
        source,
    };
    if let KernelSource::Found(kernel) = &available.kernel {
        let prepared = at(cache, &available, kernel).map_err(io)?;
        if prepared.kernel.exists() {
            return Ok(prepared);
        }
    }
    fs::create_dir_all(cache).map_err(io)?;
    let _lock = lock(&cache.join("lock"), say).map_err(io)?;
    // Another process may have made it meanwhile.
    let kernel = match find_kernel(Some(cache)) {
        Ok(Some(kernel)) => kernel,
        _ => {
            say("looking for Debian's kernel package");
            let package = fetch::package()?;
            say(&format!(
                "downloading {}, once; it is unpacked in {}, not installed",
                package.name,
                cache.display()
            ));
            fetch::fetch(&package, &cache.join("kernels").join(&package.name))?
        }
    };
    let prepared = at(cache, &available, &kernel).map_err(io)?;
    if !prepared.kernel.exists() {
        say("preparing its kernel and initramfs, once");
        make(&prepared, &available, &kernel)?;
    }
    Ok(prepared)
}

/// Paths of the prepared files: their folder is a key of everything that goes into them.
fn at(cache: &Path, available: &Availability, kernel: &Kernel) -> io::Result<Prepared> {
    let mut key = Sha256::new();
    key.update(RECIPE.to_le_bytes());
    key.update(image::INIT);
    for path in [&kernel.image, &available.busybox] {
        let metadata = fs::metadata(path)?;
        let stamp = (path, metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        key.update(format!("{stamp:?}"));
    }
    let key: String = key.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache.join("prepared").join(key);
    Ok(Prepared {
        qemu: available.qemu.clone(),
        kernel: folder.join("kernel"),
        initramfs: folder.join("initramfs"),
    })
}

/// Makes the prepared files, and removes old ones.
fn make(prepared: &Prepared, available: &Availability, kernel: &Kernel) -> Result<(), PrepareError> {
    let folder = prepared.kernel.parent().unwrap_or(&prepared.kernel);
    let parent = folder.parent().unwrap_or(folder);
    let named = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Io { path, source }
    };
    let modules =
        modules::load(&kernel.modules, &kernel::NEEDED, &[]).map_err(|source| PrepareError::Modules {
            version: kernel.version.clone(),
            source,
        })?;
    let busybox = fs::read(&available.busybox).map_err(named(&available.busybox))?;
    let initramfs = image::initramfs(&busybox, &modules)?;
    let packed = fs::read(&kernel.image).map_err(named(&kernel.image))?;
    let kernel = image::unpacked_kernel(&packed).unwrap_or(packed);

    fs::create_dir_all(parent).map_err(named(parent))?;
    let temporary = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(parent)
        .map_err(named(parent))?;
    for (name, content) in [("kernel", kernel), ("initramfs", initramfs)] {
        fs::write(temporary.path().join(name), content).map_err(named(folder))?;
    }
    fs::rename(temporary.path(), folder).map_err(named(folder))?;
    let _ = temporary.keep(); // it has moved
    remove_old(parent, folder);
    Ok(())
}

/// Removes the folders of earlier kernels and recipes, except for `but` and those younger than a day, which
/// QEMU may be reading.
fn remove_old(parent: &Path, but: &Path) {
    let day = Duration::from_secs(24 * 3600);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified
            .ok()
            .and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if entry.path() != but && age.is_some_and(|age| age > day) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Locks the file until what is returned is closed, also by the process's end.
fn lock(path: &Path, say: &mut dyn FnMut(&str)) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("waiting for another provium, which is preparing the emulated host");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_folders_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(name);
        for name in ["kept", "young", "old"] {
            fs::create_dir(folder(name)).unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
        for name in ["kept", "old"] {
            File::open(folder(name)).unwrap().set_modified(long_ago).unwrap();
        }
        remove_old(root.path(), &folder("kept"));
        assert!(folder("kept").exists() && folder("young").exists() && !folder("old").exists());
    }

    #[test]
    fn a_lock_is_waited_for_and_that_is_said() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let held = lock(&path, &mut |_| panic!("nobody holds it")).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut said = Vec::new();
                lock(&path, &mut |text| said.push(text.to_owned())).unwrap();
                said
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
        let said = waiting.join().unwrap();
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("another provium"));
    }
}
