//! From a file's text to a [`Config`].
//!
//! Input: the text of `provium.toml`, the environment. Output: a [`Config`], or an error with the file and
//! the line. Not here: what a profile's keys mean (`profile`), and how a value is read (`table`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use provium_base::nearest::nearest;
use provium_vmm::host_file;
use toml::de::DeTable;

use super::expand::expand;
use super::general::General;
use super::overrides::{self, Overrides};
use super::profile::{self, RawProfile};
use super::table::{Document, Section};
use super::{Config, ConfigError};

/// Cache size where the file says nothing, in bytes.
pub(super) const CACHE_MAX_SIZE: u64 = 20 << 30;

/// What guests may write to disks where the file says nothing, in bytes.
pub(super) const DISK_MAX: u64 = 20 << 30;

/// What the configuration takes from the process's environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`; only an absolute one counts, as its specification says.
    pub xdg_cache_home: Option<PathBuf>,
    /// All variables whose values are text.
    pub variables: BTreeMap<String, String>,
}

impl Environment {
    /// This process's environment.
    pub fn of_process() -> Self {
        let path = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Environment {
            home: path("HOME"),
            xdg_cache_home: path("XDG_CACHE_HOME"),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }

    /// Where the cache is unless the configuration says otherwise.
    pub(super) fn cache_dir(&self) -> PathBuf {
        self.caches().join("provium/fixtures")
    }

    /// The folder for caches.
    fn caches(&self) -> PathBuf {
        let xdg = self.xdg_cache_home.clone().filter(|path| path.is_absolute());
        let base = xdg.or_else(|| Some(self.home.as_ref()?.join(".cache")));
        base.unwrap_or_else(std::env::temp_dir)
    }
}

/// Reads and resolves the file.
pub(super) fn load(
    file: &Path,
    cwd: &Path,
    env: &Environment,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let text = host_file::read_to_string(file).map_err(|error| ConfigError::read(file, error))?;
    let file = std::path::absolute(file).map_err(|error| ConfigError::read(file, error))?;
    let dir = file.parent().unwrap_or(Path::new("/"));
    let shown = file.strip_prefix(cwd).unwrap_or(&file).to_string_lossy();
    let caches = env.caches();
    let doc = Document {
        shown: &shown,
        text: &text,
        dir,
        home: env.home.as_deref(),
        caches: &caches,
    };
    let mut table = DeTable::parse(&text).map_err(|error| {
        let message = error.message().trim_end().replace('\n', "; ");
        let span = error.span().unwrap_or(0..0);
        doc.error(&span, twice(&doc, &span).unwrap_or(message))
    })?;
    expand(table.get_mut(), &doc, &env.variables)?;
    let top = Section {
        doc,
        name: "the file".into(),
        span: 0..0,
        table: table.as_ref(),
    };
    top.allow(&["presets", "profile", "profiles", "provium"])?;

    let general = match top.section("provium", "[provium]".into())? {
        Some(provium) => General::read(&provium, &overrides.flags)?,
        None => General::default(),
    };
    let general = match preset(&top, overrides)? {
        Some(preset) => preset.or(general),
        None => general,
    };
    let mut profiles = read_profiles(&top)?;
    for kernel in &overrides.kernels {
        overrides::put_kernel(&mut profiles, kernel, cwd, &caches, &shown)?;
    }
    let profiles = profile::resolve(&profiles, &shown, dir, overrides.sources.as_ref())?;
    let General {
        roots,
        cache_dir,
        cache_max_size,
        disk_max,
        known_failures,
        splats,
        flags,
    } = general;
    let roots_line = roots.as_ref().map(|roots| roots.line);
    Ok(Config {
        shown: shown.clone().into_owned(),
        project: dir.to_owned(),
        roots: roots.map_or_else(|| vec![dir.to_owned()], |roots| roots.value),
        roots_line,
        cache_dir: cache_dir.map_or_else(|| env.cache_dir(), |dir| dir.value),
        cache_max_size: cache_max_size.map_or(CACHE_MAX_SIZE, |size| size.value),
        disk_max: disk_max.map_or(DISK_MAX, |size| size.value),
        known_failures: known_failures.map(|path| path.value),
        splats: splats.rules(),
        flags,
        profiles,
        file: Some(file),
    })
}

/// What is said of a table's header that is there a second time; its span is within its line.
fn twice(doc: &Document<'_>, span: &Range<usize>) -> Option<String> {
    let line = doc.line(span);
    let header = doc.text.lines().nth(line.checked_sub(1)?)?.trim();
    let name = header.strip_prefix('[')?;
    let first = doc.text.lines().position(|line| line.trim() == header)? + 1;
    let table = !name.starts_with('[') && first < line;
    table.then(|| format!("{header} is there twice (first on line {first})"))
}

/// The preset that holds, if one does; each is read, so that a mistake in any is found.
fn preset(top: &Section<'_, '_>, overrides: &Overrides) -> Result<Option<General>, ConfigError> {
    let mut presets = BTreeMap::new();
    if let Some(all) = top.section("presets", "[presets]".into())? {
        for key in all.table.keys() {
            let name = key.as_ref().to_string();
            if let Some(section) = all.section(&name, format!("[presets.{name}]"))? {
                presets.insert(name, General::read(&section, &overrides.flags)?);
            }
        }
    }
    let Some(choice) = &overrides.preset else {
        return Ok(None);
    };
    if let Some(preset) = presets.remove(&choice.name) {
        return Ok(Some(preset));
    }
    let names = || presets.keys().map(String::as_str);
    let hint = match nearest(&choice.name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if presets.is_empty() => "it has no [presets.NAME] at all".to_owned(),
        None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
    };
    let what = format!(
        "there is no preset `{}` in {}; {hint}",
        choice.name, top.doc.shown
    );
    Err(ConfigError::flag(choice.from, what))
}

/// The profiles under either spelling of their table.
fn read_profiles(top: &Section<'_, '_>) -> Result<BTreeMap<String, RawProfile>, ConfigError> {
    let mut profiles = BTreeMap::new();
    for spelling in ["profiles", "profile"] {
        let Some(all) = top.section(spelling, format!("[{spelling}]"))? else {
            continue;
        };
        for (key, value) in all.table {
            let name: &str = key.as_ref();
            if profile::KEYS.contains(&name) && !value.as_ref().is_table() {
                let what = format!("a profile needs a name: [{spelling}.NAME] with `{name}` below it");
                return Err(all.doc.error(&all.span, what));
            }
            if name.is_empty() {
                return Err(all.doc.error(&key.span(), "a profile needs a name"));
            }
            let Some(section) = all.section(name, format!("[{spelling}.{name}]"))? else {
                continue;
            };
            if profiles
                .insert(name.to_owned(), RawProfile::read(name, &section)?)
                .is_some()
            {
                return Err(all
                    .doc
                    .error(&key.span(), format!("there are two profiles `{name}`")));
            }
        }
    }
    Ok(profiles)
}
