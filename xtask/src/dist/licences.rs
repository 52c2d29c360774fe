//! The licences of the packages that the command is made of.
//!
//! Input: what cargo says of them, and their files. Output: names and content for the archive. Not here: the
//! project's own licence.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command::output;
use crate::workspace;

/// Programs whose packages are in the archive: the command, and the agent in it.
const PROGRAMS: [&str; 2] = ["provium", "provium-agent"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Where it is from; none for packages of the workspace.
    source: Option<String>,
    manifest_path: String,
}

/// A list of all packages with their licences' names, and the texts that come with them.
///
/// # Errors
/// When cargo cannot say, or a file cannot be read.
pub(super) fn of_packages() -> Result<Vec<(String, Vec<u8>)>> {
    let metadata = output(workspace::cargo().args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let mut linked = BTreeSet::new();
    for program in PROGRAMS {
        let tree = [
            "tree",
            "--locked",
            "--package",
            program,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ];
        let listed = output(workspace::cargo().args(tree).args(["--format", "{p}"]))?;
        linked.extend(listed.lines().filter_map(name_and_version));
    }
    let of_others = metadata
        .packages
        .into_iter()
        .filter(|package| package.source.is_some());
    let packages: Vec<_> = of_others
        .filter(|package| linked.contains(&(package.name.clone(), package.version.clone())))
        .collect();
    ensure!(!packages.is_empty(), "cargo names no package of the command");
    let mut files = Vec::new();
    let mut list = String::new();
    for package in &packages {
        let named = format!("{}-{}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see its files");
        list.push_str(&format!("{named}: {licence}\n"));
        let folder = Path::new(&package.manifest_path)
            .parent()
            .context("a manifest is in a folder")?;
        for (name, content) in texts(folder)? {
            files.push((format!("{named}/{name}"), content));
        }
    }
    files.push(("packages.txt".to_owned(), list.into_bytes()));
    Ok(files)
}

/// `anyhow v1.0.100 (proc-macro)` is anyhow, 1.0.100.
fn name_and_version(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    Some((name.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
}

/// The files of a package that hold its licence.
fn texts(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_licence = ["LICEN", "COPYING", "COPYRIGHT", "NOTICE"]
            .iter()
            .any(|begin| name.to_uppercase().starts_with(begin));
        if is_licence && entry.path().is_file() {
            texts.push((name, std::fs::read(entry.path())?));
        }
    }
    texts.sort();
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_lines_name_packages() {
        let read = |line| name_and_version(line).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(read("anyhow v1.0.100 (*)").as_deref(), Some("anyhow 1.0.100"));
        assert_eq!(
            read("provium-base v0.1.0 (/src/base)").as_deref(),
            Some("provium-base 0.1.0")
        );
        assert_eq!(read(""), None);
    }

    #[test]
    fn licences_are_told_from_other_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["LICENSE-MIT", "Copying.txt", "README.md", "license.rs.bak"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> = texts(folder.path())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["Copying.txt", "LICENSE-MIT", "license.rs.bak"]);
    }
}
