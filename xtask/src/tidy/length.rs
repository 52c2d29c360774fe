//! Rules about how long a file and how wide a comment is.
//!
//! Input: texts. Output: an offence for each file. Not here: the width of code, which rustfmt sees to.

use super::rule::{Offence, Rule};
use super::tree::Tree;

/// A file has one idea.
pub(crate) const FILE_LENGTH: Rule = Rule {
    name: "file-length",
    why: "a file of one idea can be read at a sitting.",
    check: file_length,
};

/// Comments fit beside each other on a screen.
pub(crate) const COMMENT_WIDTH: Rule = Rule {
    name: "comment-width",
    why: "long lines are hard to read, and rustfmt leaves those of comments alone.",
    check: comment_width,
};

/// Lines of a file, its items under `#[cfg(test)]` not counted.
const LINES: usize = 400;
/// Lines of a file that is all tests.
const TEST_LINES: usize = 1000;
/// Columns of a comment line.
const COLUMNS: usize = 110;

fn file_length(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let all = file.text.lines().count();
        let (lines, limit) = match file.test {
            true => (all, TEST_LINES),
            false => (all.saturating_sub(source.test_lines), LINES),
        };
        if lines > limit {
            let what = format!("{lines} lines, of at most {limit}");
            found.push(Offence::new(&file.path, 1, what, "find its second idea a file"));
        }
    }
    found
}

fn comment_width(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let wide = |at: usize, line: &str| {
            let comment = line.trim_start();
            // A link cannot be broken.
            let words = comment.trim_start_matches(['/', '!', ' ']).contains(' ');
            let wide = comment.starts_with("//") && words && line.chars().count() > COLUMNS;
            wide && !source.text_lines.contains(&(at + 1))
        };
        let lines = file.text.lines().enumerate();
        let wide: Vec<_> = lines.filter(|(at, line)| wide(*at, line)).collect();
        if let Some((at, line)) = wide.first() {
            let what = format!(
                "a comment of {} columns, of at most {COLUMNS}",
                line.chars().count()
            );
            let more = match wide.len() {
                1 => String::new(),
                all => format!("; {} more in this file", all - 1),
            };
            found.push(Offence::new(&file.path, at + 1, what + &more, "break it"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::offences;
    use super::*;

    #[test]
    fn a_file_has_400_lines_without_its_tests() {
        let code = "fn f() {}\n".repeat(400);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let fine = code.clone() + &tests;
        let long = code.clone() + "fn f() {}\n" + &tests;
        let found = offences(
            &FILE_LENGTH,
            &[("a/src/fine.rs", &fine), ("a/src/long.rs", &long)],
        );
        assert_eq!(found, ["a/src/long.rs:1 401 lines, of at most 400"]);
    }

    #[test]
    fn a_file_of_tests_has_1000() {
        let (fine, long) = ("fn f() {}\n".repeat(1000), "fn f() {}\n".repeat(1001));
        let found = offences(
            &FILE_LENGTH,
            &[("a/tests/fine.rs", &fine), ("a/tests/long.rs", &long)],
        );
        assert_eq!(found, ["a/tests/long.rs:1 1001 lines, of at most 1000"]);
    }

    #[test]
    fn a_comment_has_110_columns() {
        let wide = format!("    /// {}\n", "é word ".repeat(15));
        let fits = format!("    // {}\n", "é word".repeat(17));
        let link = format!("// https://{}\n", "x".repeat(120));
        let code = format!("const C: &str = \"{}\";\n", "a b ".repeat(40));
        let code = format!("{code}const D: &str = \"\n{wide}\";\n");
        let text = format!("{fits}{link}{code}{wide}{wide}fn f() {{}}\n");
        assert_eq!(
            offences(&COMMENT_WIDTH, &[("a.rs", &text)]),
            ["a.rs:7 a comment of 113 columns, of at most 110; 1 more in this file"]
        );
        assert!(offences(&COMMENT_WIDTH, &[("a.rs", &(fits + &link + &code))]).is_empty());
    }
}
