//! A section of the file, read key by key, each mistake with its line.
//!
//! Input: a parsed TOML table that still knows where each key and value stands. Output: typed values with
//! their lines. Not here: what the keys mean.

use std::ops::Range;
use std::path::{Path, PathBuf};

use provium_base::nearest::nearest;
use provium_debian::guest::{self, DebianGuest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use provium_base::units;

/// A value and the line it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// The whole file: what turns a place in it into a line.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) shown: &'a str,
    pub(super) text: &'a str,
    /// What relative paths start from.
    pub(super) dir: &'a Path,
    pub(super) home: Option<&'a Path>,
    /// The folder for caches, in which ready guests are.
    pub(super) caches: &'a Path,
}

impl Document<'_> {
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn error(&self, span: &Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.shown, Some(self.line(span)), message)
    }
}

/// One table of the file, with the name errors call it by.
pub(super) struct Section<'a, 'i> {
    pub(super) doc: Document<'a>,
    /// `[provium]`, `[profiles.NAME]` or `the file`.
    pub(super) name: String,
    /// Where its header stands.
    pub(super) span: Range<usize>,
    pub(super) table: &'a DeTable<'i>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// Refuses keys that are not among `keys`.
    pub(super) fn allow(&self, keys: &[&str]) -> Result<(), ConfigError> {
        let mut unknown: Vec<_> = self
            .table
            .keys()
            .filter(|key| !keys.contains(&key.as_ref().as_ref()))
            .collect();
        unknown.sort_by_key(|key| key.span().start);
        let Some(key) = unknown.first() else { return Ok(()) };
        let hint = match nearest(key.as_ref(), keys.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("valid keys are {}", keys.join(", ")),
        };
        Err(self.doc.error(
            &key.span(),
            format!("unknown key `{}` in {}; {hint}", key.as_ref(), self.name),
        ))
    }

    /// A table below this one.
    pub(super) fn section(&self, key: &str, name: String) -> Result<Option<Section<'a, 'i>>, ConfigError> {
        let Some((header, value)) = self.table.get_key_value(key) else {
            return Ok(None);
        };
        match value.as_ref() {
            DeValue::Table(table) => Ok(Some(Section {
                doc: self.doc,
                name,
                span: header.span(),
                table,
            })),
            _ => Err(self.wrong_type(key, value, "a table")),
        }
    }

