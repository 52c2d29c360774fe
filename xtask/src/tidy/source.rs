//! Facts about one Rust file.
//!
//! Input: its text. Output: a [`Source`]. Not here: what its names mean ([`super::graph`] resolves them).

use std::collections::BTreeSet;

use anyhow::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::scope::{Scope, Visitor, is_name};

/// A parsed Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file's own module, with the inline ones in it.
    pub(crate) scope: Scope,
    /// Lines of the `//!` comment that it opens with, without the marks.
    pub(crate) header: Vec<String>,
    /// Number of lines that belong to items under `#[cfg(test)]`.
    pub(crate) test_lines: usize,
    /// Lines with the keyword `unsafe`.
    pub(crate) unsafe_lines: BTreeSet<usize>,
    /// Lines of attributes `#[ignore]`.
    pub(crate) ignored: Vec<usize>,
    /// Lines of assertions that some time has not passed, but for those in loops, which limit how long is
    /// waited.
    pub(crate) timed: Vec<usize>,
    /// Lines that begin within a text.
    pub(crate) text_lines: BTreeSet<usize>,
    /// Names and texts in it, apart from comments.
    pub(crate) words: BTreeSet<String>,
}

impl Source {
    /// Parses a file.
    ///
    /// # Errors
    /// When it is no Rust.
    pub(crate) fn parse(text: &str) -> Result<Source> {
        let tokens: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| anyhow::anyhow!("{error}"))?;
        let mut visitor = Visitor::default();
        syn::visit::Visit::visit_file(&mut visitor, &syn::parse_file(text)?);
        let Visitor {
            file,
            timed,
            test_lines,
            ..
        } = visitor;
        let mut source = Source {
            scope: file,
            header: header(text),
            test_lines,
            unsafe_lines: BTreeSet::new(),
            ignored: Vec::new(),
            timed,
            text_lines: BTreeSet::new(),
            words: BTreeSet::new(),
        };
        source.scan(tokens);
        Ok(source)
    }

    /// Takes in what can be told from tokens alone.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let line = token.span().start().line;
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    if name == "unsafe" {
                        self.unsafe_lines.insert(line);
                    }
                    self.words.insert(name);
                }
                TokenTree::Literal(literal) if !is_doc(&tokens[..at]) => {
                    self.text_lines.extend(line + 1..=literal.span().end().line);
                    self.words
                        .insert(literal.to_string().trim_matches('"').to_owned());
                }
                TokenTree::Group(group) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    let attribute =
                        group.delimiter() == Delimiter::Bracket && at > 0 && is_mark(&tokens[at - 1], '#');
                    if attribute && is_name(&inside, "ignore") {
                        self.ignored.push(line);
                    }
                    self.scan(group.stream());
                }
                _ => {}
            }
        }
    }
}

/// The comment that a file opens with.
fn header(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    lines
        .map_while(|line| line.trim_start().strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect()
}

/// Whether a token is this punctuation mark.
pub(crate) fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}

/// Whether what comes next is the text of a documentation comment, which is an attribute `doc = "…"` in
/// tokens.
fn is_doc(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Ident(name), mark] if name == "doc" && is_mark(mark, '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tokens_tell() {
        let source = Source::parse(
            "//! A thing.\n//!\n//! Input: none.\n\n/// Not a word: secret.\nfn f() {\n    unsafe { g() };\n    \
             // unsafe in a comment\n    assert!(\n        start.elapsed() < LIMIT);\n    \
             assert!(start.elapsed() > LIMIT);\n    \
             while g() { assert!(start.elapsed() < LIMIT) }\n}\n\
             #[test]\n#[ignore = \"slow\"]\nfn t() { f(\"serde_bytes\") }\n",
        )
        .unwrap();
        assert_eq!(source.header, ["A thing.", "", "Input: none."]);
        assert_eq!(source.unsafe_lines.iter().collect::<Vec<_>>(), [&7]);
        assert_eq!(source.timed, [9]);
        assert_eq!(source.ignored, [15]);
        assert!(source.words.contains("serde_bytes") && source.words.contains("g"));
        assert!(!source.words.iter().any(|word| word.contains("secret")));
    }

    #[test]
    fn what_is_no_rust_is_an_error() {
        assert!(Source::parse("fn (").is_err());
        assert!(Source::parse("let x = 1;").is_err());
    }
}
