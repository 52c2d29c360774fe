//! Everything an emulated host starts from, found or made, and kept in the cache folder.
//!
//! Enters: this machine's programs and kernels. Leaves: [`Availability`] or what is [`Missing`], cheaply; and
//! [`Prepared`] files, made once per kernel and recipe. Absent on purpose: starting anything.
//!
//! ```text
//! CACHE/provium/emulated-host/
//!   lock                    held while something below is made
//!   kernels/PACKAGE/        an unpacked kernel package, reduced to what is needed
//!   prepared/KEY/           kernel, initramfs: what QEMU is given; appears complete or not at all
//!   runs/                   folders of runs under way (see `scratch`)
//! ```

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::fetch::{self, FetchError};
use super::image;
use super::kernel::{self, KERNEL_ROOT, Kernel};
use super::modules::{self, ModuleError};
use provium_base::initramfs::ArchiveError;

/// The program that emulates.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// Raised when what is prepared changes its meaning.
const RECIPE: u32 = 1;

/// What the emulated host would be started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// The kernel.
    pub kernel: KernelSource,
    /// Where things are kept.
    pub cache: PathBuf,
}

/// Where the kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// It is there.
    Found(Kernel),
    /// Debian's kernel package will be downloaded at the first start, and unpacked in the cache folder.
    Download,
}

/// What keeps the emulated host from starting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Debian packages to install.
    pub packages: Vec<&'static str>,
    /// What packages do not solve.
    pub problems: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))?;
        if !self.packages.is_empty() {
            let separator = if self.problems.is_empty() { "" } else { "; " };
            write!(
                f,
                "{separator}missing: apt-get install {}",
                self.packages.join(" ")
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

/// Why the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something has to be installed first.
    #[error("the emulated host cannot start: {0}")]
    Missing(#[from] Missing),
    /// No kernel.
    #[error("no kernel for the emulated host: {0}; or name one unpacked elsewhere by {KERNEL_ROOT}")]
    Fetch(#[from] FetchError),
    /// No modules.
    #[error("the kernel {version} does not serve the emulated host: {source}")]
    Modules {
        /// The kernel.
        version: String,
        /// What is wrong.
        source: ModuleError,
    },
    /// No initramfs.
    #[error("the emulated host's initramfs: {0}")]
    Archive(#[from] ArchiveError),
    /// The file system's.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What QEMU is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
}

/// Whether the emulated host could start on this machine. Looks at files only: takes milliseconds, downloads nothing.
///
/// # Errors
/// [`Missing`]: what to install.
pub fn available() -> Result<Availability, Missing> {
    let mut missing = Missing::default();
    let cache = cache_folder();
    if cache.is_none() {
        missing
            .problems
            .push("neither HOME nor XDG_CACHE_HOME is set, so that there is no cache folder".into());
    }
    let qemu = program(QEMU);
    if qemu.is_none() {
        missing.packages.push("qemu-system-x86");
    }
    let busybox = programs("busybox").find(|path| is_static(path));
    if busybox.is_none() {
        missing.packages.push("busybox-static");
    }
    let kernel = match find_kernel(cache.as_deref()) {
        Ok(Some(kernel)) => Some(KernelSource::Found(kernel)),
        Ok(None) if program("apt-get").is_some() && program("dpkg").is_some() => Some(KernelSource::Download),
        Ok(None) => {
            missing.problems.push(format!(
                "there is no Debian kernel (`linux-image-amd64`) and no apt-get to fetch one with: unpack one and name \
                 the folder by {KERNEL_ROOT}"
            ));
            None
        }
        Err(problem) => {
            missing.problems.push(problem);
            None
        }
    };
    match (qemu, busybox, kernel, cache) {
        (Some(qemu), Some(busybox), Some(kernel), Some(cache)) => Ok(Availability {
            qemu,
            busybox,
            kernel,
            cache,
        }),
        _ => Err(missing),
    }
}

/// The kernel named by the environment, else one in the cache, else this machine's own.
fn find_kernel(cache: Option<&Path>) -> Result<Option<Kernel>, String> {
    if let Some(root) = env::var_os(KERNEL_ROOT).filter(|root| !root.is_empty()) {
        let found = kernel::newest_below(Path::new(&root));
        let problem = || {
            let root = Path::new(&root).display();
            format!(
                "{KERNEL_ROOT}={root} has no readable boot/vmlinuz-*-amd64 with lib/modules/*/kernel and kvm-amd in it"
            )
        };
        return found.ok_or_else(problem).map(Some);
    }
    let kept = cache
        .and_then(|cache| fs::read_dir(cache.join("kernels")).ok())
        .into_iter()
        .flatten()
        .flatten();
    let kept = kept.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let newest = kept.max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok());
    let kept = newest.and_then(|entry| kernel::newest_below(&entry.path()));
    Ok(kept.or_else(|| kernel::newest_below(Path::new("/"))))
}

/// Finds or makes everything; `say` hears what takes long.
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
    // Someone else may have been here first.
    let kernel = match find_kernel(Some(cache)) {
        Ok(Some(kernel)) => kernel,
        _ => {
            say("looking for Debian's kernel package");
            let package = fetch::package()?;
            say(&format!(
                "downloading {package}, once; it is unpacked in {}, not installed",
                cache.display()
            ));
            fetch::fetch(&package, &cache.join("kernels").join(&package))?
        }
    };
    let prepared = at(cache, &available, &kernel).map_err(io)?;
    if !prepared.kernel.exists() {
        say("preparing its kernel and initramfs, once");
        make(&prepared, &available, &kernel)?;
    }
    Ok(prepared)
}

/// Where the prepared files are, by a key of all that goes into them.
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

fn make(prepared: &Prepared, available: &Availability, kernel: &Kernel) -> Result<(), PrepareError> {
    let folder = prepared.kernel.parent().unwrap_or(&prepared.kernel);
    let parent = folder.parent().unwrap_or(folder);
    let named = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Io { path, source }
    };
    let modules = modules::load(&kernel.modules).map_err(|source| PrepareError::Modules {
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

/// Removes what earlier kernels and recipes left. Only what is a day old: QEMU may be reading a younger one.
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

/// Holds the lock until the file is closed; a process that dies lets go of it.
fn lock(path: &Path, say: &mut dyn FnMut(&str)) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        say("waiting for another provium, which is preparing the emulated host");
        flock(&file, FlockOperation::LockExclusive)?;
    }
    Ok(file)
}

/// `provium/emulated-host` in the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("provium/emulated-host"))
}

/// The first program of this name on the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    programs(name).next()
}

fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let name = name.to_owned();
    folders
        .into_iter()
        .map(move |folder| folder.join(&name))
        .filter(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether an ELF program asks for no loader: the initramfs has none.
fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|image| asks_for_loader(&image) == Some(false))
}

/// Whether the program headers of a 64-bit ELF file have a PT_INTERP; none if it is no such file.
fn asks_for_loader(image: &[u8]) -> Option<bool> {
    if image.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*image.get(at..)?.first_chunk()?)));
    let start = usize::try_from(u64::from_le_bytes(*image.get(32..)?.first_chunk()?)).ok()?;
    let (size, count) = (half(54)?, half(56)?);
    let mut asks = false;
    for i in 0..count {
        let header = image.get(start.checked_add(i * size)?..)?;
        asks |= u32::from_le_bytes(*header.first_chunk()?) == 3;
    }
    Some(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_what_to_install() {
        let missing = Missing {
            packages: vec!["qemu-system-x86", "busybox-static"],
            problems: vec![],
        };
        assert_eq!(
            missing.to_string(),
            "missing: apt-get install qemu-system-x86 busybox-static"
        );
        let both = Missing {
            problems: vec!["no cache folder".into()],
            ..missing
        };
        assert!(
            both.to_string()
                .starts_with("no cache folder; missing: apt-get install")
        );
    }

    #[test]
    fn a_static_program_is_told_from_one_with_a_loader() {
        let mut image = vec![0; 64 + 2 * 56];
        image[..5].copy_from_slice(b"\x7fELF\x02");
        image[32] = 64;
        image[54] = 56;
        image[56] = 2;
        image[64] = 1;
        assert_eq!(asks_for_loader(&image), Some(false));
        image[64 + 56] = 3;
        assert_eq!(asks_for_loader(&image), Some(true));
        assert_eq!(asks_for_loader(&image[..100]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh"), None);
        image[32..40].fill(0xff);
        assert_eq!(asks_for_loader(&image), None);
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        assert_eq!(asks_for_loader(&own), Some(true), "tests are linked dynamically");
    }

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
