//! The lines of a live view on a terminal: what to write so that they are there, and gone.
//!
//! Input: lines, the terminal's size as far as it is known. Output: bytes with escape sequences. Not here:
//! what the lines say.
//!
//! Between two frames the cursor stands on the view's first character. A terminal that becomes narrower
//! breaks lines that are too long for it, and some tell of their new size only later; but the cursor stays
//! with the character it is on, and so the view is always all that is behind it.

/// What a terminal shows of the view.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    lines: Vec<String>,
    size: Option<(u16, u16)>,
}

/// Begins and ends a change that the terminal shows as one (DEC mode 2026, which others pass over), in which
/// a line that is too long loses its end (DECAWM).
const BEGIN: &str = "\x1b[?2026h\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?2026l";

impl Drawn {
    /// Takes the view off.
    pub(super) fn clear(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.lines).is_empty() {
            true => Vec::new(),
            false => b"\r\x1b[J".to_vec(),
        }
    }

    /// Puts these lines in the place of those that are there.
    pub(super) fn replace(&mut self, lines: Vec<String>, size: Option<(u16, u16)>) -> Vec<u8> {
        if lines.is_empty() {
            return self.clear();
        }
        let resized = size != self.size;
        if lines == self.lines && !resized {
            return Vec::new();
        }
        // Else each line is drawn over the one that is there, which flickers less.
        let start = if resized { "\r\x1b[J" } else { "\r" };
        let shown = lines.join("\x1b[K\r\n");
        let back = match lines.len() - 1 {
            0 => "\r".to_owned(),
            up => format!("\r\x1b[{up}A"),
        };
        (self.lines, self.size) = (lines, size);
        format!("{BEGIN}{start}{shown}\x1b[K\x1b[J{back}{END}").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    /// The bytes with `^` for escape, without what begins and ends each frame.
    fn text(bytes: Vec<u8>) -> String {
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.replace(BEGIN, "").replace(END, "").replace('\x1b', "^")
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_and_a_clear_leaves_nothing() {
        let (mut drawn, size) = (Drawn::default(), Some((80, 24)));
        assert_eq!(text(drawn.clear()), "");
        assert_eq!(
            text(drawn.replace(lines(&["a", "b", "c"]), size)),
            "\r^[Ja^[K\r\nb^[K\r\nc^[K^[J\r^[2A"
        );
        assert_eq!(
            text(drawn.replace(lines(&["a", "b", "c"]), size)),
            "",
            "nothing has changed"
        );
        assert_eq!(
            text(drawn.replace(lines(&["d", "e"]), size)),
            "\rd^[K\r\ne^[K^[J\r^[1A"
        );
        assert_eq!(
            text(drawn.replace(lines(&["d"]), Some((70, 24)))),
            "\r^[Jd^[K^[J\r"
        );
        assert_eq!(text(drawn.clear()), "\r^[J");
        assert_eq!(text(drawn.clear()), "");
        assert_eq!(text(drawn.replace(lines(&[]), size)), "");
    }
}