    /// An array of tables below this one.
    pub(super) fn sections(&self, key: &str) -> Result<Option<Vec<Section<'a, 'i>>>, ConfigError> {
        const WANTED: &str = "an array of tables";
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let Some(items) = value.as_ref().as_array() else {
            return Err(self.wrong_type(key, value, WANTED));
        };
        let name = self.name.trim_matches(['[', ']']);
        let sections = items.iter().map(|item| match item.as_ref() {
            DeValue::Table(table) => Ok(Section {
                doc: self.doc,
                name: format!("[[{name}.{key}]]"),
                span: item.span(),
                table,
            }),
            _ => Err(self.wrong_type(key, item, WANTED)),
        });
        sections.collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<Located<String>>, ConfigError> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<Located<bool>>, ConfigError> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<Located<i64>>, ConfigError> {
        self.read(key, "a whole number", integer)
    }

    /// A path, absolute: `~/` is the home folder, what is relative starts at the file's folder.
    pub(super) fn path(&self, key: &str) -> Result<Option<Located<PathBuf>>, ConfigError> {
        let Some(text) = self.string(key)? else {
            return Ok(None);
        };
        let value = self.absolute(key, &text)?;
        Ok(Some(Located {
            value,
            line: text.line,
        }))
    }

    /// A path as [`Section::path`], or the part `of` a ready guest that is named in its place.
    pub(super) fn path_or_guest(
        &self,
        key: &str,
        of: fn(DebianGuest) -> PathBuf,
    ) -> Result<Option<Located<PathBuf>>, ConfigError> {
        let Some(text) = self.string(key)? else {
            return Ok(None);
        };
        let value = match text.value.as_str() {
            guest::NAME => of(DebianGuest::at(self.doc.caches)),
            other if other.starts_with("guest:") => {
                let what = format!("there is no guest `{other}`; there is `{}`", guest::NAME);
                return Err(self.mistake_at(text.line, key, &what));
            }
            _ => self.absolute(key, &text)?,
        };
        Ok(Some(Located {
            value,
            line: text.line,
        }))
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Located<Vec<String>>>, ConfigError> {
        self.read(key, "an array of strings", strings)
    }

    pub(super) fn paths(&self, key: &str) -> Result<Option<Located<Vec<PathBuf>>>, ConfigError> {
        self.all_paths(key, "an array of strings", strings)
    }

    /// One path or several.
    pub(super) fn path_or_paths(&self, key: &str) -> Result<Option<Located<Vec<PathBuf>>>, ConfigError> {
        self.all_paths(key, "a string or an array of strings", |value| {
            match value.as_str() {
                Some(text) => Some(vec![text.to_owned()]),
                None => strings(value),
            }
        })
    }

    fn all_paths(
        &self,
        key: &str,
        wanted: &str,
        take: impl Fn(&DeValue<'_>) -> Option<Vec<String>>,
    ) -> Result<Option<Located<Vec<PathBuf>>>, ConfigError> {
        let Some(Located { value, line }) = self.read(key, wanted, take)? else {
            return Ok(None);
        };
        let paths: Result<_, _> = value
            .into_iter()
            .map(|value| self.absolute(key, &Located { value, line }))
            .collect();
        Ok(Some(Located { value: paths?, line }))
    }

    /// A size: bytes, or a string with a unit.
    pub(super) fn size(&self, key: &str) -> Result<Option<Located<u64>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let size = match value.as_ref() {
            DeValue::String(text) => {
                units::parse_size(text).map_err(|e| self.mistake(&value.span(), key, &e.to_string()))?
            }
            other => match integer(other).map(u64::try_from) {
                Some(Ok(bytes)) => bytes,
                Some(Err(_)) => return Err(self.mistake(&value.span(), key, "must not be negative")),
                None => return Err(self.wrong_type(key, value, "a size, such as \"256M\"")),
            },
        };
        Ok(Some(Located {
            value: size,
            line: self.doc.line(&value.span()),
        }))
    }

    /// An error about a key's value.
    pub(super) fn mistake(&self, span: &Range<usize>, key: &str, what: &str) -> ConfigError {
        self.doc.error(span, format!("`{key}` in {}: {what}", self.name))
    }

    /// An error about a value that has already been read.
    pub(super) fn mistake_at(&self, line: usize, key: &str, what: &str) -> ConfigError {
        ConfigError::at(
            self.doc.shown,
            Some(line),
            format!("`{key}` in {}: {what}", self.name),
        )
    }

    fn read<T>(
        &self,
        key: &str,
        wanted: &str,
        take: impl Fn(&DeValue<'i>) -> Option<T>,
    ) -> Result<Option<Located<T>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        match take(value.as_ref()) {
            Some(taken) => Ok(Some(Located {
                value: taken,
                line: self.doc.line(&value.span()),
            })),
            None => Err(self.wrong_type(key, value, wanted)),
        }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'i>>, wanted: &str) -> ConfigError {
        let got = match value.as_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(array) if array.iter().all(|item| item.as_ref().is_str()) => "an array",
            DeValue::Array(_) => "an array with other values in it",
            DeValue::Table(_) => "a table",
        };
        self.doc.error(
            &value.span(),
            format!("`{key}` in {} must be {wanted}, got {got}", self.name),
        )
    }

    fn absolute(&self, key: &str, text: &Located<String>) -> Result<PathBuf, ConfigError> {
        if text.value.is_empty() {
            return Err(self.mistake_at(text.line, key, "an empty path"));
        }
        let from_home = if text.value == "~" {
            Some("")
        } else {
            text.value.strip_prefix("~/")
        };
        let path = match (from_home, self.doc.home) {
            (None, _) => self.doc.dir.join(&text.value),
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_), None) => {
                return Err(self.mistake_at(text.line, key, "`~` needs HOME, which is not set"));
            }
        };
        std::path::absolute(path).map_err(|error| self.mistake_at(text.line, key, &error.to_string()))
    }
}

/// The strings of an array of them.
fn strings(value: &DeValue<'_>) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items
        .map(|item| item.as_ref().as_str().map(str::to_owned))
        .collect()
}

/// An integer that fits, whatever its radix.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
