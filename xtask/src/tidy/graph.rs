//! Who imports whom: modules of all packages, with every path resolved to the file of the item it names.
//!
//! Input: parsed files and packages. Output: [`Edge`]s between files, and the circles that they make. A name
//! that a module passes on (`pub use`) leads to where the item is written, so a module that only collects
//! others is in nobody's way; a module that is imported whole counts by what is named of it. Tests are left
//! out. Not here: methods, since what they are called on is known to the compiler alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::manifest::{Package, TargetKind};
use super::scope::{Import, Named, Scope};
use super::tree::TreeFile;

/// How many names that are passed on lead to an item at most; there are circles of them.
const DEPTH: usize = 24;

/// The imports of a tree.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Imports between files, one for each pair, sorted.
    pub(crate) edges: Vec<Edge>,
    tests: BTreeSet<String>,
}

/// A file that imports something from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// File with the import.
    pub(crate) from: String,
    /// File with the item.
    pub(crate) to: String,
    /// First line of such an import.
    pub(crate) line: usize,
    /// That import as it is written.
    pub(crate) path: String,
}

/// Resolves paths.
#[derive(Debug, Default)]
struct Modules {
    all: Vec<Module>,
    /// Root modules of libraries, by the name that others import.
    libraries: HashMap<String, usize>,
}

#[derive(Debug)]
struct Module {
    file: String,
    test: bool,
    root: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    paths: Vec<Named>,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Item(usize),
    Module(usize),
}

impl Graph {
    /// Resolves all paths of all packages.
    pub(crate) fn new(files: &[TreeFile], packages: &[Package]) -> Graph {
        let mut modules = Modules::default();
        for package in packages {
            for target in &package.targets {
                let test = target.kind == TargetKind::Test;
                let root = modules.add_root(files, &target.root, test);
                if let (Some(root), TargetKind::Library) = (root, target.kind) {
                    modules.libraries.insert(package.ident(), root);
                }
            }
        }
        let mut graph = Graph::default();
        let files = |test: bool| -> BTreeSet<String> {
            let modules = modules.all.iter().filter(|module| module.test == test);
            modules.map(|module| module.file.clone()).collect()
        };
        // An inline module of tests does not make a test of its file.
        graph.tests = &files(true) - &files(false);
        graph.edges = modules.edges();
        graph
    }

    /// Whether a file is a module for tests alone.
    pub(crate) fn is_test(&self, path: &str) -> bool {
        self.tests.contains(path)
    }

    /// Groups of at least two files that import each other, directly or through others; each sorted.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let graph: DiGraphMap<&str, ()> = self
            .edges
            .iter()
            .map(|edge| (edge.from.as_str(), edge.to.as_str()))
            .collect();
        let mut circles = tarjan_scc(&graph);
        circles.retain(|circle| circle.len() > 1);
        circles.iter_mut().for_each(|circle| circle.sort_unstable());
        circles.sort();
        circles
    }

    /// The shortest way from a file back to itself.
    pub(crate) fn way_round(&self, start: &str) -> Vec<&Edge> {
        let mut came: HashMap<&str, &Edge> = HashMap::new();
        let mut next = vec![start];
        while !next.is_empty() && !came.contains_key(start) {
            let mut further = Vec::new();
            for at in next {
                for edge in self.edges.iter().filter(|edge| edge.from == at) {
                    if !came.contains_key(edge.to.as_str()) {
                        came.insert(&edge.to, edge);
                        further.push(edge.to.as_str());
                    }
                }
            }
            next = further;
        }
        let mut way: Vec<&Edge> = Vec::new();
        let mut at = start;
        while let Some(edge) = came.get(at) {
            way.push(edge);
            at = &edge.from;
            if at == start {
                break;
            }
        }
        way.reverse();
        way
    }
}

impl Modules {
    fn add_root(&mut self, files: &[TreeFile], path: &str, test: bool) -> Option<usize> {
        let file = files.iter().find(|file| file.path == path)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let scope = &file.rust.as_ref()?.scope;
        Some(self.add(files, path, scope, None, test, folder))
    }

