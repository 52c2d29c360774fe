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
/// must not steer the user's terminal.
pub(super) fn clean(text: &str) -> String {
    let stripped = anstream::adapter::strip_str(text).to_string();
    let mut out = String::with_capacity(stripped.len());
    for c in stripped.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
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
