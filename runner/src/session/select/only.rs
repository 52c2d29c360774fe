//! One test of a file, as the command line names it: `FILE::TEST` or `FILE:LINE`.
//!
//! Input: an argument. Output: the file's path and an [`Only`]. Not here: looking for the file.

use std::fmt;
use std::path::{Path, PathBuf};

use provium_base::nearest::nearest;

use crate::session::progress::Found;

/// Which test of a file is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// That of this name.
    Test(String),
    /// Each whose `test(…)` call is at this line or goes on there.
    Line(u32),
}

impl Only {
    /// Whether a test of that name, at these lines, is meant.
    pub fn is(&self, name: &str, lines: Option<(u32, u32)>) -> bool {
        match self {
            Only::Test(test) => test == name,
            Only::Line(line) => lines.is_some_and(|(first, last)| (first..=last).contains(line)),
        }
    }

    /// The message that none of the tests of the file `shown` is meant, if none is.
    pub fn missing_from(&self, shown: &str, tests: &[Found]) -> Option<String> {
        if tests.iter().any(|test| self.is(&test.name, test.lines)) {
            return None;
        }
        if tests.is_empty() {
            return Some(format!("{shown}{self}: {shown} has no test"));
        }
        Some(match self {
            Only::Test(name) => match nearest(name, tests.iter().map(|test| test.name.as_str())) {
                Some(near) => format!("{shown} has no test `{name}`; did you mean `{near}`?"),
                None => format!("{shown} has no test `{name}`; `provium list {shown}` shows what it has"),
            },
            Only::Line(line) => {
                let away =
                    |(first, last): (u32, u32)| first.saturating_sub(*line).max(line.saturating_sub(last));
                let placed = tests.iter().filter_map(|test| Some((test, test.lines?)));
                match placed.min_by_key(|(_, lines)| away(*lines)) {
                    Some((test, (first, last))) => format!(
                        "{shown}:{line} is in no test; the nearest, `{}`, is at lines {first} to {last}",
                        test.name
                    ),
                    None => format!("{shown}:{line} is in no test"),
                }
            }
        })
    }
}

/// As it stands behind the file's name.
impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Only::Test(test) => write!(f, "::{test}"),
            Only::Line(line) => write!(f, ":{line}"),
        }
    }
}

/// The path of an argument, and the test that it names there. What is there as it is written is a path,
/// whatever is in its name.
pub fn split(argument: &Path, cwd: &Path) -> (PathBuf, Option<Only>) {
    let whole = (argument.to_owned(), None);
    let Some(text) = argument.to_str().filter(|_| !cwd.join(argument).exists()) else {
        return whole;
    };
    // Where a file's name ends is plainer than a colon, which names of tests and files have as well.
    let colon = match text.find(".lua:") {
        Some(at) => at + ".lua".len(),
        None => return whole,
    };
    let (file, rest) = text.split_at(colon);
    let only = match rest.strip_prefix("::") {
        Some(test) if !test.is_empty() => Some(Only::Test(test.to_owned())),
        Some(_) => None,
        None => rest[1..].parse().ok().filter(|line| *line > 0).map(Only::Line),
    };
    match only {
        Some(only) => (PathBuf::from(file), Some(only)),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_stands_behind_its_file() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("odd.lua:3"), "").expect("a file");
        let of = |text: &str| {
            let (path, only) = split(Path::new(text), dir.path());
            let only = only.map(|only| only.to_string()).unwrap_or_default();
            (path.display().to_string(), only)
        };
        for (text, path, only) in [
            ("a.test.lua", "a.test.lua", ""),
            ("a.test.lua:12", "a.test.lua", ":12"),
            (
                "t/a.test.lua::boots: twice::x",
                "t/a.test.lua",
                "::boots: twice::x",
            ),
            ("a.test.lua:0", "a.test.lua:0", ""),
            ("a.test.lua:x", "a.test.lua:x", ""),
            ("a.test.lua::", "a.test.lua::", ""),
            ("odd.lua:3", "odd.lua:3", ""),
            ("tests", "tests", ""),
        ] {
            assert_eq!(of(text), (path.to_owned(), only.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_names_no_test_is_told_the_nearest() {
        let test = |name: &str, lines| Found {
            lines: Some(lines),
            ..Found::named(name)
        };
        let tests = [test("boots", (3, 7)), test("pings", (10, 12))];
        let said = |only: Only| only.missing_from("a.test.lua", &tests);
        assert_eq!(said(Only::Line(7)), None);
        assert_eq!(said(Only::Test("pings".into())), None);
        assert_eq!(
            said(Only::Line(9)).as_deref(),
            Some("a.test.lua:9 is in no test; the nearest, `pings`, is at lines 10 to 12")
        );
        assert_eq!(
            said(Only::Test("boot".into())).as_deref(),
            Some("a.test.lua has no test `boot`; did you mean `boots`?")
        );
    }

    #[test]
    fn a_line_is_in_the_test_that_goes_on_there() {
        let is = |line, lines| Only::Line(line).is("x", lines);
        assert!(is(3, Some((3, 3))) && is(4, Some((3, 5))) && is(5, Some((3, 5))));
        assert!(!is(2, Some((3, 5))) && !is(6, Some((3, 5))) && !is(3, None));
    }
}
