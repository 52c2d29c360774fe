//! Text for people: colours that can be off, guests' output made harmless.
//!
//! Input: text, a guest's among it. Output: text that is safe on a terminal. Not here: sizes and durations,
//! which `provium_base::units` shows.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    pub(super) fn green(self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default().bold(), text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// The text without escape sequences and with other control characters made visible: what a guest printed
/// must not steer the user's terminal, nor the runner of a CI job. A sequence ends with its line at the
/// latest.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let stripped = anstream::adapter::strip_str(line.trim_end_matches('\n')).to_string();
        let mut shown = String::with_capacity(stripped.len());
        for c in stripped.chars() {
            match c {
                '\t' => shown.push(c),
                '\r' => {}
                c if c.is_control() || turns_text_around(c) => shown.extend(c.escape_default()),
                c => shown.push(c),
            }
        }
        out.push_str(&without_commands(shown));
        out.push_str(end);
    }
    out
}

/// Whether what is behind it would be shown in another direction, and so seem to be something else.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line in which no runner of a CI job finds a command: `::error` at its beginning, `##[error]` and
/// `##vso[…]` anywhere.
pub(super) fn without_commands(line: String) -> String {
    let mut line = line;
    if line.trim_start().starts_with("::") {
        line = line.replacen("::", ": :", 1);
    }
    match line.contains("##") {
        true => line.replace("##[", "# #[").replace("##vso[", "# #vso["),
        false => line,
    }
}

/// The text, its middle left out when it has more than `most` characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let (head, tail) = (most * 2 / 3, most / 3);
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    format!(
        "{} …({} characters)… {}",
        &text[..at(head)],
        length - head - tail,
        &text[at(length - tail)..]
    )
}

/// The lines, those in the middle left out when there are more than `most`: `head` of them stay at the
/// beginning.
pub(super) fn shorten_lines(lines: Vec<String>, most: usize, head: usize) -> Vec<String> {
    let Some(left_out) = lines.len().checked_sub(most).filter(|more| *more > 0) else {
        return lines;
    };
    // The note takes the place of a line.
    let (tail, left_out) = (most - head - 1, left_out + 1);
    let mut kept: Vec<String> = lines[..head].to_vec();
    kept.push(format!("… {left_out} lines …"));
    kept.extend_from_slice(&lines[lines.len() - tail..]);
    kept
}

/// Adds each line of `text`, cleaned, behind `prefix`.
pub(super) fn indent(out: &mut String, prefix: &str, text: &str) {
    for line in clean(text).trim_end().lines() {
        let _ = writeln!(out, "{}", format!("{prefix}{line}").trim_end());
    }
}

/// One line of a text that may have several.
pub(super) fn first_line(text: &str) -> String {
    clean(text).lines().next().unwrap_or_default().to_owned()
}

/// At most the last `most` bytes of a text, from the start of a line where one begins in there.
pub(super) fn last_bytes(text: &str, most: usize) -> &str {
    let Some(from) = text.len().checked_sub(most).filter(|from| *from > 0) else {
        return text;
    };
    let from = (from..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    match text[from..].find('\n') {
        Some(newline) if !text[..from].ends_with('\n') => &text[from + newline + 1..],
        _ => &text[from..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_without_end_ends_with_its_line() {
        assert_eq!(
            clean("before \u{1b}]0;title\nafter\r\n\u{1b}Pdcs\n\u{1b}_apc\nmore"),
            "before \nafter\n\n\nmore"
        );
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\u{7}\u{85}"), "red\\u{85}");
    }

    #[test]
    fn nothing_that_a_guest_prints_is_a_command_to_a_ci_runner() {
        assert_eq!(
            clean("::error file=x::y\n  ::stop-commands::z\na ##[error]b\n##vso[task]\na::b ## c"),
            ": :error file=x::y\n  : :stop-commands::z\na # #[error]b\n# #vso[task]\na::b ## c"
        );
        // A sequence that is stripped leaves no command behind.
        assert_eq!(
            clean("\u{1b}[0m::error::x\n#\u{1b}[0m#[error]"),
            ": :error::x\n# #[error]"
        );
    }

    #[test]
    fn what_is_long_loses_its_middle() {
        assert_eq!(shorten("abcdefghij", 6), "abcd …(4 characters)… ij");
        assert_eq!(shorten("äöüß", 4), "äöüß");
        let lines: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        assert_eq!(
            shorten_lines(lines.clone(), 4, 1),
            ["1", "… 7 lines …", "9", "10"]
        );
        assert_eq!(shorten_lines(lines.clone(), 10, 1), lines);
        assert_eq!(last_bytes("one\ntwo\nthree", 9), "two\nthree");
        assert_eq!(last_bytes("one\ntwo\nthree", 8), "three");
        assert_eq!(last_bytes("äb", 2), "b");
    }
}
