//! The project's configuration: `provium.toml`.
//!
//! Input: a file, or a folder to look for it from. Output: a [`Config`] in which every path is absolute,
//! every default is filled in and `inherits` is resolved, or an error that names the file and the line.
//! Not here: the command line; what it overrides is decided where it is resolved (`cli`).

mod disks;
mod error;
mod expand;
mod general;
mod load;
mod out;
mod overrides;
mod profile;
mod shares;
mod splats;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use provium_base::nearest::nearest;
use provium_vmm::limits;

pub use error::ConfigError;
pub use general::{FlagDefault, FlagValue};
pub use load::Environment;
pub use out::{Build, Sources};
pub use overrides::{KernelChoice, Overrides, PresetChoice};
pub use profile::Profile;
use provium_guest::ShareMode;
pub use provium_guest::WallClock;
pub use shares::HOST_ROOT;
pub use splats::{SplatPolicy, SplatRules};

/// The name that is looked for, in the working directory and its parents.
pub const FILE_NAME: &str = "provium.toml";
/// Memory of a guest whose profile says nothing, in bytes.
pub const MEMORY_DEFAULT: u64 = 512 << 20;

/// A project's configuration, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it came from; `None` when there is none and everything is default.
    pub file: Option<PathBuf>,
    /// The file as errors name it, relative to the working directory where possible.
    pub(crate) shown: String,
    /// The project's folder: where the file is, else the working directory.
    pub project: PathBuf,
    /// Folders that are scanned for tests and are on `require`'s path.
    pub roots: Vec<PathBuf>,
    /// Line of `roots`, when it is written.
    pub(crate) roots_line: Option<usize>,
    /// Where Provium keeps what it can build again.
    pub cache_dir: PathBuf,
    /// Size in bytes at which the least used cache entries go.
    pub cache_max_size: u64,
    /// Bytes that what guests write to disks may take on the host, in a whole run.
    pub disk_max: u64,
    /// The file of tests that are known to fail.
    pub known_failures: Option<PathBuf>,
    /// What splats of guests' kernels mean.
    pub splats: SplatRules,
    /// Values of flags where the command line gives none.
    pub flags: Vec<FlagDefault>,
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
}

impl Config {
    /// Loads `file`, or the nearest [`FILE_NAME`] in `cwd` or above it, or else in the folder that all of
    /// `paths` are in or above that, or the defaults when there is none.
    ///
    /// # Errors
    /// [`ConfigError`] when a file is given or found but cannot be read or has a mistake in it. Whether the
    /// kernels and other files it names exist is a question of its own: [`Config::check_files`].
    pub fn load(
        file: Option<&Path>,
        cwd: &Path,
        paths: &[PathBuf],
        env: &Environment,
    ) -> Result<Config, ConfigError> {
        Config::load_with(file, cwd, paths, env, &Overrides::default())
    }

