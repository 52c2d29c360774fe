//! Kernel modules that a machine needs to start, and the order to load them in.
//!
//! Input: a folder `lib/modules/VERSION` as a package has it, without the lists that `depmod` makes, or a
//! build tree whose modules are where `make` left them; names.
//! Output: unpacked modules, each after those it depends on; those lists. Not here: loading them, and which
//! ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use walkdir::WalkDir;

/// The drivers that a guest of ours needs; what they depend on comes along.
pub const GUEST_NEEDS: [&str; 10] = [
    "virtio_mmio",
    "vmw_vsock_virtio_transport",
    "virtio_rng",
    "virtio_blk",
    "virtio_net",
    "virtiofs",
    "pvpanic_mmio",
    "button",
    "ext4",
    "overlay",
];
/// What ext4 asks the kernel for by name, where that is a module.
pub const GUEST_WANTS: [&str; 2] = ["crc32c_generic", "crc32c_intel"];

/// Why modules cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// No such module, and it is not built in.
    #[error("the kernel module {name} is not in {}", folder.display())]
    Absent {
        /// Name of the module.
        name: String,
        /// The folder in which it was looked for.
        folder: PathBuf,
    },
    /// Its file cannot be read or unpacked.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not, in words.
        reason: String,
    },
}

/// An unpacked module.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// File of the module, which may be packed.
    pub path: PathBuf,
    /// Content, unpacked.
    pub image: Vec<u8>,
}

/// Reads the modules `needed`, those of `wanted` that there are, and all that they depend on, dependencies
/// first. What is built into the kernel is left out.
///
/// # Errors
/// When one is not there, or cannot be read or unpacked.
pub fn load(folder: &Path, needed: &[&str], wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
    let files = files(folder);
    let wanted = wanted.iter().filter(|&&name| files.contains_key(name));
    let roots: Vec<&str> = needed.iter().chain(wanted).copied().collect();
    let built_in = built_in(folder);
    let mut loaded = BTreeMap::new();
    let mut read = |name: &str| {
        if built_in.contains(name) {
            return Ok(Vec::new());
        }
        let path = files.get(name).ok_or_else(|| ModuleError::Absent {
            name: name.to_owned(),
            folder: folder.to_owned(),
        })?;
        let image = unpacked(path)?;
        let needs = dependencies(&image);
        let module = Module {
            name: name.to_owned(),
            path: path.clone(),
            image,
        };
        loaded.insert(name.to_owned(), module);
        Ok(needs)
    };
    let order = ordered(&roots, &mut read)?;
    // What is built in was ordered too, but has no file.
    Ok(order.iter().filter_map(|name| loaded.remove(name)).collect())
}

/// Names of `roots` and everything they need, each after what it needs. `needs` is called once for each name.
fn ordered<E>(
    roots: &[&str],
    needs: &mut impl FnMut(&str) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    fn visit<E>(
        name: &str,
        needs: &mut impl FnMut(&str) -> Result<Vec<String>, E>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) -> Result<(), E> {
        if seen.insert(name.to_owned()) {
            for need in needs(name)? {
                visit(&need, needs, seen, order)?;
            }
            order.push(name.to_owned());
        }
        Ok(())
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for root in roots {
        visit(root, needs, &mut seen, &mut order)?;
    }
    Ok(order)
}

/// What a build tree has its version in, as `uname -r` prints it.
const RELEASE: &str = "include/config/kernel.release";

/// The version of a build tree; none where the folder is no build tree, or nothing was built in it.
pub fn version_of_tree(folder: &Path) -> Option<String> {
    let release = fs::read_to_string(folder.join(RELEASE)).ok()?;
    Some(release.trim().to_owned()).filter(|release| !release.is_empty())
}

/// Files of all modules, by name.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    if version_of_tree(folder).is_some() {
        return files_of_tree(folder);
    }
    let files = WalkDir::new(folder.join("kernel")).into_iter().flatten();
    files
        .filter_map(|file| Some((name_of(file.file_name().to_str()?)?, file.into_path())))
        .collect()
}

/// Files of the modules of a build tree that were built: its list names them as objects, or, that of an older
/// kernel, as they are installed.
fn files_of_tree(root: &Path) -> BTreeMap<String, PathBuf> {
    let list = fs::read_to_string(root.join("modules.order")).unwrap_or_default();
    let named = list.lines().filter_map(|line| {
        let line = line.strip_prefix("kernel/").unwrap_or(line);
        let path = root.join(line).with_extension("ko");
        Some((name_of(path.file_name()?.to_str()?)?, path))
    });
    named.filter(|(_, path)| path.is_file()).collect()
}

