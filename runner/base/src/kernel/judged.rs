//! What a kernel has of what is needed.
//!
//! Input: its configuration. Output: the state of each option, feature by feature. Not here: how that is
//! shown, and what is made of it.

use std::fmt;

use serde::Serialize;

use super::config::{Config, Value};
use super::needs::{CMDLINE_DEVICES, FEATURES, Feature, Need, fragment};

/// The state of one need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeedState {
    /// It is in the kernel.
    BuiltIn,
    /// It is a module that is loaded.
    Module,
    /// It is a module of which there is no file.
    NoFile,
    /// It is a module, and cannot be loaded in time.
    Late,
    /// It is off.
    Missing,
    /// There is no telling.
    Unknown,
}

impl NeedState {
    /// Whether a guest has to do without it.
    pub fn lacks(self) -> bool {
        matches!(self, NeedState::NoFile | NeedState::Late | NeedState::Missing)
    }
}

/// What a kernel has of a feature.
#[derive(Debug, Clone)]
pub struct FeatureState {
    /// The feature.
    pub feature: &'static Feature,
    /// Each need and its state.
    pub needs: Vec<(&'static Need, NeedState)>,
}

impl FeatureState {
    /// What it lacks.
    pub fn lacking(&self) -> impl Iterator<Item = &(&'static Need, NeedState)> {
        self.needs.iter().filter(|(_, state)| state.lacks())
    }

    /// The options that it lacks, in words.
    pub fn lacking_options(&self) -> String {
        let shown = self
            .lacking()
            .map(|(need, state)| Shown(need, *state).to_string());
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// What a kernel has of all features.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Feature by feature.
    pub features: Vec<FeatureState>,
    /// Whether its devices are found with `acpi=off` on the command line alone.
    pub wants_acpi_off: bool,
}

/// Looks each need up.
pub fn judge(config: &Config) -> Judgement {
    let features = FEATURES.iter().map(|feature| FeatureState {
        feature,
        needs: feature
            .needs
            .iter()
            .map(|need| (need, state(config, need)))
            .collect(),
    });
    let on = |option| config.value(option, None) == Value::BuiltIn;
    Judgement {
        features: features.collect(),
        wants_acpi_off: on(CMDLINE_DEVICES) && !(on("ACPI") && on("PCI")),
    }
}

/// The best state that an option of a need gives it.
fn state(config: &Config, need: &Need) -> NeedState {
    let of = |option: &&str| match (config.value(option, need.module), need.module) {
        (Value::BuiltIn, _) => NeedState::BuiltIn,
        (Value::Module, Some(module)) if config.has_file(module) => NeedState::Module,
        (Value::Module, Some(_)) => NeedState::NoFile,
        (Value::Module, None) => NeedState::Late,
        (Value::Off, _) => NeedState::Missing,
        (Value::Unknown, _) => NeedState::Unknown,
    };
    let states: Vec<_> = need.options.iter().map(of).collect();
    let best = states.iter().find(|state| !state.lacks()).or(states.first());
    best.copied().unwrap_or(NeedState::Unknown)
}

impl Judgement {
    /// Whether there is no guest on this kernel.
    pub fn is_fatal(&self) -> bool {
        self.of_guest(&[]).next().is_some()
    }

    /// What is lacking of what any guest needs, and of the features with these names.
    pub fn of_guest<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a FeatureState> {
        let needed = self
            .features
            .iter()
            .filter(move |state| state.feature.essential || names.contains(&state.feature.name));
        needed.filter(|state| state.lacking().next().is_some())
    }

    /// A fragment of a configuration with all that is lacking.
    pub fn fragment(&self) -> String {
        let state = |feature: &Feature| {
            self.features
                .iter()
                .find(|state| state.feature.name == feature.name)
        };
        fragment(|feature, need| {
            let found = state(feature)
                .and_then(|state| state.needs.iter().find(|(other, _)| std::ptr::eq(*other, need)));
            found.is_some_and(|(_, state)| state.lacks())
        })
    }
}

/// What a feature lacks, in words: `channel: CONFIG_NET, CONFIG_VSOCKETS (a module, without its file)`.
impl fmt::Display for FeatureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.feature.name, self.lacking_options())
    }
}

/// One need, with what is wrong with it.
struct Shown<'a>(&'a Need, NeedState);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(need, state) = self;
        for (index, option) in need.options.iter().enumerate() {
            write!(f, "{}CONFIG_{option}", if index > 0 { " or " } else { "" })?;
        }
        match state {
            NeedState::NoFile => f.write_str(" (a module, and there is no file of it)"),
            NeedState::Late => f.write_str(" (a module, and has to be built in)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(config: &str) -> Judgement {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, format!("# a configuration\n{config}")).unwrap();
        judge(&Config::of(file.path(), None).unwrap())
    }

    #[test]
    fn a_kernel_with_all_that_the_fragment_asks_for_lacks_nothing() {
        let fragment = judged("CONFIG_X=y\n").fragment();
        let judged = judged(&fragment);
        assert!(!judged.is_fatal());
        assert!(
            judged
                .features
                .iter()
                .all(|state| state.lacking().next().is_none())
        );
        assert_eq!(judged.fragment(), "");
    }

    #[test]
    fn what_is_lacking_is_said_by_feature() {
        let whole = judged("CONFIG_X=y\n").fragment();
        assert!(!judged(&whole).wants_acpi_off);
        let lacking = |config: String| {
            let judged = judged(&config);
            let said = judged
                .of_guest(&["disks"])
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            (judged.is_fatal(), said)
        };
        assert_eq!(lacking(whole.clone()), (false, vec![]));
        let without = |option: &str| whole.replace(&format!("CONFIG_{option}=y\n"), "");
        assert_eq!(
            lacking(without("NET")),
            (true, vec!["channel: CONFIG_NET".to_owned()])
        );
        assert_eq!(
            lacking(without("ACPI")),
            (
                true,
                vec!["channel: CONFIG_ACPI or CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES".to_owned()]
            )
        );
        let other = without("ACPI") + "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n";
        assert!(judged(&other).wants_acpi_off);
        assert_eq!(lacking(other), (false, vec![]));
        assert_eq!(
            lacking(without("VIRTIO_BLK")),
            (false, vec!["disks: CONFIG_VIRTIO_BLK".to_owned()])
        );
        let module = whole.replace("CONFIG_VIRTIO_MMIO=y", "CONFIG_VIRTIO_MMIO=m");
        let said = "channel: CONFIG_VIRTIO_MMIO (a module, and there is no file of it)";
        assert_eq!(lacking(module), (true, vec![said.to_owned()]));
    }
}
