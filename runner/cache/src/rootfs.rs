//! The disk image of a profile's `rootfs`: the file itself, or one made of a folder.
//!
//! Input: a path, the cache's folder. Output: a raw image, in use as long as its [`RootfsImage`] lives. Of a folder,
//! `mke2fs` makes an ext4 file system with some room in it, kept in the cache under a digest of all names, kinds, modes,
//! owners and content; so it is made once. Like entries, images go in the order of their last use when the cache is full.
//! Not here: other file systems; changing the folder or the image.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use walkdir::WalkDir;

use provium_base::cancel::Cancel;

use crate::lock::{Lock, Mode};
use crate::store::allocated;
use crate::{Digest, DigestCache};

/// Part of the key; goes up with every change of how an image is made.
const RECIPE: u32 = 1;
/// The folder of the cache with the images.
const FOLDER: &str = "rootfs";
/// What an image's name ends with.
const IMAGE: &str = "ext4";
/// Room for what the guest writes, besides a quarter of what is there. It takes no space before.
const ROOM: u64 = 256 << 20;

/// An image, in use for as long as this lives.
#[derive(Debug)]
pub struct RootfsImage {
    path: PathBuf,
    /// What keeps an image of the cache from being evicted; `None` where the image is the user's own file.
    _in_use: Option<Lock>,
}

impl RootfsImage {
    /// The raw image, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An image that is in the cache.
#[derive(Debug)]
pub(crate) struct CachedImage {
    /// Its key, in hexadecimal.
    pub(crate) key: String,
    /// What it takes on the disk.
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
}

/// The image that `path` stands for.
///
/// # Errors
/// When there is neither file nor folder, it cannot be read, or no image can be made of it; says which.
pub fn image(path: &Path, cache: &Path, digests: &DigestCache) -> Result<RootfsImage, String> {
    let failed = |error: io::Error| format!("rootfs {}: {error}", path.display());
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(RootfsImage {
            path: path.to_owned(),
            _in_use: None,
        });
    }
    let tree = measure(path).map_err(failed)?;
    let content = digests.digest(path).map_err(failed)?;
    let recipe = RECIPE.to_le_bytes();
    let key = Digest::of_parts([&recipe[..], content.as_bytes(), tree.owners.as_bytes()]);
    let folder = cache.join(FOLDER);
    let no_room = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(no_room)?;
    // In use before it is looked for: who evicts it holds this lock alone, and only while it goes.
    let used = used_file(&folder, &key.to_string());
    let in_use = match Lock::wait(&used, Mode::Shared, &Cancel::new()).map_err(no_room)? {
        Ok(lock) => lock,
        Err(reason) => return Err(format!("rootfs {}: {reason}", path.display())),
    };
    let image = image_file(&folder, &key.to_string());
    if !image.is_file() {
        let made = tempfile::Builder::new().prefix(".making-").tempfile_in(&folder);
        let made = made.map_err(no_room)?;
        make(path, &tree, &key, made.path())?;
        // Others may read it: who cannot read the cache's folder does not get here.
        made.persist(&image).map_err(|error| no_room(error.error))?;
    }
    // Its time says when it was needed last. The image's own must stay, for snapshots that rely on it.
    if let Err(error) = in_use.file().set_modified(SystemTime::now()) {
        tracing::debug!(%error, "the use of an image is not noted");
    }
    Ok(RootfsImage {
        path: image,
        _in_use: Some(in_use),
    })
}

