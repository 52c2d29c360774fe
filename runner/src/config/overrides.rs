//! What the command line puts in place of what the file says.
//!
//! Input: flags and their environment. Output: [`Overrides`]. Not here: flags that are about a run alone.

use std::path::PathBuf;
use std::str::FromStr;

/// What is in place of the file's own words.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The preset that holds.
    pub preset: Option<PresetChoice>,
    /// Kernels of profiles.
    pub kernels: Vec<KernelChoice>,
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
