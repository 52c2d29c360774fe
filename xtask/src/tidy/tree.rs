//! The tree that rules read: its files, what was parsed of them, its packages and who imports whom.
//!
//! Input: a folder. Output: a [`Tree`]. Nothing in it changes afterwards, so rules can be checked in any
//! order. Not here: `target/`, `.git/`, and what git is told to ignore by other names.

use std::path::Path;

use anyhow::{Context, Result};

use super::graph::Graph;
use super::manifest::Package;
use super::source::Source;

/// Folders that are none of the project's sources, wherever they are.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// A workspace as rules see it.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Files by path.
    pub(crate) files: Vec<TreeFile>,
    /// The workspace's packages.
    pub(crate) packages: Vec<Package>,
    /// Modules and imports of all packages.
    pub(crate) graph: Graph,
}

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// Path relative to the root, with `/` between its parts.
    pub(crate) path: String,
    /// Content of Rust, Markdown and TOML files; empty for any other file.
    pub(crate) text: String,
    /// Facts about a Rust file.
    pub(crate) rust: Option<Source>,
    /// Whether it is compiled for tests alone: below a `tests/` folder, or a module under `#[cfg(test)]`.
    pub(crate) test: bool,
}

impl Tree {
    /// Reads a workspace.
    ///
    /// # Errors
    /// When a file cannot be read, or a Rust file or manifest cannot be parsed.
    pub(crate) fn read(root: &Path) -> Result<Tree> {
        let mut files = Vec::new();
        let walk = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
        let wanted = |entry: &walkdir::DirEntry| !SKIPPED.iter().any(|name| entry.file_name() == *name);
        for entry in walk.filter_entry(wanted) {
            let entry = entry?;
            if !entry.file_type().is_dir() {
                files.push(TreeFile::read(root, entry.path())?);
            }
        }
        let packages = Package::all(&files)?;
        let graph = Graph::new(&files, &packages);
        for file in &mut files {
            file.test = file.path.split('/').any(|part| part == "tests") || graph.is_test(&file.path);
        }
        Ok(Tree {
            files,
            packages,
            graph,
        })
    }

    /// The file at a path.
    pub(crate) fn file(&self, path: &str) -> Option<&TreeFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether there is a file or folder at a path; `""` is the root.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = |file: &TreeFile| {
            let rest = file.path.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        path.is_empty() || self.files.iter().any(below)
    }

    /// All Rust files with their facts.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&TreeFile, &Source)> {
        self.files
            .iter()
            .filter_map(|file| file.rust.as_ref().map(|source| (file, source)))
    }
}

impl TreeFile {
    fn read(root: &Path, place: &Path) -> Result<TreeFile> {
        let path = place.strip_prefix(root).unwrap_or(place);
        let path = path.to_string_lossy().replace('\\', "/");
        let kind = path.rsplit_once('.').map(|(_, kind)| kind);
        let text = match kind {
            Some("rs" | "md" | "toml") => {
                std::fs::read_to_string(place).with_context(|| format!("read {path}"))?
            }
            _ => String::new(),
        };
        let rust = (kind == Some("rs"))
            .then(|| Source::parse(&text).with_context(|| format!("parse {path}")))
            .transpose()?;
        Ok(TreeFile {
            path,
            text,
            rust,
            test: false,
        })
    }
}
