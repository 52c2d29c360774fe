//! `[provium]` and the presets that stand in for parts of it.
//!
//! Input: a section. Output: [`General`], in which every key may be absent. Not here: defaults, and what a
//! flag's value means.

use std::path::PathBuf;

use toml::de::DeValue;

use super::ConfigError;
use super::splats::RawSplats;
use super::table::{Located, Section};

/// The keys that are no flags.
const KEYS: [&str; 7] = [
    "cache_dir",
    "cache_max_size",
    "disk_max",
    "ignore_splats",
    "known_failures",
    "roots",
    "splats",
];

/// What `[provium]` or a preset says.
#[derive(Debug, Default)]
pub(super) struct General {
    pub(super) roots: Option<Located<Vec<PathBuf>>>,
    pub(super) cache_dir: Option<Located<PathBuf>>,
    pub(super) cache_max_size: Option<Located<u64>>,
    pub(super) disk_max: Option<Located<u64>>,
    pub(super) known_failures: Option<Located<PathBuf>>,
    pub(super) splats: RawSplats,
    pub(super) flags: Vec<FlagDefault>,
}

/// The value of a flag where the command line gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagDefault {
    /// The key: the flag's long name, with `_` for `-`.
    pub key: String,
    /// Section and line: for messages.
    pub section: String,
    /// From 1.
    pub line: usize,
    /// The value.
    pub value: FlagValue,
}

/// A flag's value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagValue {
    /// True or false.
    Switch(bool),
    /// A string, or a number in the same letters.
    Text(String),
    /// An array of those.
    List(Vec<String>),
}

impl General {
    /// Reads a section; `flags` are the keys that are flags.
    pub(super) fn read(section: &Section<'_, '_>, flags: &[String]) -> Result<General, ConfigError> {
        let known: Vec<&str> = KEYS.into_iter().chain(flags.iter().map(String::as_str)).collect();
        section.allow(&known)?;
        let roots = section.paths("roots")?;
        if let Some(roots) = roots.as_ref().filter(|roots| roots.value.is_empty()) {
            return Err(section.mistake_at(roots.line, "roots", "must name at least one folder"));
        }
        let there = flags.iter().filter_map(|key| flag(section, key).transpose());
        Ok(General {
            roots,
            cache_dir: section.path("cache_dir")?,
            cache_max_size: section.size("cache_max_size")?,
            disk_max: section.size("disk_max")?,
            known_failures: section.path("known_failures")?,
            splats: RawSplats::read(section)?,
            flags: there.collect::<Result<_, _>>()?,
        })
    }

    /// Takes what is absent here from `base`.
    pub(super) fn or(mut self, base: General) -> General {
        let own = |flag: &FlagDefault| self.flags.iter().any(|own| own.key == flag.key);
        let further: Vec<_> = base.flags.into_iter().filter(|flag| !own(flag)).collect();
        self.flags.extend(further);
        General {
            roots: self.roots.or(base.roots),
            cache_dir: self.cache_dir.or(base.cache_dir),
            cache_max_size: self.cache_max_size.or(base.cache_max_size),
            disk_max: self.disk_max.or(base.disk_max),
            known_failures: self.known_failures.or(base.known_failures),
            splats: self.splats.or(base.splats),
            flags: self.flags,
        }
    }
}

/// The value of a key that is a flag, if it is there.
fn flag(section: &Section<'_, '_>, key: &str) -> Result<Option<FlagDefault>, ConfigError> {
    let Some(value) = section.table.get(key) else {
        return Ok(None);
    };
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    };
    let read = match value.as_ref() {
        DeValue::Boolean(switch) => Some(FlagValue::Switch(*switch)),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| text(item.as_ref())).collect();
            items.map(FlagValue::List)
        }
        other => text(other).map(FlagValue::Text),
    };
    let what = "must be what the flag takes: a string, a number, true, false or an array";
    let value_read = read.ok_or_else(|| section.mistake(&value.span(), key, what))?;
    Ok(Some(FlagDefault {
        key: key.to_owned(),
        section: section.name.clone(),
        line: section.doc.line(&value.span()),
        value: value_read,
    }))
}
