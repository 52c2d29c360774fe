//! Small trees for the tests of rules.
//!
//! Input: paths with texts. Output: a [`Tree`] read from a folder that is gone afterwards, and what a rule
//! says about it.

use super::rule::Rule;
use super::tree::Tree;

/// A tree of these files.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Tree::read(root.path()).unwrap()
}

/// What a rule finds in a tree of these files: `path:line what`, sorted.
pub(crate) fn offences(rule: &Rule, files: &[(&str, &str)]) -> Vec<String> {
    let mut found = (rule.check)(&tree(files));
    found.sort();
    found
        .iter()
        .map(|found| format!("{}:{} {}", found.path, found.line, found.what))
        .collect()
}

/// A manifest of a package with these dependencies.
pub(crate) fn manifest(name: &str, dependencies: &[&str]) -> String {
    let mut text = format!("[package]\nname = \"{name}\"\n[dependencies]\n");
    for dependency in dependencies {
        text.push_str(&format!("{dependency}.workspace = true\n"));
    }
    text
}
