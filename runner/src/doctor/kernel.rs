//! `provium doctor --kernel`: what a kernel has of what guests need.
//!
//! Input: a bzImage, a vmlinux, a build tree or a `.config`; a folder of modules. Output: facts, a screen of
//! them, and a fragment of a configuration with what is lacking. Not here: the tables behind it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result, bail};
use provium_base::kernel::{Config, FeatureState, Found, Judgement, NeedState, image_in, judge};
use provium_guest::modules_of;
use serde::Serialize;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const MIDDLING: Style = AnsiColor::Yellow.on_default();
const TITLE: Style = Style::new().bold();
/// What a build tree has its configuration in.
const CONFIG: &str = ".config";

/// A kernel that was looked at.
#[derive(Debug)]
pub struct Looked {
    path: PathBuf,
    modules: Option<PathBuf>,
    found: Found,
    judgement: Judgement,
}

/// Looks at a kernel, or at a configuration of one, with its modules: those in the folder that is given, or
/// else those that lie where they are looked for.
///
/// # Errors
/// When it is no kernel, or nothing says how it was configured.
pub fn look(path: &Path, modules: Option<&Path>) -> Result<Looked> {
    let path = match path.is_dir() {
        false => path.to_owned(),
        true => match image_in(path) {
            Some(image) => image,
            None if path.join(CONFIG).is_file() => path.join(CONFIG),
            None => bail!(
                "{} is a folder with neither a kernel nor a .config in it",
                path.display()
            ),
        },
    };
    if let Some(folder) = modules.filter(|folder| !folder.is_dir()) {
        bail!("--modules: {} is not a folder", folder.display());
    }
    let whole = std::path::absolute(&path).with_context(|| path.display().to_string())?;
    let modules = modules.map(Path::to_owned).or_else(|| modules_of(&whole));
    let config = Config::of(&path, modules.as_deref())?;
    Ok(Looked {
        path,
        judgement: judge(&config),
        found: config.found,
        modules,
    })
}

#[derive(Serialize)]
struct Facts<'a> {
    kernel: &'a Path,
    configuration: &'a Path,
    modules: Option<&'a Path>,
    /// Whether guests run on it.
    usable: bool,
    wants_acpi_off: bool,
    features: Vec<FeatureFacts>,
}

#[derive(Serialize)]
struct FeatureFacts {
    name: &'static str,
    essential: bool,
    complete: bool,
    options: Vec<OptionFacts>,
}

#[derive(Serialize)]
struct OptionFacts {
    /// Any of these.
    any_of: Vec<String>,
    state: NeedState,
}

impl Looked {
    /// Whether there can be a guest on it.
    pub fn is_usable(&self) -> bool {
        !self.judgement.is_fatal()
    }

    /// What is lacking, for `merge_config.sh`.
    pub fn fragment(&self) -> String {
        self.judgement.fragment()
    }

    /// All of it as data.
    ///
    /// # Errors
    /// None in practice.
    pub fn json(&self) -> Result<String> {
        let features = self.judgement.features.iter().map(|state| FeatureFacts {
            name: state.feature.name,
            essential: state.feature.essential,
            complete: state.lacking().next().is_none(),
            options: state
                .needs
                .iter()
                .map(|(need, state)| OptionFacts {
                    any_of: need
                        .options
                        .iter()
                        .map(|option| format!("CONFIG_{option}"))
                        .collect(),
                    state: *state,
                })
                .collect(),
        });
        let facts = Facts {
            kernel: &self.path,
            configuration: place(&self.found),
            modules: self.modules.as_deref(),
            usable: self.is_usable(),
            wants_acpi_off: self.judgement.wants_acpi_off,
            features: features.collect(),
        };
        Ok(serde_json::to_string_pretty(&facts)? + "\n")
    }

