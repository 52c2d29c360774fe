//! What a splat of a guest's kernel means: `[provium] splats` and `ignore_splats`.
//!
//! Input: the section. Output: a [`SplatRules`]. Not here: what a splat is; the monitor knows.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;
use super::table::Section;

/// What a splat does to the test in which it happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SplatPolicy {
    /// It fails it.
    #[default]
    Fail,
    /// It stands in its log.
    Warn,
    /// Nothing.
    Ignore,
}

impl FromStr for SplatPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<SplatPolicy, String> {
        match text {
            "fail" => Ok(SplatPolicy::Fail),
            "warn" => Ok(SplatPolicy::Warn),
            "ignore" => Ok(SplatPolicy::Ignore),
            other => Err(format!(
                "expected \"fail\", \"warn\" or \"ignore\", got \"{other}\""
            )),
        }
    }
}

impl fmt::Display for SplatPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SplatPolicy::Fail => "fail",
            SplatPolicy::Warn => "warn",
            SplatPolicy::Ignore => "ignore",
        })
    }
}

/// What splats mean in a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplatRules {
    /// What each does, where its file says nothing else.
    pub policy: SplatPolicy,
    /// Texts; a splat that has one of them in it does nothing.
    pub ignored: Vec<String>,
}

/// The same as it is written: both may be absent.
#[derive(Debug, Default)]
pub(super) struct RawSplats {
    policy: Option<SplatPolicy>,
    ignored: Option<Vec<String>>,
}

impl RawSplats {
    /// Takes what is absent here from `base`.
    pub(super) fn or(self, base: RawSplats) -> RawSplats {
        RawSplats {
            policy: self.policy.or(base.policy),
            ignored: self.ignored.or(base.ignored),
        }
    }

    /// The rules, with defaults for what is absent.
    pub(super) fn rules(self) -> SplatRules {
        SplatRules {
            policy: self.policy.unwrap_or_default(),
            ignored: self.ignored.unwrap_or_default(),
        }
    }

    /// Reads the keys of `[provium]`.
    pub(super) fn read(provium: &Section<'_, '_>) -> Result<RawSplats, ConfigError> {
        let policy = provium.string("splats")?.map(|text| {
            let policy = text.value.parse();
            policy.map_err(|what: String| provium.mistake_at(text.line, "splats", &what))
        });
        let ignored = provium.strings("ignore_splats")?;
        if let Some(ignored) = &ignored
            && ignored.value.iter().any(|text| text.trim().is_empty())
        {
            let what = "an empty text, which every splat has in it";
            return Err(provium.mistake_at(ignored.line, "ignore_splats", what));
        }
        Ok(RawSplats {
            policy: policy.transpose()?,
            ignored: ignored.map(|ignored| ignored.value),
        })
    }
}
