//! The modules of one file: what each declares, imports and names.
//!
//! Input: a parsed file. Output: a [`Scope`]. Tokens of macros and attributes, which have no grammar, are
//! searched for whatever looks like a path. Not here: other files.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::is_mark;

/// A module as it is written in one file.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Name; empty for the file's own module.
    pub(crate) name: String,
    /// Whether it is compiled for tests alone.
    pub(crate) test: bool,
    /// Modules written in it.
    pub(crate) inline: Vec<Scope>,
    /// Modules that are files of their own, and whether each is for tests alone.
    pub(crate) declared: Vec<(String, bool)>,
    /// Names of its items.
    pub(crate) items: BTreeSet<String>,
    /// Its `use` declarations, one for each name.
    pub(crate) imports: Vec<Import>,
    /// Paths in its code.
    pub(crate) paths: Vec<Named>,
}

/// A name that a `use` declaration brings in.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// What is imported.
    pub(crate) named: Named,
    /// Name it gets here; none for all that is in a module (`*`).
    pub(crate) alias: Option<String>,
    /// Whether others can import it from here (`pub use`).
    pub(crate) public: bool,
}

/// A path as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its parts.
    pub(crate) segments: Vec<String>,
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// Whether it is there for tests alone.
    pub(crate) test: bool,
}

/// Walks through a file.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// Modules around the place where it is, the innermost last; without the file's own.
    open: Vec<Scope>,
    /// The file's own module.
    pub(crate) file: Scope,
    /// Lines of assertions outside of loops that some time has not passed.
    pub(crate) timed: Vec<usize>,
    /// Number of lines of items under `#[cfg(test)]`.
    pub(crate) test_lines: usize,
    /// How many loops are around the place.
    loops: usize,
    /// How many items under `#[cfg(test)]` are around that place.
    tests: usize,
}

impl Visitor {
    fn here(&mut self) -> &mut Scope {
        self.open.last_mut().unwrap_or(&mut self.file)
    }

    fn name(&mut self, segments: Vec<String>, line: usize) {
        let test = self.tests > 0;
        self.here().paths.push(Named { segments, line, test });
    }

    /// Runs `walk` on something with attributes; what is under `#[cfg(test)]` is marked.
    fn marked(
        &mut self,
        attributes: &[syn::Attribute],
        span: proc_macro2::Span,
        walk: impl FnOnce(&mut Visitor),
    ) {
        let test = attributes.iter().any(is_for_tests);
        if test && self.tests == 0 {
            let first = attributes.first().map_or(span, Spanned::span);
            self.test_lines += span.end().line + 1 - first.start().line;
        }
        self.tests += usize::from(test);
        walk(self);
        self.tests -= usize::from(test);
    }

