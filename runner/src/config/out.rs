//! `{out}`: the folder that a profile's `build` fills, in its command and in the paths of the profile.
//!
//! Input: `build` and `build_out` of a profile with all that it inherits. Output: the command and paths with
//! the folder in the place of `{out}`. Not here: making the folder, which the build does.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::table::Located;

/// How commands and paths write the folder.
const OUT: &str = "{out}";
/// Where the folder is when nothing else is said, below the project; the name of the profile follows.
const DEFAULT: &str = "target/provium";

/// The folder of one profile.
pub(super) struct Out<'a> {
    profile: &'a str,
    shown: &'a str,
    dir: &'a Path,
    /// The folder, where the profile has a build.
    folder: Option<PathBuf>,
    /// Whether the profile names it, or its command or a path has it.
    wanted: Cell<bool>,
}

impl<'a> Out<'a> {
    /// The folder for `build`, which says as well which profile it is written in: those that inherit it
    /// share the folder.
    pub(super) fn new(
        profile: &'a str,
        shown: &'a str,
        dir: &'a Path,
        build: Option<&(Located<String>, String)>,
        named: Option<Located<PathBuf>>,
    ) -> Result<Out<'a>, ConfigError> {
        let out = |folder, wanted| Out {
            profile,
            shown,
            dir,
            folder,
            wanted: Cell::new(wanted),
        };
        match (build, named) {
            (None, None) => Ok(out(None, false)),
            (None, Some(named)) => {
                let message =
                    format!("`build_out` in [profiles.{profile}] is for `build`, which is not there");
                Err(ConfigError::at(shown, Some(named.line), message))
            }
            (Some(_), Some(named)) => Ok(out(Some(named.value), true)),
            (Some((build, owner)), None) => {
                let folder = dir.join(DEFAULT).join(owner);
                Ok(out(Some(folder), build.value.contains(OUT)))
            }
        }
    }

    /// A path of the profile, with the folder in the place of `{out}` at its beginning.
    pub(super) fn expand(&self, key: &str, path: Located<PathBuf>) -> Result<Located<PathBuf>, ConfigError> {
        let mistake = |what: &str| {
            let message = format!("`{key}` in [profiles.{}] {what}", self.profile);
            Err(ConfigError::at(self.shown, Some(path.line), message))
        };
        let below = path.value.strip_prefix(self.dir.join(OUT));
        self.wanted.set(self.wanted.get() || below.is_ok());
        let value = match (below, &self.folder) {
            (Ok(_), None) => return mistake("has {out}, but there is no `build`"),
            // Joining nothing would leave a slash at the end.
            (Ok(rest), Some(folder)) if rest.as_os_str().is_empty() => folder.clone(),
            (Ok(rest), Some(folder)) => folder.join(rest),
            (Err(_), _) if path.value.to_string_lossy().contains(OUT) => {
                return mistake("has {out} in the middle; it is a folder, for the beginning of a path");
            }
            (Err(_), _) => path.value.clone(),
        };
        let line = path.line;
        Ok(Located { value, line })
    }

    /// The command with the folder as one word of the shell.
    pub(super) fn command(&self, command: &str) -> String {
        match &self.folder {
            Some(folder) => command.replace(OUT, &shell_word(&folder.to_string_lossy())),
            None => command.to_owned(),
        }
    }

    /// The folder, if there is to be one.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|_| self.wanted.get())
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
