//! Whether the emulated host could start on this machine.
//!
//! Input: this machine's programs and kernels. Output: [`Availability`], or what is [`Missing`]. Not here:
//! downloading or making anything (`prepare`).

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fetch;
use crate::kernel::{self, KERNEL_ROOT, Kernel};
use crate::program::{is_static, program, programs};

/// The program that emulates.
const QEMU: &str = "qemu-system-x86_64";

/// The programs and kernel that the emulated host would be started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Program `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// Kernel that it would boot.
    pub kernel: KernelSource,
    /// Folder in which prepared files are kept.
    pub cache: PathBuf,
}

/// Source of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// A kernel that is on this machine.
    Found(Kernel),
    /// Debian's kernel package will be downloaded at the first start, and unpacked in the cache folder.
    Download,
}

/// Reasons why the emulated host cannot start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Debian packages to install.
    pub packages: Vec<&'static str>,
    /// Problems that no package solves, in words.
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

/// Whether the emulated host could start on this machine. Looks at files only: takes milliseconds, downloads
/// nothing.
///
/// # Errors
/// [`Missing`]: what to install or to mend.
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
    let busybox = static_busybox();
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

/// A busybox on this machine that needs no loader.
pub fn static_busybox() -> Option<PathBuf> {
    programs("busybox").find(|path| is_static(path))
}

/// The kernel named by the environment, else one in the cache, else this machine's own; `None` when there is
/// none.
///
/// # Errors
/// In words, when the folder named by the environment holds no usable kernel.
pub(crate) fn find_kernel(cache: Option<&Path>) -> Result<Option<Kernel>, String> {
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

/// First line of `qemu-system-x86_64 --version`, such as
/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
pub fn qemu_version(availability: &Availability) -> Option<String> {
    let output = Command::new(&availability.qemu).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// Name of the package that would be downloaded for its kernel; `None` when the package lists do not know it.
pub fn kernel_package() -> Option<String> {
    fetch::listed().ok().map(|package| package.name)
}

/// The folder `provium/emulated-host` in the user's cache folder; `None` when neither HOME nor XDG_CACHE_HOME
/// is set.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("provium/emulated-host"))
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
}
