//! The source files of fixtures, and which one a name means.
//!
//! Input: the project's folders, or a name as a test wrote it. Output: [`FixtureSource`]s. `NAME` is
//! `fixtures/NAME.lua` in the project's folder or a root, else `NAME.fixture.lua` under a root; where two
//! files of one sort have one name, the first in that order counts; where two sorts do, the name is nobody's.
//! Not here: reading the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use provium_base::nearest::nearest;
use provium_base::walk::is_searched;
use walkdir::WalkDir;

use crate::digest::Digest;
use crate::error::FixtureError;
use crate::input::Input;

/// Suffix of a fixture's source file.
pub const SUFFIX: &str = ".fixture.lua";
/// Name of the folder in which every Lua file is a fixture, except tests.
const FOLDER: &str = "fixtures";

/// Most names that a message lists.
const MOST_NAMES: usize = 20;

/// A fixture's name and the file that makes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FixtureSource {
    /// Name: the path below its root, without the suffix.
    pub name: String,
    /// Source file, absolute.
    pub path: PathBuf,
}

impl FixtureSource {
    /// Name of its lock and of its folder of manifests, different for every fixture of every project.
    pub(crate) fn id(&self) -> String {
        let path = self.path.as_os_str().as_encoded_bytes();
        Digest::of_parts([self.name.as_bytes(), path]).to_string()[..32].to_owned()
    }

    /// The source as an input of its own fixture.
    pub(crate) fn as_input(&self) -> Input {
        Input::Source {
            name: self.name.clone(),
            path: self.path.clone(),
        }
    }
}

