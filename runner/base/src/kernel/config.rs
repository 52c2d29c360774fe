//! A kernel's configuration, wherever it is found.
//!
//! Input: a kernel's file, or a `.config`. Output: its options, and where they were read; or, where there is
//! but the list of modules that are built in, what that says. Not here: what they mean for a guest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::image::{self, ImageError};
use crate::modules;

/// Bytes by which a configuration is told from a kernel.
const LOOKED_AT: u64 = 4096;
/// What a kernel in `boot` is called in front of its version, and its configuration.
const IMAGE: &str = "vmlinuz-";
const CONFIG: &str = "config-";

/// Where a configuration was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// In the kernel's own file.
    Image(PathBuf),
    /// In this file.
    File(PathBuf),
    /// Nowhere: this list says what modules are built in.
    BuiltIn(PathBuf),
}

/// What is known of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It is in the kernel.
    BuiltIn,
    /// It is a module.
    Module,
    /// It is off.
    Off,
    /// There is no telling.
    Unknown,
}

/// A configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read.
    pub found: Found,
    /// Value of each option that is on, by its name without `CONFIG_`; none where only modules are known.
    options: Option<BTreeMap<String, String>>,
    /// Names of modules that are built in.
    built_in: BTreeSet<String>,
    /// Names of modules that there are files of.
    files: BTreeSet<String>,
}

/// Why a configuration is not known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The kernel, or what should be one.
        path: PathBuf,
        /// Why.
        error: ImageError,
    },
    /// There is none.
    #[error(
        "nothing tells the configuration of {}: it was built without CONFIG_IKCONFIG, and there is no .config, \
         config-VERSION or lib/modules/VERSION beside it{}", path.display(), unread(.image)
    )]
    Nowhere {
        /// The kernel.
        path: PathBuf,
        /// Why it was not looked into, if it was not.
        image: Option<ImageError>,
    },
}

fn unread(error: &Option<ImageError>) -> String {
    error
        .as_ref()
        .map(|error| format!(" ({error})"))
        .unwrap_or_default()
}

impl Config {
    /// The configuration of a kernel, or the one that a file is; `modules` is its folder
    /// `lib/modules/VERSION`, if there is one.
    ///
    /// # Errors
    /// When the file is none of either, or nothing says how the kernel was configured.
    pub fn of(path: &Path, modules: Option<&Path>) -> Result<Config, ConfigError> {
        let files = modules.map(modules::names).unwrap_or_default();
        let with = |found, text: &str| Config {
            found,
            options: Some(parse(text)),
            built_in: BTreeSet::new(),
            files: files.clone(),
        };
        let unusable = |error| ConfigError::File {
            path: path.to_owned(),
            error: ImageError::Read(error),
        };
        if is_text(path).map_err(unusable)? {
            let text = fs::read_to_string(path).map_err(unusable)?;
            return Ok(with(Found::File(path.to_owned()), &text));
        }
        let unread = match image::configuration(path) {
            Ok(Some(text)) => return Ok(with(Found::Image(path.to_owned()), &text)),
            Ok(None) => None,
            Err(error @ ImageError::Packed(_)) => Some(error),
            Err(error) => {
                let path = path.to_owned();
                return Err(ConfigError::File { path, error });
            }
        };
        for file in beside(path, modules) {
            if let Ok(text) = fs::read_to_string(&file) {
                return Ok(with(Found::File(file), &text));
            }
        }
        let list = modules.map(|folder| folder.join("modules.builtin"));
        match list.filter(|list| list.is_file()) {
            Some(list) => Ok(Config {
                built_in: modules.map(modules::built_in).unwrap_or_default(),
                found: Found::BuiltIn(list),
                options: None,
                files,
            }),
            None => Err(ConfigError::Nowhere {
                path: path.to_owned(),
                image: unread,
            }),
        }
    }

    /// What is known of an option, `NET` for `CONFIG_NET`, that is perhaps the module `module`.
    pub fn value(&self, option: &str, module: Option<&str>) -> Value {
        match (&self.options, module) {
            (Some(options), _) => match options.get(option).map(String::as_str) {
                None => Value::Off,
                Some("m") => Value::Module,
                Some(_) => Value::BuiltIn,
            },
            (None, None) => Value::Unknown,
            (None, Some(module)) => match (self.built_in.contains(module), self.files.contains(module)) {
                (true, _) => Value::BuiltIn,
                (_, true) => Value::Module,
                _ => Value::Off,
            },
        }
    }