    /// Adds a module and those below it; `folder` is where its children's files are.
    fn add(
        &mut self,
        files: &[TreeFile],
        path: &str,
        scope: &Scope,
        parent: Option<usize>,
        test: bool,
        folder: &str,
    ) -> usize {
        let index = self.all.len();
        let test = test || scope.test;
        self.all.push(Module {
            file: path.to_owned(),
            test,
            root: parent.map_or(index, |parent| self.all[parent].root),
            parent,
            children: BTreeMap::new(),
            items: scope.items.clone(),
            imports: scope.imports.clone(),
            paths: scope.paths.clone(),
        });
        let below = |name: &str| {
            if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            }
        };
        for inline in &scope.inline {
            let child = self.add(files, path, inline, Some(index), test, &below(&inline.name));
            self.all[index].children.insert(inline.name.clone(), child);
        }
        for (name, for_tests) in &scope.declared {
            let candidates = [below(&format!("{name}.rs")), below(&format!("{name}/mod.rs"))];
            let file = files.iter().find(|file| candidates.contains(&file.path));
            if let Some((file, source)) = file.and_then(|file| Some((file, file.rust.as_ref()?))) {
                let child = self.add(
                    files,
                    &file.path,
                    &source.scope,
                    Some(index),
                    test || *for_tests,
                    &below(name),
                );
                self.all[index].children.insert(name.clone(), child);
            }
        }
        index
    }

    fn edges(&self) -> Vec<Edge> {
        let mut edges: BTreeMap<(&str, &str), Edge> = BTreeMap::new();
        for (index, module) in self.all.iter().enumerate().filter(|(_, module)| !module.test) {
            let imports = module.imports.iter().filter(|import| !import.public);
            let imports = imports
                .filter(|import| import.alias.is_some())
                .map(|import| &import.named);
            for named in imports.chain(&module.paths).filter(|named| !named.test) {
                let Some(Found::Item(found)) = self.resolve(index, &named.segments, 0) else {
                    continue;
                };
                let target = &self.all[found];
                if target.test || target.file == module.file {
                    continue;
                }
                let edge = Edge {
                    from: module.file.clone(),
                    to: target.file.clone(),
                    line: named.line,
                    path: named.segments.join("::"),
                };
                let first = edges
                    .entry((&module.file, &target.file))
                    .or_insert_with(|| edge.clone());
                if edge.line < first.line {
                    *first = edge;
                }
            }
        }
        edges.into_values().collect()
    }

    /// What a path means in a module; none when it leads out of the workspace or names nothing that is known.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        if depth > DEPTH {
            return None;
        }
        match first.as_str() {
            "crate" => self.below(self.all[module].root, rest, depth),
            "self" => self.below(module, rest, depth),
            "super" => {
                let mut at = self.all[module].parent?;
                let mut rest = rest;
                while let Some(("super", further)) =
                    rest.split_first().map(|(name, rest)| (name.as_str(), rest))
                {
                    at = self.all[at].parent?;
                    rest = further;
                }
                self.below(at, rest, depth)
            }
            _ => self
                .member(module, path, depth)
                .or_else(|| self.below(*self.libraries.get(first)?, rest, depth)),
        }
    }

    /// What a path means from a module on downwards.
    fn below(&self, module: usize, path: &[String], depth: usize) -> Option<Found> {
        if path.is_empty() {
            return Some(Found::Module(module));
        }
        // A macro, or something a macro made, is where the module is.
        self.member(module, path, depth).or(Some(Found::Item(module)))
    }

    /// What a path means whose first name is declared or imported in a module.
    fn member(&self, index: usize, path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let module = &self.all[index];
        let imported = || {
            let mut imports = module.imports.iter();
            let import = imports.find(|import| import.alias.as_ref() == Some(first))?;
            let whole = [import.named.segments.as_slice(), rest].concat();
            // `use memchr::memchr`: the first name is the package here, not what is imported.
            let own = import.named.segments.first() == Some(first);
            if own && !module.children.contains_key(first) {
                return self.below(*self.libraries.get(first)?, &whole[1..], depth + 1);
            }
            self.resolve(index, &whole, depth + 1)
        };
        let child = || self.below(*module.children.get(first)?, rest, depth + 1);
        let item = || module.items.contains(first).then_some(Found::Item(index));
        // A function may have the name of its module; what has further names below it is the module.
        let found = if rest.is_empty() {
            item().or_else(imported).or_else(child)
        } else {
            child().or_else(imported).or_else(item)
        };
        found.or_else(|| {
            let mut globs = module.imports.iter().filter(|import| import.alias.is_none());
            globs.find_map(
                |glob| match self.resolve(index, &glob.named.segments, depth + 1)? {
                    Found::Module(from) if from != index && depth < DEPTH => {
                        self.member(from, path, depth + 1)
                    }
                    _ => None,
                },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, tree};

    const LIB: &str = "//! L.\nmod a;\nmod b;\nmod c;\npub use a::A;\n#[cfg(test)]\nmod tests;\n";

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        let edges = tree.graph.edges.iter();
        edges
            .map(|edge| format!("{} -> {}:{}", edge.from, edge.to, edge.line))
            .collect()
    }

    #[test]
    fn paths_lead_to_where_items_are_written() {
        let manifest = manifest("k", &[]);
        let files = [
            ("k/Cargo.toml", manifest.as_str()),
            ("k/src/lib.rs", LIB),
            ("k/src/a.rs", "pub struct A;\n"),
            // By a name that the root passes on.
            (
                "k/src/b/mod.rs",
                "mod inner;\npub use inner::*;\nuse crate::A;\nfn f(_: A) {}\n",
            ),
            // By a module imported whole, a star, and a macro's tokens.
            ("k/src/b/inner.rs", "pub fn g() {}\n"),
            (
                "k/src/c.rs",
                "use super::b;\nfn f() { b::g(); println!(\"{}\", crate::a::A) }\n",
            ),
            ("k/src/tests.rs", "use super::b;\nfn f() { b::g() }\n"),
        ];
        assert_eq!(
            edges(&files),
            [
                "k/src/b/mod.rs -> k/src/a.rs:3",
                "k/src/c.rs -> k/src/a.rs:2",
                "k/src/c.rs -> k/src/b/inner.rs:2"
            ]
        );
        let tree = tree(&files);
        assert!(tree.file("k/src/tests.rs").unwrap().test && !tree.file("k/src/c.rs").unwrap().test);
    }

    #[test]
    fn other_packages_are_followed() {
        let found = edges(&[
            ("k/Cargo.toml", &manifest("k-k", &[])),
            ("k/src/lib.rs", "pub mod deep;\npub use deep::er::X;\n"),
            ("k/src/deep/mod.rs", "pub mod er;\n"),
            ("k/src/deep/er.rs", "pub struct X;\n"),
            ("m/Cargo.toml", &manifest("m", &["k-k"])),
            (
                "m/src/main.rs",
                "use memchr::memchr;\nfn main() { memchr(k_k::X) }\n",
            ),
        ]);
        assert_eq!(found, ["m/src/main.rs -> k/src/deep/er.rs:2"]);
    }

    #[test]
    fn circles_are_found_with_a_way_round() {
        let tree = tree(&[
            ("k/Cargo.toml", &manifest("k", &[])),
            ("k/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            ("k/src/a.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("k/src/b.rs", "use crate::c::C;\npub struct B(C);\n"),
            ("k/src/c.rs", "use crate::a::A;\npub struct C(Box<A>);\n"),
            ("k/src/d.rs", "use crate::a::A;\n"),
        ]);
        assert_eq!(tree.graph.circles(), [["k/src/a.rs", "k/src/b.rs", "k/src/c.rs"]]);
        let way: Vec<_> = tree
            .graph
            .way_round("k/src/b.rs")
            .iter()
            .map(|edge| edge.to.as_str())
            .collect();
        assert_eq!(way, ["k/src/c.rs", "k/src/a.rs", "k/src/b.rs"]);
    }
}