/// All fixtures of a project, by name.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The project's folder, then its roots.
    folders: Vec<PathBuf>,
    by_name: BTreeMap<String, FixtureSource>,
    /// For each name that a `fixtures/NAME.lua` has: the `NAME.fixture.lua` that has it too.
    rivals: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// Searches the project's folder and roots.
    ///
    /// # Errors
    /// When a folder cannot be searched.
    pub fn find(project: &Path, roots: &[PathBuf]) -> Result<Sources, FixtureError> {
        let mut sources = Sources {
            folders: [project]
                .into_iter()
                .chain(roots.iter().map(PathBuf::as_path))
                .map(Path::to_owned)
                .collect(),
            by_name: BTreeMap::new(),
            rivals: BTreeMap::new(),
        };
        for root in sources.folders.clone() {
            for found in sources.search(&root.join(FOLDER), ".lua")? {
                sources.by_name.entry(found.name.clone()).or_insert(found);
            }
        }
        let in_folders: BTreeSet<String> = sources.by_name.keys().cloned().collect();
        for root in roots {
            for found in sources.search(root, SUFFIX)? {
                if in_folders.contains(&found.name) {
                    sources.rivals.entry(found.name).or_insert(found.path);
                } else {
                    sources.by_name.entry(found.name.clone()).or_insert(found);
                }
            }
        }
        Ok(sources)
    }

    /// All fixtures, sorted by name.
    pub fn all(&self) -> impl Iterator<Item = &FixtureSource> {
        self.by_name.values()
    }

    /// The fixture that has exactly this name.
    pub fn named(&self, name: &str) -> Option<&FixtureSource> {
        self.by_name.get(name)
    }

    /// The fixture that a test or a user means: by its name, with or without suffix, by the last part of its
    /// name if only one ends so, or by its file's path, absolute or relative to the project or to `cwd`.
    ///
    /// # Errors
    /// When there is none, naming the most similar; when there are several, naming all of them; when a file
    /// in `fixtures` and one beside it both have the name, naming both.
    pub fn lookup(&self, given: &str, cwd: Option<&Path>) -> Result<&FixtureSource, FixtureError> {
        let name = given.strip_prefix("./").unwrap_or(given);
        let name = name
            .strip_suffix(SUFFIX)
            .or(name.strip_suffix(".lua"))
            .unwrap_or(name);
        if let Some(source) = self.named(name) {
            return self.without_rival(source);
        }
        for folder in self.folders.iter().map(PathBuf::as_path).chain(cwd) {
            for ending in ["", ".lua", SUFFIX] {
                let Ok(path) = std::path::absolute(folder.join(format!("{given}{ending}"))) else {
                    continue;
                };
                if let Some(source) = self.at(&path) {
                    return Ok(source);
                }
            }
        }
        let last = |source: &&FixtureSource| source.name.rsplit('/').next() == Some(name);
        let candidates: Vec<_> = self.all().filter(last).collect();
        match candidates.as_slice() {
            [source] => self.without_rival(source),
            [] => Err(FixtureError::Name(self.unknown(given, name))),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .map(|source| format!("`{}`", source.name))
                    .collect();
                Err(FixtureError::Name(format!(
                    "fixture `{given}` could be {}; write the whole name",
                    names.join(" or ")
                )))
            }
        }
    }

    /// The fixture whose source is exactly this file.
    pub fn at(&self, path: &Path) -> Option<&FixtureSource> {
        self.all().find(|source| source.path == path)
    }

    /// The source, unless a file of the other sort has its name too.
    fn without_rival<'a>(&self, source: &'a FixtureSource) -> Result<&'a FixtureSource, FixtureError> {
        match self.rivals.get(&source.name) {
            None => Ok(source),
            Some(rival) => Err(FixtureError::Name(format!(
                "fixture `{}` could be {} or {}; rename one of them",
                source.name,
                source.path.display(),
                rival.display()
            ))),
        }
    }

    /// Message for a name that no fixture has.
    fn unknown(&self, given: &str, name: &str) -> String {
        let names = || self.by_name.keys().map(String::as_str);
        let lasts = names().map(|name| name.rsplit('/').next().unwrap_or(name));
        if let Some(near) = nearest(name, names()).or_else(|| nearest(name, lasts)) {
            return format!("there is no fixture `{given}`; did you mean `{near}`?");
        }
        if self.by_name.is_empty() {
            return format!(
                "there is no fixture `{given}`: no NAME{SUFFIX} under a root and no {FOLDER}/NAME.lua in {}",
                self.folders
                    .first()
                    .map_or(".".into(), |project| project.to_string_lossy())
            );
        }
        let mut names: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        if let [only] = names.as_slice() {
            return format!("there is no fixture `{given}`; there is only {only}");
        }
        let (more, most) = (
            names.len().saturating_sub(MOST_NAMES),
            names.len().min(MOST_NAMES),
        );
        names.truncate(most);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more (`provium list --fixtures`)"),
        };
        format!(
            "there is no fixture `{given}`; there are {}{more}",
            names.join(", ")
        )
    }

    /// The fixtures below `folder` that are not known yet: the files whose names end with `suffix`.
    fn search(&self, folder: &Path, suffix: &str) -> Result<Vec<FixtureSource>, FixtureError> {
        let mut all = Vec::new();
        if !folder.is_dir() {
            return Ok(all);
        }
        for entry in WalkDir::new(folder).into_iter().filter_entry(is_searched) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(folder).to_owned();
                FixtureError::io("searching", &path)(error.into())
            })?;
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            if !name.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes()) {
                continue;
            }
            let Some(name) = name.to_str() else {
                let shown = entry.path().display();
                return Err(FixtureError::Name(format!(
                    "{shown}: the name of a fixture must be UTF-8"
                )));
            };
            let name = name.strip_suffix(suffix).unwrap_or(name);
            if !entry.path().is_file() || name.ends_with(".test") {
                continue;
            }
            // `fixtures/NAME.fixture.lua` is NAME too.
            let name = name.strip_suffix(".fixture").unwrap_or(name);
            let path =
                std::path::absolute(entry.path()).map_err(FixtureError::io("reading", entry.path()))?;
            let found = FixtureSource {
                name: name.to_owned(),
                path,
            };
            if self.at(&found.path).is_none() {
                all.push(found);
            }
        }
        Ok(all)
    }
}
