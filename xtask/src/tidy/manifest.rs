//! The packages of the workspace, as far as rules ask about them.
//!
//! Input: every `Cargo.toml` with a `[package]`. Output: names, dependencies and the crates that cargo would
//! build of it. Not here: versions and features.

use anyhow::{Context, Result};

use super::tree::TreeFile;

/// A package.
#[derive(Debug)]
pub(crate) struct Package {
    /// Name, such as `provium-vmm`.
    pub(crate) name: String,
    /// Folder relative to the root, such as `vmm`; `""` for the root's own package.
    pub(crate) folder: String,
    /// Path of the manifest.
    pub(crate) manifest: String,
    /// Dependencies of all sections.
    pub(crate) dependencies: Vec<Dependency>,
    /// Root files of its crates.
    pub(crate) targets: Vec<Target>,
}

/// A line of a manifest by which another package is used.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// Name by which it is listed.
    pub(crate) name: String,
    /// Section it is listed in.
    pub(crate) section: Section,
    /// Line of the manifest, counted from 1.
    pub(crate) line: usize,
}

/// A section of dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

/// A crate that cargo builds of a package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Root file relative to the workspace's root.
    pub(crate) root: String,
    /// Kind of crate.
    pub(crate) kind: TargetKind,
}

/// A kind of crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// The library, which others can import.
    Library,
    /// A program, an example, a benchmark or a build script.
    Program,
    /// An integration test.
    Test,
}

impl Package {
    /// Every package among these files.
    ///
    /// # Errors
    /// When a manifest is no TOML or has a package without a name.
    pub(crate) fn all(files: &[TreeFile]) -> Result<Vec<Package>> {
        let mut packages = Vec::new();
        for file in files {
            let folder = match file.path.rsplit_once('/') {
                Some((folder, "Cargo.toml")) => folder,
                None if file.path == "Cargo.toml" => "",
                _ => continue,
            };
            let manifest: toml::Table =
                toml::from_str(&file.text).with_context(|| format!("parse {}", file.path))?;
            let Some(package) = manifest.get("package") else {
                continue;
            };
            let name = package.get("name").and_then(toml::Value::as_str);
            packages.push(Package {
                name: name
                    .with_context(|| format!("{}: no package.name", file.path))?
                    .to_owned(),
                folder: folder.to_owned(),
                manifest: file.path.clone(),
                dependencies: dependencies(&manifest, &file.text),
                targets: targets(&manifest, folder, files),
            });
        }
        Ok(packages)
    }

    /// Name by which Rust code imports it.
    pub(crate) fn ident(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Path of something in its folder.
    pub(crate) fn path(&self, below: &str) -> String {
        joined(&self.folder, below)
    }
}

/// The package whose folder a path is in: the innermost one.
pub(crate) fn package_of<'a>(packages: &'a [Package], path: &str) -> Option<&'a Package> {
    let around = packages.iter().filter(|package| {
        let rest = path.strip_prefix(package.folder.as_str());
        package.folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    around.max_by_key(|package| package.folder.len())
}

fn joined(folder: &str, below: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(below.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn dependencies(manifest: &toml::Table, text: &str) -> Vec<Dependency> {
    let sections = [
        ("dependencies", Section::Normal),
        ("build-dependencies", Section::Build),
        ("dev-dependencies", Section::Dev),
    ];
    let mut all = Vec::new();
    for (title, section) in sections {
        for name in manifest
            .get(title)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(toml::Table::keys)
        {
            all.push(Dependency {
                name: name.clone(),
                section,
                line: line_of(text, title, name),
            });
        }
    }
    all
}

/// Line on which a key of a section is; the first one if it is written in an unusual way.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut inside = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']) == section;
        }
        let rest = line.strip_prefix(key).filter(|_| inside);
        if rest.is_some_and(|rest| rest.starts_with(['.', ' ', '='])) {
            return at + 1;
        }
    }
    1
}

fn targets(manifest: &toml::Table, folder: &str, files: &[TreeFile]) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |root: String, kind| {
        let new = Target { root, kind };
        if files.iter().any(|file| file.path == new.root) && !targets.contains(&new) {
            targets.push(new);
        }
    };
    let written = |table: &toml::Value| Some(table.get("path")?.as_str()?.to_owned());
    let library = manifest.get("lib").and_then(written);
    add(
        joined(folder, &library.unwrap_or_else(|| "src/lib.rs".to_owned())),
        TargetKind::Library,
    );
    add(joined(folder, "src/main.rs"), TargetKind::Program);
    add(joined(folder, "build.rs"), TargetKind::Program);
    for (title, kind) in [
        ("bin", TargetKind::Program),
        ("example", TargetKind::Program),
        ("bench", TargetKind::Program),
        ("test", TargetKind::Test),
    ] {
        let tables = manifest.get(title).and_then(toml::Value::as_array);
        for path in tables.into_iter().flatten().filter_map(written) {
            add(joined(folder, &path), kind);
        }
    }
    for (below, kind) in [
        ("src/bin", TargetKind::Program),
        ("examples", TargetKind::Program),
        ("benches", TargetKind::Program),
        ("tests", TargetKind::Test),
    ] {
        let prefix = joined(folder, below) + "/";
        for file in files {
            let name = file.path.strip_prefix(&prefix);
            let name = name.and_then(|name| name.strip_suffix(".rs"));
            let is_root = name.is_some_and(|name| !name.contains('/') || name.ends_with("/main"));
            if is_root {
                add(file.path.clone(), kind);
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::super::testing::tree;
    use super::*;

    #[test]
    fn a_package_is_read_with_its_lines_and_crates() {
        let tree = tree(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"),
            (
                "a/Cargo.toml",
                "[package]\nname = \"the-a\"\n[lib]\npath = \"lib.rs\"\n[dependencies]\nserde.workspace = true\n\
                 [dev-dependencies]\nserde = \"1\"\n",
            ),
            ("a/lib.rs", "//! A.\n"),
            ("a/tests/one.rs", "//! One.\n"),
            ("a/tests/common/mod.rs", "//! Common.\n"),
        ]);
        let [package] = &tree.packages[..] else {
            panic!("{:?}", tree.packages)
        };
        assert_eq!(
            (package.ident().as_str(), package.folder.as_str()),
            ("the_a", "a")
        );
        let lines: Vec<_> = package
            .dependencies
            .iter()
            .map(|found| (found.section, found.line))
            .collect();
        assert_eq!(lines, [(Section::Normal, 6), (Section::Dev, 8)]);
        let roots: Vec<_> = package
            .targets
            .iter()
            .map(|target| target.root.as_str())
            .collect();
        assert_eq!(roots, ["a/lib.rs", "a/tests/one.rs"]);
    }

    #[test]
    fn the_innermost_package_is_found() {
        let manifest = |name| format!("[package]\nname = \"{name}\"\n");
        let tree = tree(&[
            ("runner/Cargo.toml", &manifest("outer")),
            ("runner/guest/Cargo.toml", &manifest("inner")),
        ]);
        let name = |path| package_of(&tree.packages, path).map(|package| package.name.as_str());
        assert_eq!(name("runner/guest/src/vm.rs"), Some("inner"));
        assert_eq!(name("runner/guests/src/vm.rs"), Some("outer"));
        assert_eq!(name("vmm/src/lib.rs"), None);
    }
}
