//! `{out}` and `{tree}`: the folder that a profile's `build` fills and the one whose sources it builds, in
//! its command and in the paths of the profile.
//!
//! Input: `build`, `build_out` and `tree` of a profile with all that it inherits. Output: the command and
//! paths with the folders in their places. Not here: making the folder, which the build does.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::table::Located;

/// How commands and paths write the folder that is filled.
const OUT: &str = "{out}";
/// How they write the folder with the sources.
const TREE: &str = "{tree}";
/// Where the folder is when nothing else is said, below the project; the name of the profile follows.
const DEFAULT: &str = "target/provium";

/// A command that makes what a profile boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Shell command, `{out}` already put in.
    pub command: String,
    /// The folder that `{out}` stands for, made before the command runs.
    pub out: Option<PathBuf>,
    /// Where the command runs: the configuration's folder.
    pub dir: PathBuf,
    /// The folder with the sources.
    pub tree: PathBuf,
    /// Whether the command names that by `{tree}`.
    pub names_tree: bool,
}

/// The folders of all profiles' builds, in place of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// What `{tree}` stands for.
    pub tree: PathBuf,
    /// Below it, by the name of the profile, is what `{out}` stands for.
    pub out: PathBuf,
}

/// The folders of one profile.
pub(super) struct Out<'a> {
    profile: &'a str,
    shown: &'a str,
    dir: &'a Path,
    /// The folder, where the profile has a build.
    folder: Option<PathBuf>,
    /// Whether the profile names it, or its command or a path has it.
    wanted: Cell<bool>,
    /// The folder with the sources.
    tree: PathBuf,
}

/// What a profile says of its folders.
pub(super) struct Folders {
    /// Its command, and the profile that it is written in: those that inherit it share the folder.
    pub(super) build: Option<(Located<String>, String)>,
    /// Its `build_out`.
    pub(super) out: Option<Located<PathBuf>>,
    /// Its `tree`.
    pub(super) tree: Option<Located<PathBuf>>,
}

impl<'a> Out<'a> {
    /// The folders of `profile`; `sources` are in place of what it says itself.
    pub(super) fn new(
        profile: &'a str,
        shown: &'a str,
        dir: &'a Path,
        folders: &Folders,
        sources: Option<&Sources>,
    ) -> Result<Out<'a>, ConfigError> {
        let tree = match (sources, &folders.tree) {
            (Some(sources), _) => sources.tree.clone(),
            (None, Some(tree)) => tree.value.clone(),
            (None, None) => dir.to_owned(),
        };
        let out = |folder, wanted| Out {
            profile,
            shown,
            dir,
            folder,
            wanted: Cell::new(wanted),
            tree,
        };
        match (&folders.build, &folders.out) {
            (None, None) => Ok(out(None, false)),
            (None, Some(named)) => {
                let message =
                    format!("`build_out` in [profiles.{profile}] is for `build`, which is not there");
                Err(ConfigError::at(shown, Some(named.line), message))
            }
            (Some((_, owner)), _) if let Some(sources) = sources => {
                Ok(out(Some(sources.out.join(owner)), true))
            }
            (Some(_), Some(named)) => Ok(out(Some(named.value.clone()), true)),
            (Some((build, owner)), None) => {
                let folder = dir.join(DEFAULT).join(owner);
                Ok(out(Some(folder), build.value.contains(OUT)))
            }
        }
    }

    /// A path of the profile, with the folder in the place of `{out}` or `{tree}` at its beginning.
    pub(super) fn expand(&self, key: &str, path: Located<PathBuf>) -> Result<Located<PathBuf>, ConfigError> {
        let mistake = |what: &str| {
            let message = format!("`{key}` in [profiles.{}] {what}", self.profile);
            Err(ConfigError::at(self.shown, Some(path.line), message))
        };
        let written = path.value.to_string_lossy();
        let value = if let Ok(rest) = path.value.strip_prefix(self.dir.join(OUT)) {
            self.wanted.set(true);
            match &self.folder {
                None => return mistake("has {out}, but there is no `build`"),
                Some(folder) => below(folder, rest),
            }
        } else if let Ok(rest) = path.value.strip_prefix(self.dir.join(TREE)) {
            below(&self.tree, rest)
        } else if let Some(name) = [OUT, TREE].into_iter().find(|name| written.contains(name)) {
            return mistake(&format!(
                "has {name} in the middle; it is a folder, for the beginning of a path"
            ));
        } else {
            path.value.clone()
        };
        let line = path.line;
        Ok(Located { value, line })
    }

    /// The build of this command, in which each folder is one word of the shell.
    pub(super) fn build(&self, command: &str) -> Build {
        let words = command.replace(TREE, &shell_word(&self.tree.to_string_lossy()));
        Build {
            command: match &self.folder {
                Some(folder) => words.replace(OUT, &shell_word(&folder.to_string_lossy())),
                None => words,
            },
            out: self.folder.clone().filter(|_| self.wanted.get()),
            dir: self.dir.to_owned(),
            tree: self.tree.clone(),
            names_tree: command.contains(TREE),
        }
    }
}

/// The path `rest` below `folder`; joining nothing would leave a slash at the end.
fn below(folder: &Path, rest: &Path) -> PathBuf {
    match rest.as_os_str().is_empty() {
        true => folder.to_owned(),
        false => folder.join(rest),
    }
}

/// The text as one word of a shell command, quoted only when it has to be.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
