//! Rules about pages: what they link to and what they name is there.
//!
//! Input: Markdown. Output: offences. Not here: whether examples run, which `cargo xtask test --only docs`
//! tries.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::rule::{Offence, Rule, within};
use super::tree::{Tree, TreeFile};

/// Every page can be found from the index.
pub(crate) const DOCS_INDEX: Rule = Rule {
    name: "docs-index",
    why: "a page that no index has is not found.",
    check: docs_index,
};

/// Links lead somewhere.
pub(crate) const LINKS: Rule = Rule {
    name: "links",
    why: "a page that moved takes its readers along.",
    check: links,
};

/// Files of the tree that pages name exist.
pub(crate) const NAMED_PATHS: Rule = Rule {
    name: "named-paths",
    why: "a map that names files of the past leads astray.",
    check: named_paths,
};

const INDEX: &str = "docs/README.md";
/// Pages whose every path is one of the tree.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// A link of a page.
struct Link {
    line: usize,
    target: String,
}

/// Files that pages are checked of: all Markdown that is the project's own.
fn all(tree: &Tree) -> impl Iterator<Item = &TreeFile> {
    tree.files.iter().filter(|file| file.path.ends_with(".md"))
}

fn docs_index(tree: &Tree) -> Vec<Offence> {
    let Some(index) = tree.file(INDEX) else {
        return all(tree)
            .find(|page| within(&page.path, "docs"))
            .map(|page| Offence::new(&page.path, 1, format!("there is no {INDEX}"), "write the index"))
            .into_iter()
            .collect();
    };
    let linked: Vec<String> = read(&index.text)
        .0
        .iter()
        .filter_map(|link| Some(split(&index.path, &link.target)?.0))
        .collect();
    let pages = all(tree).filter(|page| within(&page.path, "docs") && page.path != INDEX);
    pages
        .filter(|page| !linked.contains(&page.path))
        .map(|page| Offence::new(&page.path, 1, format!("{INDEX} has no link to it"), "add one"))
        .collect()
}

fn links(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for page in all(tree) {
        for Link { line, target } in read(&page.text).0 {
            let Some((path, anchor)) = split(&page.path, &target) else {
                continue;
            };
            if !tree.exists(&path) {
                let what = format!("the link `{target}` leads to {path}, which does not exist");
                found.push(Offence::new(&page.path, line, what, "say where it is now"));
            } else if let Some(anchor) = anchor {
                let headings = tree
                    .file(&path)
                    .map(|file| read(&file.text).1)
                    .unwrap_or_default();
                if !headings.contains(&anchor) {
                    let what = format!("{path} has no heading `#{anchor}`");
                    found.push(Offence::new(&page.path, line, what, "link to one that it has"));
                }
            }
        }
    }
    found
}

fn named_paths(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for page in all(tree) {
        // What users read has paths of theirs too, but none of sources.
        let map = MAPS.contains(&page.path.as_str());
        let names = named(&page.text).into_iter();
        for (line, name) in names.filter(|(_, name)| map || name.contains("/src/")) {
            for path in expanded(&name) {
                if !is_there(tree, &path) {
                    let what = format!("`{path}` does not exist");
                    found.push(Offence::new(&page.path, line, what, "name what is there now"));
                }
            }
        }
    }
    found
}

/// Links of a page, and the anchors of its headings.
fn read(text: &str) -> (Vec<Link>, Vec<String>) {
    let (mut links, mut anchors) = (Vec::new(), Vec::new());
    let mut heading: Option<String> = None;
    for (event, place) in Parser::new_ext(text, pulldown_cmark::Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => links.push(Link {
                line: line_at(text, place.start),
                target: dest_url.into_string(),
            }),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|text| anchor(&text))),
            _ => {}
        }
    }
    (links, anchors)
}

fn line_at(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

/// A heading as GitHub makes an anchor of it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Path relative to the root and anchor that a page's link leads to; none for what is not in the tree.
fn split(page: &str, target: &str) -> Option<(String, Option<String>)> {
    if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (target, None),
    };
    if path.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), anchor))
}

