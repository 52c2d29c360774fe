//! Kernels that a new project can boot.
//!
//! Input: the project's folder, this machine. Output: what there is, the best first; at least Debian's, which
//! can be fetched. Not here: what a kernel must have.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use provium_debian::guest;

/// Where a kernel's build leaves it.
const BUILT: &str = "arch/x86/boot/bzImage";

/// A kernel as a profile names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Value of `kernel`.
    pub(super) kernel: String,
    /// Value of `initrd`.
    pub(super) initrd: String,
    /// The same for people.
    pub(super) shown: String,
}

impl Kernel {
    fn new(kernel: String, initrd: &str, what: &str) -> Kernel {
        Kernel {
            shown: format!("{kernel} ({what})"),
            kernel,
            initrd: initrd.to_owned(),
        }
    }

    /// Whether something of it is `guest:debian`.
    pub(super) fn needs_debian(&self) -> bool {
        [&self.kernel, &self.initrd]
            .iter()
            .any(|name| *name == guest::NAME)
    }
}

/// The kernel of the command line, which is a file relative to `cwd` or a guest's name.
pub(super) fn named(file: &Path, cwd: &Path) -> anyhow::Result<Kernel> {
    if file.as_os_str() == guest::NAME {
        return Ok(debian());
    }
    let path = cwd.join(file);
    anyhow::ensure!(path.is_file(), "--kernel: {} is no file", path.display());
    Ok(Kernel::new(
        path.display().to_string(),
        guest::NAME,
        "as --kernel says",
    ))
}

/// All that are found, the best first.
pub(super) fn found(folder: &Path) -> Vec<Kernel> {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(beside);
    found_in(folder, own, Path::new("/boot"))
}

fn found_in(folder: &Path, own: Option<PathBuf>, boot: &Path) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if folder.join(BUILT).is_file() {
        kernels.push(Kernel::new(BUILT.to_owned(), guest::NAME, "built here"));
    }
    if let Some(own) = own {
        let file = |name| own.join(name).display().to_string();
        kernels.push(Kernel::new(
            file("vmlinux"),
            &file("initrd.cpio"),
            "Provium's own",
        ));
    }
    // Before this machine's: it is known to boot, and the initrd is Debian's in any case.
    kernels.push(debian());
    kernels.extend(of_machine(boot));
    kernels
}

fn debian() -> Kernel {
    Kernel::new(guest::NAME.to_owned(), guest::NAME, "Debian's, from its packages")
}

/// The folder of guests in the `target` folder that this program is in.
fn beside(program: &Path) -> Option<PathBuf> {
    let guest = program.ancestors().nth(2)?.join("guest");
    ["vmlinux", "initrd.cpio"]
        .iter()
        .all(|name| guest.join(name).is_file())
        .then_some(guest)
}

/// This machine's kernels that can be read, the newest file first.
fn of_machine(boot: &Path) -> Vec<Kernel> {
    let entries = fs::read_dir(boot).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
        .map(|entry| entry.path())
        .filter(|path| fs::File::open(path).is_ok())
        .collect();
    files.sort_by_cached_key(|path| Reverse(path.metadata().and_then(|metadata| metadata.modified()).ok()));
    let kernels = files.iter().map(|path| path.display().to_string());
    kernels
        .map(|path| Kernel::new(path, guest::NAME, "this machine's"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_that_is_built_here_comes_first_and_debians_is_always_there() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (project, boot) = (dir.path().join("linux"), dir.path().join("boot"));
        let own = || Some(PathBuf::from("/clone/target/guest"));
        let names = |own| {
            let found = found_in(&project, own, &boot);
            let root = dir.path().display().to_string();
            found
                .into_iter()
                .map(|kernel| kernel.kernel.replace(&root, ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["guest:debian"]);
        assert_eq!(names(own()), ["/clone/target/guest/vmlinux", "guest:debian"]);
        let write = |path: &Path| {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        };
        write(&boot.join("vmlinuz-6.1"));
        write(&boot.join("config-6.1"));
        assert_eq!(names(None), ["guest:debian", "/boot/vmlinuz-6.1"]);
        write(&project.join(BUILT));
        assert_eq!(names(own())[..2], [BUILT, "/clone/target/guest/vmlinux"]);
    }
}