/// Names of all modules that there are files of.
pub fn names(folder: &Path) -> BTreeSet<String> {
    files(folder).into_keys().collect()
}

/// Names of the modules that are built into the kernel.
pub fn built_in(folder: &Path) -> BTreeSet<String> {
    let list = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    list.lines()
        .filter_map(|line| name_of(line.rsplit('/').next()?))
        .collect()
}

/// Programs that are `depmod`, and what they are told first.
const DEPMOD: [(&str, &[&str]); 3] = [("depmod", &[]), ("/sbin/depmod", &[]), ("busybox", &["depmod"])];

/// Makes the lists that `modprobe` reads in `root/lib/modules/VERSION`; whether there is a program that does.
pub fn make_lists(root: &Path, version: &Path) -> bool {
    DEPMOD.iter().any(|(program, first)| {
        let mut depmod = Command::new(program);
        depmod.args(*first).arg("-b").arg(root).arg(version);
        let quiet = depmod
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    })
}

/// Name of the module in a file; `-` and `_` are the same in names, and become `_`.
fn name_of(file: &str) -> Option<String> {
    let (name, packing) = file.split_once(".ko")?;
    (packing.is_empty() || packer(packing).is_some()).then(|| name.replace('-', "_"))
}

/// Program that unpacks files with this suffix.
fn packer(suffix: &str) -> Option<&'static str> {
    match suffix {
        ".xz" => Some("xz"),
        ".zst" => Some("zstd"),
        ".gz" => Some("gzip"),
        _ => None,
    }
}