    /// Searches tokens for paths.
    fn search(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.search(group.stream()),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut segments = vec![first.to_string()];
                    while let [
                        TokenTree::Punct(one),
                        TokenTree::Punct(two),
                        TokenTree::Ident(next),
                        ..,
                    ] = &tokens[at + 1..]
                        && (one.as_char(), two.as_char()) == (':', ':')
                    {
                        segments.push(next.to_string());
                        at += 3;
                    }
                    self.name(segments, line);
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], public: bool) {
        let with = |name: &syn::Ident| {
            let mut segments = before.to_vec();
            // `use a::{self}` is `use a`.
            if name != "self" || before.is_empty() {
                segments.push(name.to_string());
            }
            segments
        };
        let (segments, alias, line) = match tree {
            syn::UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), public),
            syn::UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|item| self.import(item, before, public));
            }
            syn::UseTree::Name(name) => {
                let segments = with(&name.ident);
                let alias = segments.last().cloned();
                (segments, alias, name.ident.span())
            }
            syn::UseTree::Rename(rename) => (
                with(&rename.ident),
                Some(rename.rename.to_string()),
                rename.ident.span(),
            ),
            syn::UseTree::Glob(glob) => (before.to_vec(), None, glob.star_token.span()),
        };
        let named = Named {
            segments,
            line: line.start().line,
            test: self.tests > 0,
        };
        self.here().imports.push(Import { named, alias, public });
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name): (&[syn::Attribute], Option<&syn::Ident>) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Mod(item) => (&item.attrs, None),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Union(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Use(item) => (&item.attrs, None),
            syn::Item::ExternCrate(item) => (&item.attrs, None),
            syn::Item::ForeignMod(item) => (&item.attrs, None),
            _ => (&[], None),
        };
        if let Some(name) = name {
            let name = name.to_string();
            self.here().items.insert(name);
        }
        self.marked(attributes, item.span(), |visitor| {
            visit::visit_item(visitor, item)
        });
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes: &[syn::Attribute] = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        self.marked(attributes, item.span(), |visitor| {
            visit::visit_impl_item(visitor, item)
        });
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let test = self.tests > 0;
        let name = module.ident.to_string();
        let Some((_, items)) = &module.content else {
            return self.here().declared.push((name, test));
        };
        self.open.push(Scope {
            name,
            test,
            ..Scope::default()
        });
        for item in items {
            self.visit_item(item);
        }
        if let Some(done) = self.open.pop() {
            self.here().inline.push(done);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &[], public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.name(segments.collect(), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        self.loops += 1;
        visit::visit_expr_while(self, repeated);
        self.loops -= 1;
    }

    fn visit_expr_loop(&mut self, repeated: &'ast syn::ExprLoop) {
        self.loops += 1;
        visit::visit_expr_loop(self, repeated);
        self.loops -= 1;
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        if self.loops == 0 && call.path.is_ident("assert") && compares_elapsed(&call.tokens) {
            self.timed.push(call.span().start().line);
        }
        self.search(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.search(list.tokens.clone());
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// Whether an attribute is `#[cfg(test)]` or names `test` among other conditions, but not as one that must
/// not be.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    if !list.path.is_ident("cfg") {
        return false;
    }
    let (mut test, mut not) = (false, false);
    let mut rest = vec![list.tokens.clone()];
    while let Some(tokens) = rest.pop() {
        for token in tokens {
            match token {
                TokenTree::Group(group) => rest.push(group.stream()),
                TokenTree::Ident(name) => {
                    test |= name == "test";
                    not |= name == "not";
                }
                _ => {}
            }
        }
    }
    test && !not
}

/// Whether there is an `elapsed() <` among tokens.
fn compares_elapsed(tokens: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    tokens.windows(3).any(|window| {
        let [TokenTree::Ident(name), TokenTree::Group(nothing), sign] = window else {
            return false;
        };
        name == "elapsed" && nothing.stream().is_empty() && is_mark(sign, '<')
    })
}

/// Whether tokens begin with a name.
pub(crate) fn is_name(tokens: &[TokenTree], name: &str) -> bool {
    matches!(tokens.first(), Some(TokenTree::Ident(found)) if found == name)
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn scope(text: &str) -> Scope {
        Source::parse(text).unwrap().scope
    }

    fn paths(scope: &Scope) -> Vec<(String, bool)> {
        let paths = scope.paths.iter();
        paths
            .map(|named| (named.segments.join("::"), named.test))
            .collect()
    }

    #[test]
    fn imports_are_one_a_name() {
        let scope = scope("use a::{self, b as c, d::*};\npub(crate) use e::F;\n#[cfg(test)]\nuse g::h;\n");
        let found: Vec<_> = scope
            .imports
            .iter()
            .map(|import| {
                (
                    import.named.segments.join("::"),
                    import.alias.as_deref().unwrap_or("*"),
                    import.public,
                    import.named.test,
                    import.named.line,
                )
            })
            .collect();
        let expected = [
            ("a", "a", false, false, 1),
            ("a::b", "c", false, false, 1),
            ("a::d", "*", false, false, 1),
            ("e::F", "F", true, false, 2),
            ("g::h", "h", false, true, 4),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|(path, alias, public, test, line)| (path.as_str(), *alias, *public, *test, *line))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_are_found_in_macros_and_attributes_too() {
        let scope =
            scope("#[derive(serde::Serialize)]\nstruct S(a::B);\nfn f() { println!(\"{}\", c::d(e::F)) }\n");
        let found = paths(&scope);
        for path in ["serde::Serialize", "a::B", "c::d", "e::F"] {
            assert!(found.contains(&(path.to_owned(), false)), "{path}: {found:?}");
        }
    }

    #[test]
    fn what_is_for_tests_is_marked_and_counted() {
        let source = Source::parse(
            "fn f() {}\n#[cfg(test)]\nmod tests;\n#[cfg(any(test, feature = \"x\"))]\nmod fake {\n    fn g() { a::b() }\n}\n\
             #[cfg(not(test))]\nmod real;\nimpl S {\n    #[cfg(test)]\n    fn h() {\n        c::d();\n    }\n}\n",
        )
        .unwrap();
        let scope = source.scope;
        assert_eq!(
            scope.declared,
            [("tests".to_owned(), true), ("real".to_owned(), false)]
        );
        assert!(scope.inline[0].test);
        assert!(paths(&scope.inline[0]).contains(&("a::b".to_owned(), true)));
        assert!(paths(&scope).contains(&("c::d".to_owned(), true)));
        assert_eq!(source.test_lines, 2 + 4 + 4);
    }
}
