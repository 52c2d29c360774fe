//! What is known of commits by now, and kept, so that an interrupted bisect goes on where it was.
//!
//! Input: a key for all that a verdict depends on. Output: the verdict, if there is one. A commit is known
//! by the hash of its tree, and by what was built of it: where two commits build the same kernel, one run
//! is enough. Not here: what is in a key.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use provium_base::outcome::Rounds;
use provium_cache::Digest;
use serde::{Deserialize, Serialize};

use super::verdict::Judged;

/// What is known of a commit, or of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// What was tested, which its logs are called by: a commit's number, an image's name.
    pub(super) name: String,
    /// What it is.
    pub(super) judged: Judged,
    /// How often its worst test failed, where it ran in rounds.
    pub(super) rounds: Option<Rounds>,
}

/// All that is known, in a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Verdicts {
    #[serde(skip)]
    path: PathBuf,
    known: BTreeMap<Digest, Known>,
}

impl Verdicts {
    /// Those in the file; none if there is no file, or it makes no sense.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Verdicts> {
        let verdicts = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => Verdicts::default(),
            Err(error) => return Err(error),
        };
        Ok(Verdicts {
            path: path.to_owned(),
            ..verdicts
        })
    }

    /// What is known under the key.
    pub(super) fn get(&self, key: Digest) -> Option<&Known> {
        self.known.get(&key)
    }

    /// Keeps it under each of the keys, on the disk before this returns.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep(&mut self, keys: &[Digest], known: &Known) -> io::Result<()> {
        self.known.extend(keys.iter().map(|key| (*key, known.clone())));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(&*self)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_a_damaged_file_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("verdicts");
        let known = Known {
            name: "c".to_owned(),
            judged: Judged::skip("no"),
            rounds: Some(Rounds { run: 3, failed: 1 }),
        };
        let keys = [Digest::of(b"tree"), Digest::of(b"image")];
        let mut verdicts = Verdicts::open(&path).expect("none yet");
        verdicts.keep(&keys, &known).expect("kept");
        let again = Verdicts::open(&path).expect("there");
        assert!(keys.iter().all(|key| again.get(*key) == Some(&known)));
        assert_eq!(again.get(Digest::of(b"other")), None);
        fs::write(&path, "{").expect("written");
        assert_eq!(Verdicts::open(&path).expect("readable").get(keys[0]), None);
    }
}
