//! The artifacts of a run: for each failed test a folder with all that its report left out.
//!
//! Input: a folder for the run; then, for each failure, files with names. Output: those files, below a folder
//! named after the test. The run's folder is emptied when a run begins and made when the first test fails; a
//! folder with anything in it that no run has made is not touched. Not here: what is worth keeping.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// The file by which a folder is known as one that a run has made.
const MARKER: &str = ".provium-artifacts";
const MARKER_TEXT: &str = "Made by provium; the next run empties this folder.\n";
/// Most bytes of one file, and of all of a run.
const FILE_MAX: usize = 64 << 20;
const RUN_MAX: u64 = 1 << 30;
/// Most characters of the name of a file's or a test's folder.
const NAME_MAX: usize = 80;
/// Number of folders whose names differ in a number alone.
const SAME_MAX: u32 = 10_000;

/// Why there can be no artifacts in a folder.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// It has something in it that is not a run's.
    #[error("--artifacts: {0} has files that no run of provium made; name a new or an empty folder")]
    Foreign(String),
    /// It is no folder, or cannot be emptied.
    #[error("--artifacts: {0}: {1}")]
    Io(String, io::Error),
}

/// Where the artifacts of a run go. Nothing is there until something is kept.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
    /// The folder as reports name it.
    shown: String,
    /// Bytes that may still be written.
    left: Mutex<u64>,
}

impl Artifacts {
    /// Those of a run, or of its next start, in `folder`, which reports call `shown`.
    pub fn new(folder: PathBuf, shown: String) -> Artifacts {
        Artifacts {
            folder,
            shown,
            left: Mutex::new(RUN_MAX),
        }
    }

    /// The folder that a project's runs use if none is named: below its `target` if Cargo made that.
    pub fn default_folder(project: &Path) -> PathBuf {
        let target = project.join("target");
        match target.join("CACHEDIR.TAG").is_file() {
            true => target.join("provium"),
            false => project.join(".provium/last"),
        }
    }

