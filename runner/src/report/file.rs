//! Reports that are files: written in one piece, or not at all.
//!
//! Input: a path and, at the run's end, the whole content. Output: the file; before the run, an error where
//! it could never be written, and after it the one with which writing ended. Not here: what is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// A file that a report becomes. Clones are the same file.
#[derive(Debug, Clone)]
pub struct ReportFile {
    path: PathBuf,
    error: Arc<Mutex<Option<io::Error>>>,
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}: {source}", path.display())]
pub struct ReportError {
    path: PathBuf,
    source: io::Error,
}

impl ReportFile {
    /// The file at this path, whose folder is made if need be.
    ///
    /// # Errors
    /// [`ReportError`] when there cannot be such a file.
    pub fn new(path: PathBuf) -> Result<ReportFile, ReportError> {
        let file = ReportFile {
            path,
            error: Arc::default(),
        };
        file.prepare().map_err(|source| file.failed(source))?;
        Ok(file)
    }

    fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder())?;
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            // What is there stays until something takes its place.
            Ok(found) if found.is_file() => self.temporary().map(drop),
            Ok(_) => Ok(()),
            Err(_) => self.temporary().map(drop),
        }
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        // The umask takes away what it takes from any other file.
        builder.permissions(fs::Permissions::from_mode(0o666));
        builder.prefix(".provium-report-").tempfile_in(self.folder())
    }

    /// Puts the content in the file's place. What goes wrong is kept for [`check`](Self::check).
    pub fn write(&self, content: &[u8]) {
        let write = || match fs::metadata(&self.path) {
            // A pipe or a device is not replaced by a file.
            Ok(found) if !found.is_file() => File::create(&self.path)?.write_all(content),
            _ => {
                let mut file = self.temporary()?;
                file.write_all(content)?;
                file.persist(&self.path)?;
                Ok(())
            }
        };
        self.keep(write());
    }

    /// Adds the content to the end of the file.
    pub fn append(&self, content: &[u8]) {
        let open = OpenOptions::new().append(true).create(true).open(&self.path);
        self.keep(open.and_then(|mut file| file.write_all(content)));
    }

    fn keep(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.lock().get_or_insert(error);
        }
    }

    fn failed(&self, source: io::Error) -> ReportError {
        ReportError {
            path: self.path.clone(),
            source,
        }
    }

    /// Whether everything was written.
    ///
    /// # Errors
    /// The first [`ReportError`].
    pub fn check(&self) -> Result<(), ReportError> {
        match self.error.lock().take() {
            None => Ok(()),
            Some(error) => Err(self.failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_the_place_of_the_one_before_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("reports/junit.xml");
        let file = ReportFile::new(path.clone()).expect("it can be written");
        assert!(!path.exists(), "there is none before there is a report");
        file.write(b"one");
        file.write(b"two");
        file.check().expect("written");
        assert_eq!(fs::read(&path).expect("the report"), b"two");
        let names = fs::read_dir(dir.path().join("reports")).expect("the folder");
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = ReportFile::new(dir.path().to_owned())
            .expect_err("it is a folder")
            .to_string();
        assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        let below_a_file = dir.path().join("file/report.xml");
        fs::write(dir.path().join("file"), "").expect("a file");
        ReportFile::new(below_a_file).expect_err("below a file");
        let path = dir.path().join("gone/report.xml");
        let file = ReportFile::new(path.clone()).expect("it can be written");
        fs::remove_dir(dir.path().join("gone")).expect("an empty folder");
        file.write(b"one");
        let error = file.check().expect_err("its folder is gone").to_string();
        assert!(error.contains("gone/report.xml"), "{error}");
    }

    #[test]
    fn a_device_stays_one() {
        ReportFile::new("/dev/null".into())
            .expect("a device")
            .write(b"one");
        assert!(!fs::metadata("/dev/null").expect("it").is_file());
    }
}