/// What looks like a path in a map: what is between single backticks, and what lines of drawings begin with.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut drawing = false;
    for (event, place) in Parser::new_ext(text, pulldown_cmark::Options::ENABLE_TABLES).into_offset_iter() {
        let first = line_at(text, place.start);
        match event {
            Event::Start(Tag::CodeBlock(_)) => drawing = true,
            Event::End(TagEnd::CodeBlock) => drawing = false,
            Event::Code(code) => names.push((first, code.into_string())),
            Event::Text(lines) if drawing => {
                for (at, line) in lines.lines().enumerate() {
                    let name = line.split_whitespace().next().unwrap_or_default();
                    if line.starts_with(name) {
                        names.push((first + at, name.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }
    names.retain(|(_, name)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-{,}".contains(c);
        name.contains('/') && !name.starts_with('/') && name.chars().all(plain)
    });
    names
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(name: &str) -> Vec<String> {
    let parts = name
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (choices, after))) = parts else {
        return vec![name.to_owned()];
    };
    let choices = choices.split(',');
    choices
        .flat_map(|choice| expanded(&format!("{before}{choice}{after}")))
        .collect()
}

/// Whether a name is a path of the tree, the end of one where it names a file, or no path at all. `...` is
/// any folders.
fn is_there(tree: &Tree, name: &str) -> bool {
    let top = name.split('/').next().unwrap_or_default();
    let begins = tree
        .files
        .iter()
        .any(|file| file.path.split('/').next() == Some(top));
    if let Some((before, after)) = name.split_once("...") {
        let mut files = tree.files.iter();
        return !begins || files.any(|file| file.path.starts_with(before) && file.path.ends_with(after));
    }
    if begins {
        return tree.exists(name);
    }
    let file = [".rs", ".md", ".lua", ".toml", ".config"]
        .iter()
        .any(|end| name.ends_with(end));
    let end = format!("/{name}");
    !file || tree.files.iter().any(|file| file.path.ends_with(&end))
}

#[cfg(test)]
mod tests {
    use super::super::testing::offences;
    use super::*;

    #[test]
    fn every_page_is_in_the_index() {
        let found = offences(
            &DOCS_INDEX,
            &[
                ("docs/README.md", "# Index\n\n[A](a.md) [B](how-to/b.md#part)\n"),
                ("docs/a.md", "# A\n"),
                ("docs/how-to/b.md", "# B\n"),
                ("docs/how-to/c.md", "[Index](../README.md)\n"),
            ],
        );
        assert_eq!(found, ["docs/how-to/c.md:1 docs/README.md has no link to it"]);
        assert_eq!(
            offences(&DOCS_INDEX, &[("docs/a.md", "# A\n")]),
            ["docs/a.md:1 there is no docs/README.md"]
        );
    }

    #[test]
    fn links_lead_to_files_and_headings() {
        let page = "# The `first` one, again\n\n[a](docs/a.md#two-words) [b](https://x.y/z) [c](#the-first-one-again)\n\n\
                    | x |\n| --- |\n| [d](docs/gone.md) |\n\n```md\n[e](gone.md)\n```\n`[f](gone.md)` [g](docs/a.md#gone) [h](docs)\n";
        let found = offences(
            &LINKS,
            &[
                ("README.md", page),
                (
                    "docs/a.md",
                    "# A\n\n## Two words\n\n[up](../README.md) [gone](README.md)\n",
                ),
            ],
        );
        assert_eq!(
            found,
            [
                "README.md:7 the link `docs/gone.md` leads to docs/gone.md, which does not exist",
                "README.md:12 docs/a.md has no heading `#gone`",
                "docs/a.md:5 the link `README.md` leads to docs/README.md, which does not exist"
            ]
        );
    }

    #[test]
    fn maps_name_what_is_there() {
        let map = "# Map\n\n`vmm/src/{a,b}.rs` `vmm/src/c/` `c/d.rs` `x/d.rs` `a/b` `/dev/kvm` `read/write`\n\n```text\n\
                   vmm/.../d.rs   deep\nvmm/src/gone.rs   gone\n  └─ vmm/no\n```\n";
        let found = offences(
            &NAMED_PATHS,
            &[
                ("ARCHITECTURE.md", map),
                ("vmm/src/a.rs", "//! A.\n"),
                ("vmm/src/c/d.rs", "//! D.\n"),
                ("docs/page.md", "`vmm/src/a.rs` `vmm/src/x.rs` `vmm/x.toml`\n"),
            ],
        );
        assert_eq!(
            found,
            [
                "ARCHITECTURE.md:3 `vmm/src/b.rs` does not exist",
                "ARCHITECTURE.md:3 `x/d.rs` does not exist",
                "ARCHITECTURE.md:7 `vmm/src/gone.rs` does not exist",
                "docs/page.md:1 `vmm/src/x.rs` does not exist"
            ]
        );
    }
}