    /// All of it for people, with colours.
    pub fn screen(&self) -> String {
        let mut text = String::new();
        let source = match &self.found {
            Found::Image(path) => format!("in {}", path.display()),
            Found::File(path) => path.display().to_string(),
            Found::BuiltIn(path) => format!("{}, which tells of modules alone", path.display()),
        };
        let modules = self.modules.as_ref().map(|folder| folder.display().to_string());
        line(&mut text, "configuration", Style::new(), "", &source);
        line(
            &mut text,
            "modules",
            Style::new(),
            "",
            modules.as_deref().unwrap_or("none"),
        );
        for state in &self.judgement.features {
            feature(&mut text, state);
        }
        if self.judgement.wants_acpi_off {
            let what = "devices are found with `acpi=off` on the command line alone";
            line(&mut text, "command line", MIDDLING, "!", what);
        }
        match self.is_usable() {
            true => line(&mut text, "guests", GOOD, "ok", "run on this kernel"),
            false => line(&mut text, "guests", BAD, "no", "do not run on this kernel"),
        }
        text
    }
}

/// The file that says it.
fn place(found: &Found) -> &Path {
    match found {
        Found::Image(path) | Found::File(path) | Found::BuiltIn(path) => path,
    }
}

fn feature(text: &mut String, state: &FeatureState) {
    let name = state.feature.name;
    let count = |wanted| state.needs.iter().filter(|(_, state)| *state == wanted).count();
    if state.lacking().next().is_none() {
        let what = match (count(NeedState::Module), count(NeedState::Unknown)) {
            (0, 0) => "built in",
            (_, 0) => "as modules",
            _ => "as far as it can be told",
        };
        line(text, name, GOOD, "ok", what);
        return;
    }
    let (style, mark) = match state.feature.essential {
        true => (BAD, "no"),
        false => (MIDDLING, "!"),
    };
    line(text, name, style, mark, &state.lacking_options());
    line(
        text,
        "",
        Style::new(),
        "",
        &format!("without: {}", state.feature.without),
    );
}

fn line(text: &mut String, title: &str, style: Style, mark: &str, what: &str) {
    let (title_style, title_end) = (TITLE.render(), TITLE.render_reset());
    let (start, end) = (style.render(), style.render_reset());
    let row = format!("{title_style}{title:<15}{title_end}{start}{mark:<4}{end}{what}");
    let _ = writeln!(text, "{}", row.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(looked: &Looked) -> String {
        anstream::adapter::strip_str(&looked.screen()).to_string()
    }

    #[test]
    fn a_configuration_is_judged_feature_by_feature() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join(CONFIG);
        std::fs::write(&config, "CONFIG_X=y\n").unwrap();
        let whole = look(&config, None).unwrap().fragment();
        std::fs::write(&config, &whole).unwrap();
        let looked = look(folder.path(), None).unwrap();
        assert!(looked.is_usable());
        assert!(!plain(&looked).contains("CONFIG_"), "{}", plain(&looked));
        assert!(plain(&looked).ends_with("guests         ok  run on this kernel\n"));

        let less = whole
            .replace("CONFIG_VIRTIO_FS=y\n", "")
            .replace("CONFIG_NET=y\n", "");
        std::fs::write(&config, &less).unwrap();
        let looked = look(&config, None).unwrap();
        let screen = plain(&looked);
        assert!(!looked.is_usable());
        assert!(
            screen.contains("shares         !   CONFIG_VIRTIO_FS\n"),
            "{screen}"
        );
        assert!(screen.contains("channel        no  CONFIG_NET\n"), "{screen}");
        assert!(screen.contains("disks          ok  built in\n"), "{screen}");
        let facts: serde_json::Value = serde_json::from_str(&looked.json().unwrap()).unwrap();
        assert_eq!(facts["usable"], false);
        assert_eq!(facts["features"][2]["name"], "channel");
        let options = facts["features"][2]["options"].as_array().unwrap();
        let net = options.iter().find(|option| option["any_of"][0] == "CONFIG_NET");
        assert_eq!(net.unwrap()["state"], "missing");
        let fragment = looked.fragment();
        let lines: Vec<_> = fragment.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["CONFIG_NET=y", "CONFIG_VIRTIO_FS=y"]);
    }

    #[test]
    fn what_is_no_kernel_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = look(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("neither a kernel nor a .config"), "{error}");
        let error = look(Path::new("/dev/null"), Some(Path::new("/dev/null")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("--modules"), "{error}");
    }
}