    /// The same with what the command line puts in place of the file's own words.
    ///
    /// # Errors
    /// Those of [`Config::load`], and a [`ConfigError`] when the file has no such preset or profile.
    pub fn load_with(
        file: Option<&Path>,
        cwd: &Path,
        paths: &[PathBuf],
        env: &Environment,
        overrides: &Overrides,
    ) -> Result<Config, ConfigError> {
        let file = match file {
            Some(file) => cwd.join(file),
            None => match nearest_file(cwd).or_else(|| nearest_file(&common_folder(cwd, paths)?)) {
                Some(found) => found,
                None => {
                    let missing = |flag| {
                        let what = format!("there is no {FILE_NAME} in {} or above it", cwd.display());
                        ConfigError::flag(flag, what)
                    };
                    return match (&overrides.preset, overrides.kernels.first()) {
                        (Some(preset), _) => Err(missing(preset.from)),
                        (None, Some(_)) => Err(missing("--kernel")),
                        (None, None) => Ok(Config::without_file(cwd, env)),
                    };
                }
            },
        };
        // Opening a pipe would wait for its other end.
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => load::load(&file, cwd, env, overrides),
            Ok(metadata) => Err(ConfigError::not_a_file(&file, metadata.is_dir())),
            Err(error) => Err(ConfigError::read(&file, error)),
        }
    }

    /// What holds where there is no file: the working directory is the only root and there are no profiles.
    pub fn without_file(cwd: &Path, env: &Environment) -> Config {
        Config {
            file: None,
            shown: String::new(),
            project: cwd.to_owned(),
            roots: vec![cwd.to_owned()],
            roots_line: None,
            cache_dir: env.cache_dir(),
            cache_max_size: load::CACHE_MAX_SIZE,
            disk_max: load::DISK_MAX,
            known_failures: None,
            splats: SplatRules::default(),
            flags: Vec::new(),
            profiles: BTreeMap::new(),
        }
    }

    /// Checks that the files and folders it names exist.
    ///
    /// # Errors
    /// The first that does not, with the line that names it.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        self.check_roots()?;
        for profile in self.profiles.values() {
            profile.check_files(&self.shown)?;
        }
        Ok(())
    }

    /// Checks that the files exist that this profile names.
    ///
    /// # Errors
    /// The first that does not, with the line that names it.
    pub fn check_profile(&self, profile: &Profile) -> Result<(), ConfigError> {
        profile.check_files(&self.shown)
    }

    /// The folders of this machine that guests of its profiles may write to.
    pub fn folders_that_guests_write(&self) -> impl Iterator<Item = PathBuf> {
        let shares = self.profiles.values().flat_map(|profile| &profile.guest.shares);
        let written = shares.filter(|share| share.mode == ShareMode::Rw);
        written.map(|share| share.host.clone())
    }

    /// Checks that the folders exist that are searched for tests.
    ///
    /// # Errors
    /// The first that does not, with the line that names it and the nearest that does.
    pub fn check_roots(&self) -> Result<(), ConfigError> {
        let written = self.roots.iter().filter(|_| self.roots_line.is_some());
        let Some(root) = written.into_iter().find(|root| !root.is_dir()) else {
            return Ok(());
        };
        let problem = match root.exists() {
            true => "is no folder".to_owned(),
            false => format!("does not exist{}", near_folder(root)),
        };
        let message = format!("`roots` in [provium]: {} {problem}", self.shown_path(root));
        Err(ConfigError::at(&self.shown, self.roots_line, message))
    }

    /// A path as it is written in the file: relative to its folder where possible.
    fn shown_path(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.project).unwrap_or(path);
        relative.display().to_string()
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// A message that lists what there is, or names the nearest.
    pub fn profile(&self, name: &str) -> Result<&Profile, String> {
        if let Some(profile) = self.profiles.get(name) {
            return Ok(profile);
        }
        let Some(file) = &self.file else {
            return Err(format!(
                "there is no profile `{name}`: no {FILE_NAME} in {} or above it",
                self.project.display()
            ));
        };
        let names = self.profiles.keys().map(String::as_str);
        Err(match nearest(name, names.clone()) {
            Some(near) => format!(
                "there is no profile `{name}` in {}; did you mean `{near}`?",
                file.display()
            ),
            None if self.profiles.is_empty() => {
                format!("there is no profile `{name}`: {} has none", file.display())
            }
            None => {
                let names: Vec<_> = names.collect();
                format!(
                    "there is no profile `{name}` in {}; it has {}",
                    file.display(),
                    names.join(", ")
                )
            }
        })
    }
}

/// The [`FILE_NAME`] in `folder` or the nearest folder above it.
fn nearest_file(folder: &Path) -> Option<PathBuf> {
    let mut candidates = folder.ancestors().map(|dir| dir.join(FILE_NAME));
    // Whatever has the name is meant: a dangling link or a folder is a mistake, not an absence.
    candidates.find(|path| path.symlink_metadata().is_ok())
}

/// The folder beside a missing one whose name is nearest, as a question.
fn near_folder(missing: &Path) -> String {
    let name = missing.file_name().unwrap_or_default().to_string_lossy();
    let entries = missing.parent().and_then(|parent| parent.read_dir().ok());
    let folders = entries.into_iter().flatten().filter_map(Result::ok);
    let folders = folders.filter(|entry| entry.path().is_dir());
    let names: Vec<String> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    nearest(&name, names.iter().map(String::as_str))
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default()
}

/// The innermost folder that all of `paths` are in, or are.
fn common_folder(cwd: &Path, paths: &[PathBuf]) -> Option<PathBuf> {
    let mut folders = paths.iter().map(|path| cwd.join(path));
    let mut common = folders.next()?;
    for folder in folders {
        while !folder.starts_with(&common) {
            common.pop();
        }
    }
    Some(common)
}

/// Checks a guest's memory against what the monitor can give.
///
/// # Errors
/// A message that names the value and the limits.
pub fn check_memory(bytes: u64) -> Result<u64, String> {
    use provium_base::units::DisplaySize as Size;
    if limits::check_memory(bytes).is_ok() {
        return Ok(bytes);
    }
    Err(match (limits::MIN_MEMORY..=limits::MAX_MEMORY).contains(&bytes) {
        true => format!(
            "memory must be in whole pages of {} bytes, got {}",
            limits::MEMORY_GRANULARITY,
            Size(bytes)
        ),
        false => format!(
            "memory must be {} to {}, got {}{}",
            Size(limits::MIN_MEMORY),
            Size(limits::MAX_MEMORY),
            Size(bytes),
            // A bare number is most likely one of MiB.
            match limits::check_memory(bytes.saturating_mul(1 << 20)) {
                Ok(_) if bytes < limits::MIN_MEMORY => format!(" bytes; write \"{bytes}M\""),
                _ => String::new(),
            }
        ),
    })
}

/// Checks a guest's number of vCPUs.
///
/// # Errors
/// A message that names the value and the limits.
pub fn check_cpus(cpus: i64) -> Result<u8, String> {
    match u8::try_from(cpus) {
        Ok(count) if limits::check_cpus(count).is_ok() => Ok(count),
        _ => Err(format!("cpus must be 1 to {}, got {cpus}", limits::MAX_CPUS)),
    }
}

#[cfg(test)]
mod tests;
