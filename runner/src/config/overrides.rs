//! What the command line puts in place of what the file says.
//!
//! Input: flags and their environment. Output: [`Overrides`], and a profile's kernel
//! changed. Not here: flags that are about a run alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use provium_base::nearest::nearest;
use provium_debian::guest::{self, DebianGuest};

use super::ConfigError;
use super::out::Sources;
use super::profile::RawProfile;
use super::table::Located;

/// What is in place of the file's own words.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The preset that holds.
    pub preset: Option<PresetChoice>,
    /// Kernels of profiles.
    pub kernels: Vec<KernelChoice>,
    /// What profiles' builds build, and where to.
    pub sources: Option<Sources>,
    /// Keys of `[provium]` that give a flag its value.
    pub flags: Vec<String>,
}

/// A preset, and who asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetChoice {
    /// Its name.
    pub name: String,
    /// `--preset` or `PROVIUM_PRESET`.
    pub from: &'static str,
}

/// The kernel of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelChoice {
    /// The profile.
    pub profile: String,
    /// The kernel, as it is written.
    pub file: PathBuf,
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<KernelChoice, String> {
        match text.split_once('=') {
            Some((profile, file)) if !profile.is_empty() && !file.is_empty() => Ok(KernelChoice {
                profile: profile.to_owned(),
                file: file.into(),
            }),
            _ => Err("expected PROFILE=FILE, such as minimal=build/bzImage".to_owned()),
        }
    }
}

/// Puts the command line's kernel, which is relative to `cwd` or a ready guest's in `caches`, in place of a
/// profile's own.
pub(super) fn put_kernel(
    profiles: &mut BTreeMap<String, RawProfile>,
    kernel: &KernelChoice,
    cwd: &Path,
    caches: &Path,
    shown: &str,
) -> Result<(), ConfigError> {
    let name = &kernel.profile;
    let Some(profile) = profiles.get_mut(name) else {
        let names = || profiles.keys().map(String::as_str);
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
        };
        let what = format!("there is no profile `{name}` in {shown}; {hint}");
        return Err(ConfigError::flag("--kernel", what));
    };
    let file = match kernel.file.as_os_str() == guest::NAME {
        true => DebianGuest::at(caches).kernel,
        false => cwd.join(&kernel.file),
    };
    if !file.is_file() {
        let problem = if file.exists() {
            "is not a file"
        } else {
            "does not exist"
        };
        let hint = guest::hint(&file).map(|hint| format!("; {hint}"));
        let what = format!("{} {problem}{}", kernel.file.display(), hint.unwrap_or_default());
        return Err(ConfigError::flag("--kernel", what));
    }
    profile.kernel = Some(Located {
        value: file,
        line: profile.header_line,
    });
    Ok(())
}
