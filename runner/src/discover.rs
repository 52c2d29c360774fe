//! Which test files there are.
//!
//! Input: the paths of the command line, or the configuration's roots. Output: the files, sorted, each once.
//! Not here: reading them; what tests a file has is known only when its chunk runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use provium_base::cause::Cause;
use provium_base::walk::is_searched;
use walkdir::WalkDir;

/// What the name of a test file ends with.
pub const SUFFIX: &str = ".test.lua";

/// A test file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestFile {
    /// Absolute.
    pub path: PathBuf,
    /// As reports name it: relative to the working directory where possible.
    pub shown: String,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// A path was given that is not there.
    #[error("no such file or folder: {0}")]
    Missing(String),
    /// A file was given that is no Lua file.
    #[error("{0} is not a Lua file; test files are named NAME{SUFFIX}")]
    NotLua(String),
    /// A folder could not be searched.
    #[error("cannot search for tests: {0}")]
    Walk(#[from] walkdir::Error),
    /// A path could not be made absolute.
    #[error("cannot use {path}: {}", Cause(source))]
    Path {
        /// As given.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The folders hold no tests.
    #[error("no test files (*{SUFFIX}) in {0}")]
    Nothing(String),
}

/// Finds the test files at and below `paths`, which may be relative to `cwd`.
///
/// # Errors
/// [`DiscoverError`] when a path is missing, cannot be read or is a file other than a Lua file, and when
/// nothing was found at all.
pub fn discover(paths: &[PathBuf], cwd: &Path) -> Result<Vec<TestFile>, DiscoverError> {
    let mut files = BTreeMap::new(); // by real path, so that two ways to one file count once
    for given in paths {
        let io_error = |source| DiscoverError::Path {
            path: given.display().to_string(),
            source,
        };
        let path = std::path::absolute(cwd.join(given)).map_err(io_error)?;
        if path.is_file() {
            if path.extension().is_none_or(|extension| extension != "lua") {
                return Err(DiscoverError::NotLua(shown(&path, cwd)));
            }
            insert(&mut files, path, cwd).map_err(io_error)?;
        } else if path.is_dir() {
            let walk = WalkDir::new(&path).into_iter().filter_entry(is_searched);
            for entry in walk {
                let path = entry?.into_path();
                if is_test(&path) && path.is_file() {
                    insert(&mut files, path, cwd).map_err(io_error)?;
                }
            }
        } else {
            return Err(DiscoverError::Missing(given.display().to_string()));
        }
    }
    if files.is_empty() {
        let places: Vec<_> = paths.iter().map(|path| shown(&cwd.join(path), cwd)).collect();
        return Err(DiscoverError::Nothing(places.join(", ")));
    }
    let mut files: Vec<_> = files.into_values().collect();
    files.sort();
    Ok(files)
}

/// Whether a file has the name of a test file.
fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_bytes().ends_with(SUFFIX.as_bytes())
}

/// The path relative to the working directory where it is below it; the directory itself is `.`. Bytes that
/// are not UTF-8 are shown as `\xFF`, so that no two paths look alike.
pub fn shown(path: &Path, cwd: &Path) -> String {
    match path.strip_prefix(cwd) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Ok(rest) => escaped(rest),
        Err(_) => escaped(path),
    }
}

fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

fn insert(files: &mut BTreeMap<PathBuf, TestFile>, path: PathBuf, cwd: &Path) -> io::Result<()> {
    let shown = shown(&path, cwd);
    files
        .entry(path.canonicalize()?)
        .or_insert(TestFile { path, shown });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use tempfile::TempDir;

    fn tree(files: &[&str]) -> TempDir {
        let dir = TempDir::new().expect("a temporary folder");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, "").expect("write");
        }
        dir
    }

    fn found(dir: &TempDir, paths: &[&str]) -> Result<Vec<String>, String> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        let files = discover(&paths, dir.path()).map_err(|error| error.to_string())?;
        Ok(files.into_iter().map(|file| file.shown).collect())
    }

    #[test]
    fn folders_are_searched_and_sorted() {
        let dir = tree(&[
            "b.test.lua",
            "a/z.test.lua",
            "a/helper.lua",
            "a/notes.txt",
            "a/._z.test.lua",
            ".x.test.lua",
            ".hidden/x.test.lua",
            "a/.git/x.test.lua",
            "target/x.test.lua",
            "node_modules/x.test.lua",
            "test.lua",
        ]);
        assert_eq!(
            found(&dir, &["."]),
            Ok(vec!["a/z.test.lua".into(), "b.test.lua".into()])
        );
        assert_eq!(found(&dir, &["target"]), Ok(vec!["target/x.test.lua".into()]));
        assert_eq!(found(&dir, &[".hidden"]), Ok(vec![".hidden/x.test.lua".into()]));
        assert_eq!(found(&dir, &[".x.test.lua"]), Ok(vec![".x.test.lua".into()]));
    }

    #[test]
    fn names_that_are_not_utf_8_are_found_and_look_different() {
        let dir = tree(&["b.test.lua"]);
        for name in [&b"a\xff.test.lua"[..], b"a\xfe.test.lua"] {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "").expect("write");
        }
        assert_eq!(
            found(&dir, &["."]),
            Ok(vec![
                "a\\xFE.test.lua".into(),
                "a\\xFF.test.lua".into(),
                "b.test.lua".into()
            ])
        );
    }

    #[test]
    fn a_file_is_taken_as_it_is_and_once() {
        let dir = tree(&["a/z.test.lua", "plain.lua", "notes.txt"]);
        std::os::unix::fs::symlink("z.test.lua", dir.path().join("a/link.test.lua")).expect("a link");
        assert_eq!(found(&dir, &["plain.lua"]), Ok(vec!["plain.lua".into()]));
        assert_eq!(
            found(&dir, &["a/z.test.lua", "a", "./a/../a"]),
            Ok(vec!["a/z.test.lua".into()])
        );
        assert_eq!(
            found(&dir, &["notes.txt"]),
            Err("notes.txt is not a Lua file; test files are named NAME.test.lua".into())
        );
    }

    #[test]
    fn nothing_and_nowhere_are_errors() {
        let dir = tree(&["a/helper.lua", "b/x.txt"]);
        assert_eq!(
            found(&dir, &["a", "b"]),
            Err("no test files (*.test.lua) in a, b".into())
        );
        assert_eq!(found(&dir, &["."]), Err("no test files (*.test.lua) in .".into()));
        assert_eq!(found(&dir, &["nope"]), Err("no such file or folder: nope".into()));
    }

    #[test]
    fn outside_the_working_directory_paths_stay_absolute() {
        let (dir, other) = (tree(&[]), tree(&["x.test.lua"]));
        let path = other.path().join("x.test.lua");
        assert_eq!(
            found(&dir, &[path.to_str().expect("UTF-8")]),
            Ok(vec![path.to_string_lossy().into_owned()])
        );
    }
}