/// Content of a module's file, unpacked.
fn unpacked(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let unreadable = |reason: String| ModuleError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let name = path.to_string_lossy();
    let Some(packer) = packer(name.rsplit_once(".ko").map_or("", |(_, suffix)| suffix)) else {
        return fs::read(path).map_err(|error| unreadable(error.to_string()));
    };
    let output = Command::new(packer).arg("-dc").arg(path).output();
    let output = output.map_err(|error| unreadable(format!("`{packer}` does not start: {error}")))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(unreadable(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

/// Names of the modules that a module depends on: the value of `depends=a,b` in its section `.modinfo`.
fn dependencies(image: &[u8]) -> Vec<String> {
    let strings = modinfo(image).unwrap_or_default().split(|&byte| byte == 0);
    let depends = strings
        .filter_map(|string| string.strip_prefix(b"depends="))
        .next();
    let names = depends.unwrap_or_default().split(|&byte| byte == b',');
    names
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).replace('-', "_"))
        .collect()
}

/// The section `.modinfo` of a kernel module: NUL-terminated strings `KEY=VALUE`.
fn modinfo(module: &[u8]) -> Option<&[u8]> {
    let header = FileHeader64::<LittleEndian>::parse(module).ok()?;
    let sections = header.sections(LittleEndian, module).ok()?;
    let (_, section) = sections.section_by_name(LittleEndian, b".modinfo")?;
    section.data(LittleEndian, module).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with this section `.modinfo`.
    fn module(modinfo: &[u8]) -> Vec<u8> {
        const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
        let mut image = vec![0; 64];
        image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        image.extend(modinfo);
        image.extend(NAMES);
        let sections = image.len() as u64;
        image[40..48].copy_from_slice(&sections.to_le_bytes()); // e_shoff
        image[58] = 64; // e_shentsize
        image[60] = 3; // e_shnum
        image[62] = 2; // e_shstrndx
        let size = modinfo.len() as u64;
        for (name, kind, start, size) in [
            (0u32, 0u32, 0, 0),
            (1, 1, 64, size),
            (10, 3, 64 + size, NAMES.len() as u64),
        ] {
            image.extend(name.to_le_bytes());
            image.extend(kind.to_le_bytes());
            for field in [0, 0, start, size, 0, 1, 0] {
                image.extend(u64::to_le_bytes(field));
            }
        }
        image
    }

    #[test]
    fn a_modules_strings_are_found() {
        let image = module(b"license=GPL\0depends=\0");
        assert_eq!(modinfo(&image), Some(&b"license=GPL\0depends=\0"[..]));
        for len in 0..image.len() {
            assert_eq!(modinfo(&image[..len]), None, "truncated to {len}");
        }
        let mut without = image;
        without[40..48].fill(0);
        assert_eq!(modinfo(&without), None);
    }

    #[test]
    fn modules_come_after_what_they_depend_on_and_once() {
        let needs = |name: &str| -> Result<Vec<String>, ()> {
            let needs: &[&str] = match name {
                "virtio" => &["virtio_ring"],
                "virtio_pci" => &["virtio_ring", "virtio"],
                "console" => &["virtio", "virtio_ring"],
                _ => &[],
            };
            Ok(needs.iter().map(|&name| name.to_owned()).collect())
        };
        let order = ordered(&["virtio_pci", "console"], &mut { needs }).unwrap();
        assert_eq!(order, ["virtio_ring", "virtio", "virtio_pci", "console"]);
    }

    #[test]
    fn a_circle_ends() {
        let needs =
            |name: &str| -> Result<Vec<String>, ()> { Ok(vec![if name == "a" { "b" } else { "a" }.into()]) };
        assert_eq!(ordered(&["a"], &mut { needs }).unwrap(), ["b", "a"]);
    }

    #[test]
    fn dependencies_are_read_from_an_image() {
        let image = module(b"alias=x\0depends=virtio_ring,virtio-pci\0retpoline=Y\0");
        assert_eq!(dependencies(&image), ["virtio_ring", "virtio_pci"]);
        assert_eq!(dependencies(&module(b"depends=\0name=ccp\0")), [""; 0]);
        assert_eq!(
            dependencies(&module(b"description=a text about depends= and more\0")),
            [""; 0]
        );
        assert_eq!(dependencies(&module(b"")), [""; 0]);
        assert_eq!(dependencies(b""), [""; 0]);
    }

    #[test]
    fn names_are_those_the_kernel_uses() {
        assert_eq!(name_of("kvm-amd.ko").as_deref(), Some("kvm_amd"));
        assert_eq!(name_of("kvm-amd.ko.xz").as_deref(), Some("kvm_amd"));
        assert_eq!(name_of("kvm-amd.ko.orig"), None);
        assert_eq!(name_of("modules.order"), None);
    }

    #[test]
    fn modules_of_a_build_tree_are_where_they_were_built() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, content: &[u8]| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        // The kernel's own sources have a folder of that name.
        write("kernel/fork.ko", b"");
        assert_eq!(version_of_tree(root.path()), None);
        write(RELEASE, b"6.12.0-mine+\n");
        assert_eq!(version_of_tree(root.path()).as_deref(), Some("6.12.0-mine+"));
        write(
            "modules.order",
            b"fs/fuse/fuse.o\nfs/fuse/virtiofs.o\nkernel/net/old.ko\nnot/built.o\n",
        );
        write("fs/fuse/fuse.ko", &module(b"depends=\0"));
        write("fs/fuse/virtiofs.ko", &module(b"depends=fuse\0"));
        write("net/old.ko", &module(b"depends=\0"));
        assert_eq!(
            names(root.path()).into_iter().collect::<Vec<_>>(),
            ["fuse", "old", "virtiofs"]
        );
        let loaded = load(root.path(), &["virtiofs"], &[]).unwrap();
        assert_eq!(
            loaded.iter().map(|module| &*module.name).collect::<Vec<_>>(),
            ["fuse", "virtiofs"]
        );
    }

    const NEEDED: [&str; 3] = ["virtio_pci", "9p", "kvm_amd"];

    #[test]
    fn a_tree_is_loaded_in_order_without_what_is_built_in() {
        let root = tempfile::tempdir().unwrap();
        let kernel = root.path().join("kernel/drivers");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(root.path().join("modules.builtin"), "kernel/net/9p/9pnet.ko\n").unwrap();
        for (file, depends) in [
            ("virtio_pci.ko", ""),
            ("9p.ko", "9pnet"),
            ("fuse.ko", ""),
            ("kvm-amd.ko", "kvm,ccp"),
            ("kvm.ko", ""),
        ] {
            let image = module(format!("license=GPL\0depends={depends}\0").as_bytes());
            fs::write(kernel.join(file), image).unwrap();
        }
        let ModuleError::Absent { name, .. } = load(root.path(), &NEEDED, &["absent"]).unwrap_err() else {
            panic!()
        };
        assert_eq!(name, "ccp");
        fs::write(kernel.join("ccp.ko"), module(b"depends=\0")).unwrap();
        let names: Vec<_> = load(root.path(), &NEEDED, &["absent", "fuse"])
            .unwrap()
            .into_iter()
            .map(|module| module.name)
            .collect();
        assert_eq!(names, ["virtio_pci", "9p", "kvm", "ccp", "kvm_amd", "fuse"]);
    }
}