    /// Whether there is a file of this module.
    pub fn has_file(&self, module: &str) -> bool {
        self.files.contains(module)
    }
}

/// Whether a file is text, as a configuration is.
fn is_text(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    fs::File::open(path)?.take(LOOKED_AT).read_to_end(&mut start)?;
    Ok(
        !start.is_empty()
            && !start.contains(&0)
            && (start.starts_with(b"#") || start.starts_with(b"CONFIG_")),
    )
}

/// Where the configuration of a kernel may be: beside it, at the root of its build tree, in `boot`, with its
/// modules.
fn beside(kernel: &Path, modules: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let Some(folder) = kernel.parent() else {
        return places;
    };
    let name = kernel.file_name().map(|name| name.to_string_lossy());
    if let Some(version) = name.as_ref().and_then(|name| name.strip_prefix(IMAGE)) {
        places.push(folder.join(format!("{CONFIG}{version}")));
    }
    places.extend([folder.join(".config"), folder.join("config")]);
    if folder.ends_with("boot") {
        places.extend(folder.ancestors().nth(3).map(|root| root.join(".config")));
    }
    places.extend(modules.map(|folder| folder.join("config")));
    places
}

/// The options that are on.
fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CONFIG_")?.split_once('='));
    lines
        .filter(|(_, value)| *value != "n")
        .map(|(option, value)| (option.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vmlinux without a configuration.
    const KERNEL: &[u8] = b"\x7fELF\0";

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn a_configuration_is_a_file_or_beside_the_kernel() {
        let text = b"# x\nCONFIG_NET=y\nCONFIG_EXT4_FS=m\n# CONFIG_PCI is not set\nCONFIG_NR_CPUS=4\n";
        for (kernel, config) in [
            ("arch/x86/boot/bzImage", ".config"),
            ("vmlinux", ".config"),
            ("boot/vmlinuz-6.1-x", "boot/config-6.1-x"),
            (".config", ".config"),
        ] {
            let root = tree(&[(kernel, KERNEL), (config, text)]);
            let read = Config::of(&root.path().join(kernel), None).unwrap();
            assert_eq!(read.found, Found::File(root.path().join(config)));
            let value = |option| read.value(option, None);
            assert_eq!(value("NET"), Value::BuiltIn);
            assert_eq!(value("NR_CPUS"), Value::BuiltIn);
            assert_eq!(value("EXT4_FS"), Value::Module);
            assert_eq!((value("PCI"), value("BLOCK")), (Value::Off, Value::Off));
        }
    }

    #[test]
    fn the_list_of_what_is_built_in_tells_of_modules_alone() {
        let root = tree(&[
            ("boot/vmlinuz-6.1-x", KERNEL),
            (
                "lib/modules/6.1-x/modules.builtin",
                b"kernel/drivers/virtio/virtio_mmio.ko\n",
            ),
            ("lib/modules/6.1-x/kernel/fs/ext4/ext4.ko.xz", b""),
        ]);
        let modules = root.path().join("lib/modules/6.1-x");
        let read = Config::of(&root.path().join("boot/vmlinuz-6.1-x"), Some(&modules)).unwrap();
        assert_eq!(read.found, Found::BuiltIn(modules.join("modules.builtin")));
        assert_eq!(read.value("VIRTIO_MMIO", Some("virtio_mmio")), Value::BuiltIn);
        assert_eq!(read.value("EXT4_FS", Some("ext4")), Value::Module);
        assert_eq!(read.value("VIRTIO_BLK", Some("virtio_blk")), Value::Off);
        assert_eq!(read.value("64BIT", None), Value::Unknown);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let root = tree(&[("vmlinux", KERNEL), ("odd", b"odd")]);
        let error = |name| Config::of(&root.path().join(name), None).unwrap_err().to_string();
        assert!(error("vmlinux").contains("CONFIG_IKCONFIG"));
        assert!(error("odd").contains("neither a bzImage nor a vmlinux"));
        assert!(error("nothing").contains("No such file"));
    }
}
