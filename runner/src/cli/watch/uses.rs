//! What a change touches.
//!
//! Input: which file uses which, as runs tell it; files that have changed. Output: what to run. Not here:
//! noticing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use provium_base::events::Event;

use crate::discover::{SUFFIX, TestFile};

/// What is known of the files of a project.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Absolute paths of test files by the names that reports give them.
    names: BTreeMap<String, PathBuf>,
    /// Who uses a file.
    users: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// The test files that failed when they ran last.
    failed: BTreeSet<PathBuf>,
    /// Files of the whole run: the configuration, and what profiles boot.
    configuration: Option<PathBuf>,
    of_all: BTreeSet<PathBuf>,
}

/// What changes touch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Whether the configuration is to be read again.
    pub(super) reload: bool,
    /// Whether every test file is touched.
    pub(super) all: bool,
    /// Test files that are touched, if not all are.
    pub(super) files: BTreeSet<PathBuf>,
}

impl Touched {
    /// Whether there is nothing to do.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Touched::default()
    }
}

impl Uses {
    /// Learns what belongs to the whole run.
    pub(super) fn set_project(&mut self, configuration: Option<PathBuf>, of_all: BTreeSet<PathBuf>) {
        self.configuration = configuration;
        self.of_all = of_all;
    }

    /// Learns which test files there are; those that are gone are forgotten.
    pub(super) fn set_files(&mut self, files: &[TestFile]) {
        let names = files.iter().map(|file| (file.shown.clone(), file.path.clone()));
        self.names = names.collect();
        let there: BTreeSet<&PathBuf> = self.names.values().collect();
        self.failed.retain(|path| there.contains(path));
        for users in self.users.values_mut() {
            users.retain(|path| there.contains(path));
        }
    }

    /// Takes note of what a run tells.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::FileUses { path, uses } => {
                if let Some(user) = self.names.get(path) {
                    self.users.entry(uses.clone()).or_default().insert(user.clone());
                }
            }
            Event::FileEnded(end) => {
                if let Some(path) = self.names.get(&end.result.path) {
                    match end.failed() {
                        true => self.failed.insert(path.clone()),
                        false => self.failed.remove(path),
                    };
                }
            }
            _ => {}
        }
    }

    /// The test files that failed when they ran last.
    pub(super) fn failed(&self) -> BTreeSet<PathBuf> {
        self.failed.clone()
    }

    /// Whether this test file was there before.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.names.values().any(|known| known == path)
    }

    /// Number of test files.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Files outside of the roots whose changes matter.
    pub(super) fn watched(&self) -> BTreeSet<PathBuf> {
        let used = self.users.iter().filter(|(_, users)| !users.is_empty());
        let used = used.map(|(path, _)| path.clone());
        let of_all = self.of_all.iter().chain(&self.configuration).cloned();
        used.chain(of_all).collect()
    }

    /// Whether a change of this file can matter.
    pub(super) fn matters(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "lua")
            || self.users.contains_key(path)
            || self.is_of_all(path)
            || self.configuration.as_deref() == Some(path)
    }

    fn is_of_all(&self, path: &Path) -> bool {
        // A root file system may be a folder.
        self.of_all.iter().any(|of_all| path.starts_with(of_all))
    }

    /// What these changes touch. Files that are there now are known by [`set_files`](Self::set_files).
    pub(super) fn touched(&self, changed: &BTreeSet<PathBuf>) -> Touched {
        let mut touched = Touched::default();
        for path in changed {
            if self.configuration.as_deref() == Some(path) {
                touched.reload = true;
                touched.all = true;
            } else if self.is_of_all(path) {
                touched.all = true;
            } else if self.names.values().any(|file| file == path) {
                touched.files.insert(path.clone());
            } else if let Some(users) = self.users.get(path).filter(|users| !users.is_empty()) {
                touched.files.extend(users.iter().cloned());
            } else if is_helper(path) {
                // A helper that nobody has found so far: whoever looked for it has failed.
                touched.files.extend(self.failed.iter().cloned());
            }
        }
        touched
    }
}

/// Whether this is a Lua file that can be required.
fn is_helper(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".lua") && !name.ends_with(SUFFIX) && path.is_file()
}

#[cfg(test)]
mod tests {
    use provium_base::outcome::FileEnd;

    use super::*;
    use crate::samples;

    fn file(name: &str) -> TestFile {
        TestFile {
            path: Path::new("/p/tests").join(name),
            shown: format!("tests/{name}"),
        }
    }

    fn uses(path: &str, uses: &str) -> Event {
        Event::FileUses {
            path: format!("tests/{path}"),
            uses: uses.into(),
        }
    }

    fn known() -> Uses {
        let mut known = Uses::default();
        known.set_project(
            Some("/p/provium.toml".into()),
            ["/p/bzImage".into(), "/p/root".into()].into(),
        );
        known.set_files(&[file("a.test.lua"), file("b.test.lua"), file("c.test.lua")]);
        for event in [
            uses("a.test.lua", "/p/tests/helper.lua"),
            uses("b.test.lua", "/p/tests/helper.lua"),
            uses("b.test.lua", "/p/tests/base.fixture.lua"),
            uses("b.test.lua", "/p/seed.img"),
        ] {
            known.hear(&event);
        }
        known.hear(&Event::FileEnded(FileEnd {
            result: samples::failing("tests/c.test.lua"),
            stopped: false,
            shown_before: false,
            selected: true,
        }));
        known
    }

    fn touched(known: &Uses, paths: &[&str]) -> (bool, bool, Vec<String>) {
        let touched = known.touched(&paths.iter().map(PathBuf::from).collect());
        let files = touched.files.iter();
        let names = files.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
        (touched.reload, touched.all, names.collect())
    }

    #[test]
    fn a_change_touches_what_uses_it() {
        let known = known();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (path, files) in [
            ("/p/tests/a.test.lua", &["a.test.lua"][..]),
            ("/p/tests/helper.lua", &["a.test.lua", "b.test.lua"]),
            ("/p/tests/base.fixture.lua", &["b.test.lua"]),
            ("/p/seed.img", &["b.test.lua"]),
            ("/p/tests/gone.test.lua", &[]),
        ] {
            assert_eq!(touched(&known, &[path]), (false, false, names(files)), "{path}");
            assert!(known.matters(Path::new(path)), "{path}");
        }
        assert_eq!(touched(&known, &["/p/bzImage"]), (false, true, vec![]));
        assert_eq!(touched(&known, &["/p/root/etc/passwd"]), (false, true, vec![]));
        assert_eq!(touched(&known, &["/p/provium.toml"]), (true, true, vec![]));
        assert!(!known.matters(Path::new("/p/target/provium/console.log")));
        assert!(known.touched(&BTreeSet::new()).is_nothing());
    }

    #[test]
    fn a_new_helper_touches_what_failed_and_a_file_that_is_gone_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("new.lua");
        let mut known = known();
        let new = new.to_str().expect("UTF-8");
        assert_eq!(touched(&known, &[new]), (false, false, vec![]), "it is not there");
        std::fs::write(new, "return {}").expect("write");
        assert_eq!(
            touched(&known, &[new]),
            (false, false, vec!["c.test.lua".to_owned()])
        );
        known.set_files(&[file("b.test.lua")]);
        assert_eq!(touched(&known, &[new]), (false, false, vec![]));
        assert_eq!(
            touched(&known, &["/p/tests/helper.lua", "/p/tests/a.test.lua"]),
            (false, false, vec!["b.test.lua".to_owned()])
        );
        assert!(known.failed().is_empty());
    }
}
