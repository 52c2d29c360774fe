//! The cache of built guest files, outside the tree, so that a second clone takes seconds.
//!
//! Input: a key and a way to build. Output: a folder with the built files, verified. Not here: eviction (an
//! entry is some 150 MB, one for each kernel and set of fragments).
//!
//! An entry is installed by one rename after everything in it is written; its `SHA256SUMS` are checked on
//! each use, and an entry that does not match is a miss, built again with a warning. One builder per key at a
//! time, the others wait.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

const SUMS: &str = "SHA256SUMS";
/// The cache below a folder for caches.
const FOLDER: &str = "provium/guest";

/// The user's folder for caches: `$XDG_CACHE_HOME`, else `~/.cache`.
///
/// # Errors
/// When neither variable holds an absolute path.
pub fn base() -> Result<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.context("no cache folder: neither XDG_CACHE_HOME nor HOME is an absolute path")
}

/// A folder with one subfolder per key.
pub struct Cache<'a> {
    folder: PathBuf,
    say: &'a dyn Fn(&str),
}

impl<'a> Cache<'a> {
    /// The user's own, below the folder for caches `base`: `base/provium/guest`. `say` is told what is done.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn at(base: &Path, say: &'a dyn Fn(&str)) -> Result<Cache<'a>> {
        let folder = Cache::below(base);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Cache { folder, say })
    }

    /// The user's own, wherever that is.
    ///
    /// # Errors
    /// When the environment names no place for caches, or the folder cannot be created.
    pub fn of_user(say: &'a dyn Fn(&str)) -> Result<Cache<'a>> {
        Cache::at(&base()?, say)
    }

    /// The folder of the cache below the folder for caches `base`.
    pub fn below(base: &Path) -> PathBuf {
        base.join(FOLDER)
    }

    /// The folder with the entries.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells the user what is done.
    pub fn say(&self, what: &str) {
        (self.say)(what);
    }

    /// The entry's folder, built first when it is missing or damaged. `build` gets a scratch folder,
    /// deleted afterwards, and the folder to leave the files in.
    ///
    /// # Errors
    /// When the build fails or the cache cannot be written; nothing is installed then.
    pub fn get(&self, key: &str, build: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.folder.join(key);
        let _lock = self.lock(key)?;
        match verify(&entry) {
            Ok(true) => {
                self.say(&format!("cached: {}", entry.display()));
                return Ok(entry);
            }
            Ok(false) => {}
            Err(error) => self.say(&format!(
                "warning: building again, the cached files are damaged: {error:#}"
            )),
        }
        // Both may be left from a builder that was killed; the lock says nobody uses them.
        let work = self.folder.join(format!("{key}.build"));
        remove(&work)?;
        let (scratch, out) = (work.join("scratch"), work.join("out"));
        for folder in [&scratch, &out] {
            std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let built = build(&scratch, &out).and_then(|()| seal(&out)).and_then(|()| {
            remove(&entry)?;
            std::fs::rename(&out, &entry).with_context(|| format!("install {}", entry.display()))
        });
        let cleaned = remove(&work);
        built.and(cleaned).map(|()| entry)
    }

    fn lock(&self, key: &str) -> Result<File> {
        let path = self.folder.join(format!("{key}.lock"));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                self.say(&format!(
                    "waiting for another build of the same files ({})",
                    path.display()
                ));
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(file)
    }
}

/// A key: the hash of each part with its length, so that no two lists of parts run together.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())[..24].to_owned()
}

/// Brings a file of an entry to `target`: untouched when it is the same already, else replaced at once.
///
/// # Errors
/// When reading or writing fails.
pub fn place(content: &[u8], target: &Path) -> Result<()> {
    if std::fs::read(target).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let folder = target.parent().context("a file needs a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let new = tempfile::Builder::new().permissions(public()).tempfile_in(folder);
    let mut new = new.with_context(|| format!("create a file in {}", folder.display()))?;
    io::Write::write_all(&mut new, content).with_context(|| format!("write {}", target.display()))?;
    new.persist(target)
        .with_context(|| format!("install {}", target.display()))?;
    Ok(())
}

fn public() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Removes a folder with all that is in it; one that is not there is no error.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the sums of every file in `out`, in the format `sha256sum --check` reads.
fn seal(out: &Path) -> Result<()> {
    let mut sums = String::new();
    for path in files(out)? {
        sums.push_str(&format!("{}  {}\n", sum(&out.join(&path))?, path));
    }
    if sums.is_empty() {
        bail!("the build left no file");
    }
    std::fs::write(out.join(SUMS), sums).context("write the sums")
}

/// Whether the entry is there and whole; an error says what is damaged.
fn verify(entry: &Path) -> Result<bool> {
    let sums = match std::fs::read_to_string(entry.join(SUMS)) {
        Ok(sums) => sums,
        Err(_) if !entry.exists() => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("read {}", entry.join(SUMS).display())),
    };
    for line in sums.lines() {
        let (expected, path) = line
            .split_once("  ")
            .with_context(|| format!("{SUMS}: odd line `{line}`"))?;
        if sum(&entry.join(path))? != expected {
            bail!("{} has changed", entry.join(path).display());
        }
    }
    Ok(!sums.is_empty())
}

