//! Debian packages as a source of files: found, downloaded and unpacked.
//!
//! Input: a package's name. Output: its candidate version, or its content below a folder. Not here:
//! installing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::output;

/// One package at the version apt would install now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name, such as `linux-source-6.12`.
    pub name: String,
    /// Its version, such as `6.12.117-1~deb12u1`.
    pub version: String,
    /// Its `Depends` field, unparsed.
    depends: String,
}

impl Package {
    /// Looks a package up in apt's lists, which [`crate::apt::refresh`] keeps current.
    ///
    /// # Errors
    /// When apt does not know the package.
    pub fn find(name: &str) -> Result<Package> {
        let shown = output(Command::new("apt-cache").args(["show", "--no-all-versions", name]));
        let shown = shown.with_context(|| {
            format!("apt offers no package {name}: are Debian's archives among its sources, and its lists current?")
        })?;
        Package::parse(&shown).with_context(|| format!("apt-cache show {name}: no package in its answer"))
    }

    fn parse(shown: &str) -> Option<Package> {
        let field = |key: &str| {
            shown
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        let depends = field("Depends").unwrap_or_default();
        Some(Package {
            name: field("Package")?,
            version: field("Version")?,
            depends,
        })
    }

    /// The first package this one depends on whose name starts with `prefix`: the real kernel behind a
    /// package that only names the current one.
    ///
    /// # Errors
    /// When there is none, or apt does not know it.
    pub fn dependency(&self, prefix: &str) -> Result<Package> {
        let names = self
            .depends
            .split([',', '|'])
            .filter_map(|item| item.split_whitespace().next());
        match names.into_iter().find(|name| name.starts_with(prefix)) {
            Some(name) => Package::find(name),
            None => bail!(
                "{} depends on no package named {prefix}…, but on: {}",
                self.name,
                self.depends
            ),
        }
    }

    /// Downloads the package and unpacks its content into `folder`, which is created.
    ///
    /// # Errors
    /// When the download or the unpacking fails.
    pub fn unpack(&self, folder: &Path, say: &dyn Fn(&str)) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let exact = format!("{}={}", self.name, self.version);
        say(&format!("downloading {exact}"));
        let parent = folder.parent().context("a folder has a parent")?;
        let download =
            tempfile::tempdir_in(parent).with_context(|| format!("write to {}", parent.display()))?;
        // As root apt warns that it cannot drop its rights in a folder of ours: asked for here.
        let options = ["-qq", "-o", "APT::Sandbox::User=root", "download", &exact];
        output(Command::new("apt-get").args(options).current_dir(download.path()))
            .with_context(|| format!("{exact} cannot be downloaded; old package lists name files that are gone, which `apt-get update` mends"))?;
        output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(the_only_deb(download.path())?)
                .arg(folder),
        )
        .map(drop)
    }
}

fn the_only_deb(folder: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .flatten();
    let deb = files.find(|file| file.path().extension().is_some_and(|end| end == "deb"));
    let deb = deb.with_context(|| format!("apt-get download left no package in {}", folder.display()))?;
    Ok(deb.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Package: linux-image-cloud-amd64\nSource: linux-signed-amd64 (6.1.192+2)\n\
        Version: 6.1.192-2\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nPre-Depends: x\n\
        Description: Linux for x86-64\n";

    #[test]
    fn name_version_and_dependencies_are_read() {
        let package = Package::parse(SHOWN).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str()),
            ("linux-image-cloud-amd64", "6.1.192-2")
        );
        assert_eq!(package.depends, "linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)");
    }

    #[test]
    fn a_missing_dependency_is_named_with_what_is_there() {
        let message = Package::parse(SHOWN)
            .unwrap()
            .dependency("linux-headers-")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("linux-headers-…") && message.contains("6.1.0-56-cloud"),
            "{message}"
        );
    }

    #[test]
    fn an_answer_without_a_package_is_none() {
        assert_eq!(Package::parse("N: Unable to locate package x\n"), None);
    }
}