/// The images in a cache; none where it has no folder for them.
pub(crate) fn cached_images(cache: &Path) -> Vec<CachedImage> {
    let folder = cache.join(FOLDER);
    let Ok(listing) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let image = |path: &Path| {
        let key = path.file_stem()?.to_str()?.to_owned();
        let is_image = path.extension()? == IMAGE && !key.starts_with('.');
        is_image.then(|| CachedImage {
            bytes: allocated(path),
            last_used: fs::metadata(used_file(&folder, &key))
                .and_then(|metadata| metadata.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            key,
        })
    };
    listing
        .flatten()
        .filter_map(|entry| image(&entry.path()))
        .collect()
}

/// Removes an image, unless it is in use; says whether it is gone.
///
/// # Errors
/// When it can be neither locked nor removed.
pub(crate) fn evict(cache: &Path, key: &str) -> io::Result<bool> {
    let folder = cache.join(FOLDER);
    let Some(alone) = Lock::try_new(&used_file(&folder, key), Mode::Exclusive)? else {
        return Ok(false);
    };
    match fs::remove_file(image_file(&folder, key)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => alone.remove(),
    }
    Ok(true)
}

fn image_file(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.{IMAGE}"))
}

/// Locked while the image is in use; its time is when that last began.
fn used_file(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.used"))
}

/// What is known of a folder besides its content.
struct Tree {
    /// Digest of who owns what.
    owners: Digest,
    /// Bytes that its files need, in blocks.
    bytes: u64,
    files: u64,
}

fn measure(path: &Path) -> io::Result<Tree> {
    let mut owners = Vec::new();
    let (mut bytes, mut files) = (0, 0);
    for entry in WalkDir::new(path).sort_by_file_name() {
        let metadata = fs::symlink_metadata(entry?.path())?;
        owners.extend_from_slice(&metadata.uid().to_le_bytes());
        owners.extend_from_slice(&metadata.gid().to_le_bytes());
        bytes += metadata.len().next_multiple_of(4096);
        files += 1;
    }
    Ok(Tree {
        owners: Digest::of(&owners),
        bytes,
        files,
    })
}

fn make(folder: &Path, tree: &Tree, key: &Digest, image: &Path) -> Result<(), String> {
    let mib = (tree.bytes + tree.bytes / 4 + ROOM).div_ceil(1 << 20);
    let name = key.to_string();
    let uuid = format!(
        "{}-{}-{}-{}-{}",
        &name[..8],
        &name[8..12],
        &name[12..16],
        &name[16..20],
        &name[20..32]
    );
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsString::from(":/usr/sbin:/sbin"));
    let mut mke2fs = Command::new("mke2fs");
    mke2fs
        .env("PATH", path)
        .args(["-q", "-F", "-t", "ext4", "-L", "rootfs", "-m", "0", "-U", &uuid]);
    mke2fs
        .args(["-N", &(tree.files + 16_384).to_string(), "-d"])
        .arg(folder);
    mke2fs.arg(image).arg(format!("{mib}M"));
    let output = mke2fs.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "rootfs {}: a folder becomes a disk image by `mke2fs`, which is not there: install e2fsprogs",
            folder.display()
        ),
        _ => format!("mke2fs: {error}"),
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "rootfs {}: mke2fs made no image of it: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Store;

    #[test]
    fn a_folder_becomes_an_image_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (root, cache) = (folder.path().join("root"), folder.path().join("cache"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/motd"), b"hello").unwrap();
        let store = Store::look(&cache, 1 << 30);
        let make = || image(&root, &cache, store.digests()).unwrap().path().to_owned();
        let first = make();
        let content = fs::read(&first).unwrap();
        // The superblock's magic number, and the file's own content somewhere.
        assert_eq!(content[1024 + 56..][..2], [0x53, 0xef]);
        assert!(content.chunks(4096).any(|block| block.starts_with(b"hello")));
        let stamp = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(make(), first);
        assert_eq!(
            fs::metadata(&first).unwrap().modified().unwrap(),
            stamp,
            "it is not made again"
        );
        fs::set_permissions(root.join("etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
        let second = make();
        assert_ne!(second, first);
        fs::write(root.join("etc/motd"), b"hallo").unwrap();
        assert_ne!(make(), second);
    }

    #[test]
    fn an_image_is_taken_as_it_is_and_what_is_not_there_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::look(Path::new("/nowhere"), 1 << 30);
        let cache = Path::new("/nowhere");
        let own = image(file.path(), cache, store.digests()).unwrap();
        assert_eq!(own.path(), file.path());
        let error = image(Path::new("/no/such/root"), cache, store.digests()).unwrap_err();
        assert!(error.contains("rootfs /no/such/root: No such file"), "{error}");
    }
}
