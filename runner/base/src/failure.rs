//! What is known of a failure: what was said, where it happened, what its guests showed.
//!
//! Input: what whoever runs a test saw. Output: a [`Failure`], plain data that results carry, so that a
//! report can say first what matters most. Not here: how any of it is shown, and what is kept in files
//! beside it.

use serde::{Deserialize, Serialize};

/// Lines of source that are shown before and behind the one in question.
const AROUND: u32 = 2;
/// Most characters of a line of source.
const LINE_MAX: usize = 160;

/// One failure, with all that a report needs to explain it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// What failed: a sentence, then lines with values.
    pub message: String,
    /// Where the file itself was.
    pub place: Option<SourcePlace>,
    /// Where the failing line is, if that is in another file: a helper's, or a fixture's source.
    pub helper: Option<SourcePlace>,
    /// What the kernels of its guests complained of, in the order they did.
    pub splats: Vec<GuestSplat>,
    /// What its guests' consoles have printed since the test began.
    pub consoles: Vec<GuestConsole>,
    /// The VMs that are dead.
    pub dead: Vec<DeadVm>,
    /// The folder with all that was kept of the failure, as reports name it.
    pub artifacts: Option<String>,
}

/// A line of a Lua file with those around it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlace {
    /// The file as reports name it.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The line and two on either side, without those that are not there; empty if the file could not be
    /// read.
    pub excerpt: Vec<SourceLine>,
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    /// Its number, from 1.
    pub line: u32,
    /// Its text without trailing blanks, at most 160 characters.
    pub text: String,
}

/// Something that a guest's kernel complained of: an oops, a warning, a panic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSplat {
    /// The VM.
    pub vm: String,
    /// Its kind in a word or two: `oops`, `warning`.
    pub kind: String,
    /// The line that says what it is, without time stamps.
    pub head: String,
    /// All of it as the console shows it.
    pub text: String,
}

/// What a guest's console printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConsole {
    /// The VM.
    pub vm: String,
    /// The end of the text since the test began, or since the VM's last boot, reset or restore.
    pub text: String,
}

/// A VM that died.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadVm {
    /// The VM.
    pub vm: String,
    /// Why, in a line.
    pub reason: String,
    /// The test of the same file whose failure has shown this already, if one has.
    pub during: Option<String>,
}

impl SourcePlace {
    /// The line of a file with this source.
    pub fn new(path: impl Into<String>, line: u32, source: &str) -> SourcePlace {
        let first = line.saturating_sub(AROUND).max(1);
        let lines = (first..).zip(source.lines().skip(first as usize - 1));
        let wanted = lines.take_while(|(number, _)| *number <= line.saturating_add(AROUND));
        let excerpt: Vec<SourceLine> = wanted
            .map(|(line, text)| SourceLine {
                line,
                text: text.trim_end().chars().take(LINE_MAX).collect(),
            })
            .collect();
        let is_there = excerpt.iter().any(|shown| shown.line == line);
        SourcePlace {
            path: path.into(),
            line,
            excerpt: if is_there { excerpt } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(line: u32, source: &str) -> Vec<u32> {
        let place = SourcePlace::new("a.test.lua", line, source);
        place.excerpt.iter().map(|line| line.line).collect()
    }

    #[test]
    fn an_excerpt_has_two_lines_around_as_far_as_they_are_there() {
        let source = "one\ntwo\nthree\nfour\nfive\nsix\n";
        assert_eq!(numbers(3, source), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(1, source), [1, 2, 3]);
        assert_eq!(numbers(6, source), [4, 5, 6]);
        assert_eq!(numbers(1, "x"), [1]);
        assert!(numbers(7, source).is_empty() && numbers(0, source).is_empty() && numbers(1, "").is_empty());
        assert!(numbers(u32::MAX, source).is_empty());
    }

    #[test]
    fn lines_of_an_excerpt_are_bounded() {
        let place = SourcePlace::new("a.test.lua", 1, &format!("{}\n", "ä".repeat(1000)));
        assert_eq!(place.excerpt[0].text.chars().count(), LINE_MAX);
    }

    #[test]
    fn a_failure_of_an_older_form_is_read() {
        let read: Failure = serde_json::from_str(r#"{"message": "no"}"#).expect("a failure");
        assert_eq!(read.message, "no");
        assert_eq!(read.place, None);
    }
}
