//! The disk image of a profile's `rootfs`: the file itself, or one made of a folder.
//!
//! Input: a path, the cache's folder. Output: a raw image, in use as long as its [`RootfsImage`] lives. From
//! a folder, `mke2fs` makes an ext4 file system with free space in it. It is stored in the cache under a
//! digest of all names, kinds, modes, owners and content, so that it is made once; like entries, images are
//! evicted in the order of their last use. Not here: other file systems; changing the folder or the image.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use provium_base::events::CacheEvent;
use provium_base::group;
use walkdir::WalkDir;

use crate::digest::Digest;
use crate::digest_cache::DigestCache;
use crate::disk::allocated;
use crate::lock::{Lock, Mode};
use crate::reading::{Progress, Reading};

/// Part of the key; raised with every change of how an image is made.
const RECIPE: u32 = 1;
/// Name of the cache's folder with the images.
const FOLDER: &str = "rootfs";
/// File extension of an image.
const IMAGE: &str = "ext4";
/// How the name of an image begins that is being made, by a process that holds its lock.
const MAKING: &str = ".making-";
/// How old such a file is at least before it can be one that a killed process has left: a new one may not be
/// locked yet.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// Free bytes for what the guest writes, besides a quarter of the content's size. They take no space before.
const ROOM: u64 = 256 << 20;

/// A disk image, in use as long as this lives.
#[derive(Debug)]
pub struct RootfsImage {
    path: PathBuf,
    /// Protects an image of the cache from eviction; `None` when the image is the user's own file.
    _in_use: Option<Lock>,
}

impl RootfsImage {
    /// The raw image, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An image made of a folder, in the cache.
#[derive(Debug)]
pub(crate) struct CachedImage {
    /// Key, in hexadecimal.
    pub(crate) key: String,
    /// Bytes that it takes on the disk.
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
}

/// Gives the image for `path`: the file itself, or the image of the folder, which is made if it is not in
/// `cache`.
///
/// # Errors
/// In words: that there is neither file nor folder, or it cannot be read, or no image can be made of it, or
/// that `reading` was ended.
pub fn image(
    path: &Path,
    cache: &Path,
    digests: &DigestCache,
    reading: &Reading,
) -> Result<RootfsImage, String> {
    let failed = |error: io::Error| format!("rootfs {}: {error}", path.display());
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(RootfsImage {
            path: path.to_owned(),
            _in_use: None,
        });
    }
    let tree = measure(path, &mut reading.of(path, None)).map_err(failed)?;
    let content = digests.digest(path, reading).map_err(failed)?;
    let recipe = RECIPE.to_le_bytes();
    let key = Digest::of_parts([&recipe[..], content.as_bytes(), tree.owners.as_bytes()]);
    let folder = cache.join(FOLDER);
    let no_room = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(no_room)?;
    // In use before it is looked for: who evicts it holds this lock alone, and only while it goes.
    let used = used_file(&folder, &key.to_string());
    let in_use = match Lock::wait(&used, Mode::Shared, reading.cancel()).map_err(no_room)? {
        Ok(lock) => lock,
        Err(reason) => return Err(format!("rootfs {}: {reason}", path.display())),
    };
    let image = image_file(&folder, &key.to_string());
    if !image.is_file() {
        sweep(&folder);
        let made = tempfile::Builder::new().prefix(MAKING).tempfile_in(&folder);
        let made = made.map_err(no_room)?;
        made.as_file().lock().map_err(no_room)?;
        make(path, &tree, &key, made.path(), reading)?;
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

/// All images in a cache; none when it has no folder for them.
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

/// Removes an image unless it is in use; true when it is gone.
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

/// File of the image with this key.
/// Removes what killed processes have left of images; what cannot be removed is left to the next time.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(MAKING) {
            continue;
        }
        let written = entry.metadata().and_then(|found| found.modified());
        let old = written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_AFTER));
        if old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn image_file(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.{IMAGE}"))
}

/// Lock file of an image: locked while the image is in use; its time is when that last began.
fn used_file(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.used"))
}

/// Owners and size of what is in a folder.
struct Tree {
    /// Digest of the owners and groups of all files, in the order of their names.
    owners: Digest,
    /// Bytes that the files need, in whole blocks.
    bytes: u64,
    /// Number of files and folders.
    files: u64,
}

/// Owners and size of a folder.
///
/// # Errors
/// When something in it cannot be looked at, or it is to end.
fn measure(path: &Path, progress: &mut Progress<'_>) -> io::Result<Tree> {
    let mut owners = Vec::new();
    let (mut bytes, mut files) = (0, 0);
    for entry in WalkDir::new(path).sort_by_file_name() {
        let metadata = fs::symlink_metadata(entry?.path())?;
        progress.add(0)?;
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

/// Makes the file `image` from a folder by `mke2fs`; the file system's UUID is the start of `key`.
///
/// # Errors
/// In words: that `mke2fs` is not there, or what it said, or that it was ended.
fn make(folder: &Path, tree: &Tree, key: &Digest, image: &Path, reading: &Reading) -> Result<(), String> {
    reading.say(CacheEvent::MakingImage {
        path: folder.to_owned(),
    });
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
    mke2fs
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let ended = group::spawn(&mut mke2fs, reading.cancel()).and_then(|mut child| {
        let mut said = Vec::new();
        if let Some(mut stderr) = child.take_stderr() {
            stderr.read_to_end(&mut said)?;
        }
        Ok((child.wait()?, said))
    });
    let (status, said) = ended.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "rootfs {}: a folder becomes a disk image by `mke2fs`, which is not there: install e2fsprogs",
            folder.display()
        ),
        _ => format!("mke2fs: {error}"),
    })?;
    match (reading.cancel().is_cancelled(), status.success()) {
        (None, true) => Ok(()),
        (Some(reason), _) => Err(format!("rootfs {}: {reason}", folder.display())),
        (None, false) => Err(format!(
            "rootfs {}: mke2fs made no image of it: {}",
            folder.display(),
            String::from_utf8_lossy(&said).trim()
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
        let make = || {
            image(&root, &cache, store.digests(), &Reading::undisturbed())
                .unwrap()
                .path()
                .to_owned()
        };
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
    fn what_a_killed_process_left_of_an_image_is_swept_and_what_is_being_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            (path, file)
        };
        let (left, _) = file(".making-left", LEFT_AFTER * 2);
        let (being_made, locked) = file(".making-slowly", LEFT_AFTER * 2);
        locked.lock().unwrap();
        let (new, _) = file(".making-new", Duration::ZERO);
        let (image, _) = file("0123.ext4", LEFT_AFTER * 2);
        sweep(folder.path());
        assert!(!left.exists());
        assert!(being_made.exists() && new.exists() && image.exists());
    }

    #[test]
    fn an_image_is_taken_as_it_is_and_what_is_not_there_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::look(Path::new("/nowhere"), 1 << 30);
        let reading = Reading::undisturbed();
        let cache = Path::new("/nowhere");
        let own = image(file.path(), cache, store.digests(), &reading).unwrap();
        assert_eq!(own.path(), file.path());
        let error = image(Path::new("/no/such/root"), cache, store.digests(), &reading).unwrap_err();
        assert!(error.contains("rootfs /no/such/root: No such file"), "{error}");
    }
}