    /// Removes what an earlier run left in `folder`.
    ///
    /// # Errors
    /// [`ArtifactsError`] when something else is in there.
    pub fn clear(folder: &Path, shown: &str) -> Result<(), ArtifactsError> {
        let failed = |error| ArtifactsError::Io(shown.to_owned(), error);
        let is_empty = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if is_empty {
            return Ok(());
        }
        // Never through a link: what is removed is what was made here.
        let is_marked = fs::symlink_metadata(folder.join(MARKER)).is_ok_and(|marker| marker.is_file());
        if !is_marked {
            return Err(ArtifactsError::Foreign(shown.to_owned()));
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let removed = match entry.file_type().map_err(failed)?.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
            match removed {
                // Another run empties it as well.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// A new folder for a test of a file; the test without a name is the file's own code.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of_test(&self, file: &str, test: &str) -> io::Result<TestArtifacts<'_>> {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join(MARKER), MARKER_TEXT)?;
        fs::write(self.folder.join(".gitignore"), "*\n")?;
        let file = safe(file);
        fs::create_dir_all(self.folder.join(&file))?;
        let test = if test.is_empty() {
            "file".to_owned()
        } else {
            safe(test)
        };
        for number in 1..SAME_MAX {
            let name = match number {
                1 => test.clone(),
                _ => format!("{test}-{number}"),
            };
            let folder = self.folder.join(&file).join(&name);
            match fs::create_dir(&folder) {
                Ok(()) => {
                    return Ok(TestArtifacts {
                        run: self,
                        folder,
                        shown: format!("{}/{file}/{name}", self.shown),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// The folder of one failed test.
#[derive(Debug)]
pub struct TestArtifacts<'a> {
    run: &'a Artifacts,
    folder: PathBuf,
    shown: String,
}

impl TestArtifacts<'_> {
    /// The folder as reports name it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Writes a file whose name begins with `stem` and ends with `extension`; of one that is too long, or has
    /// no room left in the run, the end is kept, as far as it fits.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, stem: &str, extension: &str, data: &[u8]) -> io::Result<()> {
        let room = {
            let mut left = self.run.left.lock();
            let room = data
                .len()
                .min(FILE_MAX)
                .min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= room as u64;
            room
        };
        let stem = safe(stem);
        for number in 1..SAME_MAX {
            let name = match number {
                1 => format!("{stem}{extension}"),
                _ => format!("{stem}-{number}{extension}"),
            };
            match fs::File::create_new(self.folder.join(name)) {
                Ok(mut file) => {
                    if room < data.len() {
                        let note = format!("… {} bytes are left out here …\n", data.len() - room);
                        io::Write::write_all(&mut file, note.as_bytes())?;
                    }
                    return io::Write::write_all(&mut file, &data[data.len() - room..]);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// A name that is one folder's or file's on every file system, and none that is hidden.
fn safe(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars().take(4 * NAME_MAX) {
        match c {
            '.' if safe.is_empty() => {}
            c if c.is_alphanumeric() || matches!(c, '_' | '.') => safe.push(c),
            _ if safe.ends_with('-') || safe.is_empty() => {}
            _ => safe.push('-'),
        }
    }
    let safe = safe.trim_end_matches(['-', '.']);
    // In bytes, of which a name has 255 at most.
    let mut end = safe.len().min(2 * NAME_MAX);
    while !safe.is_char_boundary(end) {
        end -= 1;
    }
    match &safe[..end] {
        "" => "unnamed".to_owned(),
        safe => safe.chars().take(NAME_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts(dir: &Path) -> Artifacts {
        Artifacts::new(dir.join("out"), "out".to_owned())
    }

    #[test]
    fn names_are_safe_and_folders_are_unique() {
        for (name, expected) in [
            ("tests/net.test.lua", "tests-net.test.lua"),
            ("answers, ping!", "answers-ping"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "unnamed"),
            ("", "unnamed"),
            ("a\0b\nc", "a-b-c"),
            ("größe", "größe"),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
        assert!(safe(&"ü".repeat(1000)).len() <= 2 * NAME_MAX);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let run = artifacts(dir.path());
        let shown = |test: &str| {
            run.of_test("a.test.lua", test)
                .expect("a folder")
                .shown()
                .to_owned()
        };
        assert_eq!(shown("x y"), "out/a.test.lua/x-y");
        assert_eq!(shown("x/y"), "out/a.test.lua/x-y-2");
        assert_eq!(shown(""), "out/a.test.lua/file");
    }

    #[test]
    fn nothing_is_there_before_something_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let run = artifacts(dir.path());
        assert!(!dir.path().join("out").exists());
        let test = run.of_test("a.test.lua", "x").expect("a folder");
        test.write("console-g", ".txt", b"one").expect("written");
        test.write("console-g", ".txt", b"two").expect("written");
        let read =
            |name: &str| fs::read_to_string(dir.path().join("out/a.test.lua/x").join(name)).expect(name);
        assert_eq!(
            (read("console-g.txt"), read("console-g-2.txt")),
            ("one".into(), "two".into())
        );
    }

    #[test]
    fn only_what_a_run_has_made_is_removed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let out = dir.path().join("out");
        let clear = || Artifacts::clear(&out, "out").map_err(|error| error.to_string());
        assert_eq!(clear(), Ok(()));
        drop(
            artifacts(dir.path())
                .of_test("a.test.lua", "x")
                .expect("a folder"),
        );
        assert_eq!(clear(), Ok(()));
        assert!(!out.exists());
        fs::create_dir(&out).expect("a folder");
        assert_eq!(clear(), Ok(()), "an empty one may be used");
        fs::write(out.join("thesis.tex"), "x").expect("a file");
        assert!(
            clear()
                .expect_err("not ours")
                .contains("out has files that no run of provium made")
        );
        assert!(out.join("thesis.tex").exists());
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("a file");
        assert!(Artifacts::clear(&file, "file").is_err());
    }

    #[test]
    fn what_links_lead_to_is_not_removed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let precious = dir.path().join("precious");
        fs::create_dir(&precious).expect("a folder");
        fs::write(precious.join("file"), "x").expect("a file");
        drop(
            artifacts(dir.path())
                .of_test("a.test.lua", "x")
                .expect("a folder"),
        );
        std::os::unix::fs::symlink(&precious, dir.path().join("out/link")).expect("a link");
        Artifacts::clear(&dir.path().join("out"), "out").expect("cleared");
        assert!(precious.join("file").exists());
    }

    #[test]
    fn a_run_has_room_for_so_much() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let run = artifacts(dir.path());
        *run.left.lock() = 5;
        let test = run.of_test("a.test.lua", "x").expect("a folder");
        test.write("long", ".txt", b"0123456789").expect("written");
        let text = fs::read_to_string(dir.path().join("out/a.test.lua/x/long.txt")).expect("a file");
        assert_eq!(text, "… 5 bytes are left out here …\n56789");
    }

    #[test]
    fn the_folder_is_below_cargos_if_that_is_there() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let project = dir.path();
        assert_eq!(Artifacts::default_folder(project), project.join(".provium/last"));
        fs::create_dir(project.join("target")).expect("a folder");
        assert_eq!(Artifacts::default_folder(project), project.join(".provium/last"));
        fs::write(project.join("target/CACHEDIR.TAG"), "x").expect("a file");
        assert_eq!(Artifacts::default_folder(project), project.join("target/provium"));
    }
}