/// Every file below `folder`, sorted, relative to it.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(folder).context("below its folder")?;
            found.push(path.to_str().context("a file name that is not UTF-8")?.to_owned());
        }
    }
    Ok(found)
}

fn sum(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file
            .read(&mut buffer)
            .with_context(|| format!("read {}", path.display()))?
        {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache<'static>) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path(), &|_| ()).unwrap();
        (folder, cache)
    }

    fn build(text: &'static str) -> impl FnOnce(&Path, &Path) -> Result<()> {
        move |scratch, out| {
            std::fs::write(scratch.join("object"), "large")?;
            std::fs::create_dir(out.join("modules"))?;
            std::fs::write(out.join("modules/a.ko"), text)?;
            Ok(std::fs::write(out.join("vmlinux"), text)?)
        }
    }

    fn never(_: &Path, _: &Path) -> Result<()> {
        panic!("built although the entry was there")
    }

    #[test]
    fn the_second_time_nothing_is_built_and_nothing_is_left_over() {
        let (_folder, cache) = cache();
        let first = cache.get("k", build("one")).unwrap();
        assert_eq!(cache.get("k", never).unwrap(), first);
        assert_eq!(
            std::fs::read_to_string(first.join("modules/a.ko")).unwrap(),
            "one"
        );
        assert!(!cache.folder.join("k.build").exists());
    }

    #[test]
    fn damaged_entries_are_built_again() {
        let (_folder, cache) = cache();
        let damages: [fn(&Path); 4] = [
            |entry| std::fs::write(entry.join("vmlinux"), "altered").unwrap(),
            |entry| std::fs::remove_file(entry.join("modules/a.ko")).unwrap(),
            |entry| std::fs::remove_file(entry.join(SUMS)).unwrap(),
            |entry| std::fs::write(entry.join(SUMS), "garbage").unwrap(),
        ];
        for damage in damages {
            damage(&cache.get("k", build("whole")).unwrap());
            let again = cache.get("k", build("whole")).unwrap();
            assert_eq!(std::fs::read_to_string(again.join("vmlinux")).unwrap(), "whole");
            assert_eq!(cache.get("k", never).unwrap(), again);
        }
    }

    #[test]
    fn a_failed_build_installs_nothing_and_its_error_is_kept() {
        let (_folder, cache) = cache();
        let failing = |_: &Path, out: &Path| {
            std::fs::write(out.join("vmlinux"), "half")?;
            bail!("compiler said no")
        };
        assert_eq!(
            cache.get("k", failing).unwrap_err().to_string(),
            "compiler said no"
        );
        assert!(!cache.folder.join("k").exists() && !cache.folder.join("k.build").exists());
        cache.get("k", build("now")).unwrap();
    }

    #[test]
    fn what_a_killed_builder_left_is_in_nobodys_way() {
        let (_folder, cache) = cache();
        std::fs::create_dir_all(cache.folder.join("k.build/out/modules")).unwrap();
        let entry = cache.get("k", build("fresh")).unwrap();
        assert_eq!(std::fs::read_to_string(entry.join("vmlinux")).unwrap(), "fresh");
    }

    #[test]
    fn keys_tell_parts_apart() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_ne!(key(["a"]), key(["a", ""]));
        assert_eq!(key(["a", "b"]), key(["a", "b"]));
    }

    #[test]
    fn placing_the_same_content_leaves_the_file_alone() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("guest/vmlinux");
        place(b"one", &target).unwrap();
        let inode = std::fs::metadata(&target).unwrap().ino();
        place(b"one", &target).unwrap();
        assert_eq!(std::fs::metadata(&target).unwrap().ino(), inode);
        place(b"two", &target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o644);
    }
}
