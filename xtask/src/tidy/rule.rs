//! What a rule is, and what it says where it is broken.
//!
//! Input: a [`Tree`]. Output: [`Offence`]s, in any order. Not here: what is excused ([`super::allow`]).

use super::tree::Tree;

/// A rule of the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Name in messages and in the allow-list.
    pub(crate) name: &'static str,
    /// Reason for having it, one sentence.
    pub(crate) why: &'static str,
    /// Finds every place where it is broken.
    pub(crate) check: fn(&Tree) -> Vec<Offence>,
}

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    /// File, relative to the root.
    pub(crate) path: String,
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// Finding.
    pub(crate) what: String,
    /// Remedy.
    pub(crate) remedy: String,
}

impl Offence {
    /// An offence at a line of a file.
    pub(crate) fn new(
        path: &str,
        line: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Offence {
        Offence {
            path: path.to_owned(),
            line,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Whether a file is a module or lies below it: `runner/src/lua` is `runner/src/lua.rs` and all of
/// `runner/src/lua/`.
pub(crate) fn within(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_module_and_what_is_below_it() {
        for path in ["a/b.rs", "a/b/mod.rs", "a/b/c/d.rs", "a/b"] {
            assert!(within(path, "a/b"), "{path}");
        }
        for path in ["a/bc.rs", "a/b_c/d.rs", "a", "x/a/b.rs"] {
            assert!(!within(path, "a/b"), "{path}");
        }
    }
}
