//! The Lua examples of README.md and docs/, made into a project that `provium` runs.
//!
//! Input: the pages. Output: `target/docs-examples/`, with a test file for each block marked `lua`, named
//! after its page and line, beside what `docs/examples/` has for them. Not here: a way to leave an example
//! out. One that cannot run is no example.
//!
//! A block that begins with a comment naming a file (`-- web.fixture.lua`) becomes that file. A block that is
//! part of a test file, using `vm` or `t` without having made them, gets them as a reader would expect: a VM
//! of the fixture `docs`, inside of a test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// What examples find beside them, relative to the workspace.
const SUPPORT: &str = "docs/examples";

/// A block of a page.
#[derive(Debug, PartialEq)]
struct Example {
    /// Where it is written, relative to the project.
    file: String,
    content: String,
}

/// Writes the project anew and returns its folder.
///
/// # Errors
/// When a page cannot be read, there is no example in any, two have the same file, or a file cannot be
/// written.
pub(crate) fn project() -> Result<PathBuf> {
    let root = workspace::root();
    let folder = root.join("target/docs-examples");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    copy_support(&root.join(SUPPORT), &folder)?;
    let mut count = 0;
    for page in pages(root)? {
        let text = std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
        for example in examples(&name(&page), &text) {
            let path = folder.join(&example.file);
            ensure!(
                !path.exists(),
                "{}: {} is there twice",
                page.display(),
                example.file
            );
            write(&path, &example.content)?;
            count += 1;
        }
    }
    ensure!(count > 0, "no Lua example in README.md and docs/");
    Ok(folder)
}

/// What a page's examples are named after.
fn name(page: &Path) -> String {
    let stem = page.file_stem().unwrap_or_default();
    stem.to_string_lossy().to_lowercase()
}

fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in walkdir::WalkDir::new(root.join("docs")) {
        pages.push(entry?.into_path());
    }
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root.join("README.md"));
    pages.sort();
    Ok(pages)
}

fn copy_support(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("write {}", target.display()))?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

/// The blocks of a page.
fn examples(page: &str, text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim_end() != "```lua" {
            continue;
        }
        let block: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim_end() != "```")
            .collect();
        // Of the block's first line, counted from 1.
        examples.push(example(page, at + 2, &block));
    }
    examples
}

fn example(page: &str, line: usize, block: &[&str]) -> Example {
    let code = block.join("\n");
    let named = block.first().and_then(|first| first.strip_prefix("-- "));
    if let Some(file) = named.filter(|name| name.ends_with(".lua") && !name.contains(' ')) {
        return Example {
            file: file.to_owned(),
            content: code + "\n",
        };
    }
    // The block's lines keep their place below a line that stands for what surrounds them.
    let whole = ["provium:", "provium.", "test("]
        .iter()
        .any(|word| code.contains(word));
    let content = if whole {
        code + "\n"
    } else {
        format!(
            "local vm = provium:vm_fixture(\"docs\") test(\"{page}.md, line {line}\", function(t)\n{code}\nend)\n"
        )
    };
    Example {
        file: format!("{page}-{line}.test.lua"),
        content,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn no_two_pages_of_the_tree_have_the_same_name() {
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        for page in pages(workspace::root()).unwrap() {
            let text = std::fs::read_to_string(&page).unwrap();
            for example in examples(&name(&page), &text) {
                let other = seen.insert(example.file.clone(), page.clone());
                assert_eq!(other, None, "{} of {}", example.file, page.display());
            }
        }
        assert!(seen.keys().any(|file| file == "second.test.lua"), "{seen:?}");
    }

    #[test]
    fn blocks_become_files() {
        let page = "# A\n\n```lua\n-- web.fixture.lua\nreturn 1\n```\n\n```toml\nno = 1\n```\n\n```lua\ntest('x', f)\n```\n```lua\nvm:run('ls')\n```\n";
        let found = examples("page", page);
        let files: Vec<_> = found.iter().map(|example| example.file.as_str()).collect();
        assert_eq!(files, ["web.fixture.lua", "page-13.test.lua", "page-16.test.lua"]);
        assert_eq!(found[1].content, "test('x', f)\n");
        assert_eq!(
            found[2].content,
            "local vm = provium:vm_fixture(\"docs\") test(\"page.md, line 16\", function(t)\nvm:run('ls')\nend)\n"
        );
    }
}
