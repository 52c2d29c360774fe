//! The kernels that the emulated host can boot.
//!
//! Input: folders that may hold an unpacked Debian kernel package. Output: a [`Kernel`] that can run nested
//! guests. Not here: fetching one (`fetch`), and reading its modules.

use std::fs;
use std::path::{Path, PathBuf};

/// Environment variable that names a folder with `boot/` and `lib/modules/` of the kernel to use.
pub const KERNEL_ROOT: &str = "PROVIUM_HOST_KERNEL_ROOT";

/// Modules that it is to have; the others follow from their dependencies.
pub(crate) const NEEDED: [&str; 6] = [
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm_amd",
];

/// A kernel with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// File of the bzImage.
    pub image: PathBuf,
    /// The folder `lib/modules/VERSION`.
    pub modules: PathBuf,
    /// Version, as `uname -r` prints it.
    pub version: String,
}

/// The newest usable kernel below `root`. Kernels of the cloud flavour lack needed modules and are skipped.
pub(crate) fn newest_below(root: &Path) -> Option<Kernel> {
    let mut found: Vec<Kernel> = fs::read_dir(root.join("boot"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| kernel_of(root, &entry.path()))
        .collect();
    found.sort_by_cached_key(|kernel| version_key(&kernel.version));
    found.pop()
}

/// The kernel with this bzImage, if it is readable and its modules are there.
fn kernel_of(root: &Path, image: &Path) -> Option<Kernel> {
    let version = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
    if !version.ends_with("-amd64") || version.contains("cloud") || fs::File::open(image).is_err() {
        return None;
    }
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(version));
    let modules = folders.into_iter().find(|modules| {
        let kvm = modules.join("kernel/arch/x86/kvm");
        ["", ".xz", ".zst", ".gz"]
            .iter()
            .any(|suffix| kvm.join(format!("kvm-amd.ko{suffix}")).is_file())
    })?;
    Some(Kernel {
        image: image.to_owned(),
        modules,
        version: version.to_owned(),
    })
}

/// Sort key of a version, in which runs of digits compare as numbers: 6.1.0-9 comes before 6.1.0-10.
fn version_key(version: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = version;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let word = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        key.push((number.parse().unwrap_or(0), tail[..word].to_owned()));
        rest = &tail[word..];
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn the_newest_kernel_with_its_modules_is_chosen() {
        let root = tree(&[
            "boot/vmlinuz-6.1.0-9-amd64",
            "lib/modules/6.1.0-9-amd64/kernel/arch/x86/kvm/kvm-amd.ko",
            "boot/vmlinuz-6.1.0-10-amd64",
            "lib/modules/6.1.0-10-amd64/kernel/arch/x86/kvm/kvm-amd.ko",
            "boot/vmlinuz-6.1.0-11-amd64", // its modules are not there
            "boot/vmlinuz-6.1.0-12-cloud-amd64",
            "lib/modules/6.1.0-12-cloud-amd64/kernel/arch/x86/kvm/kvm-amd.ko",
            "boot/vmlinuz-6.9.0-rt-i386",
            "boot/config-6.9.0-amd64",
        ]);
        let kernel = newest_below(root.path()).unwrap();
        assert_eq!(kernel.version, "6.1.0-10-amd64");
        assert_eq!(kernel.image, root.path().join("boot/vmlinuz-6.1.0-10-amd64"));
        assert_eq!(kernel.modules, root.path().join("lib/modules/6.1.0-10-amd64"));
    }

    #[test]
    fn packed_modules_and_a_merged_usr_are_found() {
        let root = tree(&[
            "boot/vmlinuz-6.12.9+deb13-amd64",
            "usr/lib/modules/6.12.9+deb13-amd64/kernel/arch/x86/kvm/kvm-amd.ko.xz",
        ]);
        let kernel = newest_below(root.path()).unwrap();
        assert_eq!(
            kernel.modules,
            root.path().join("usr/lib/modules/6.12.9+deb13-amd64")
        );
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(newest_below(Path::new("/nonexistent")), None);
        assert_eq!(newest_below(tree(&["boot/vmlinuz-6.1.0-9-amd64"]).path()), None);
    }
}
