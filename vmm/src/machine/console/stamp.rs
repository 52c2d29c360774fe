//! The kernel's stamps on a console line, in every form that `kernel/printk/printk.c` writes them.
//!
//! Input: one line without its end. Output: what the line may say, as [`Reading`]s: its text behind the stamp
//! at its start, and behind each stamp further in, which a kernel writes after what a program left
//! unfinished. Not here: what the text means.
//!
//! A stamp is `<4>` where levels are shown, `[    1.800879]` where times are, `[    T1]` or `[    C0]` (the
//! task or the processor that prints) where callers are; each may be missing, and all of them.

/// Most bytes of a line that are looked at: the kernel's own have at most a thousand.
const MOST: usize = 4096;

/// Who has printed a line, as far as its stamp tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// Whether there is a stamp, so that it is the kernel.
    pub(super) stamped: bool,
    /// `T1` or `C0`.
    pub(super) caller: Option<String>,
}

/// One way to read a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading<'a> {
    pub(super) source: Source,
    /// Seconds since the kernel's start.
    pub(super) time: Option<f64>,
    /// What was printed, without the stamp.
    pub(super) text: &'a str,
    /// Bytes of the line before the stamp.
    pub(super) at: usize,
}

/// The ways to read a line: from its start, then behind each stamp further in.
pub(super) fn readings(line: &str) -> impl Iterator<Item = Reading<'_>> {
    let line = line.trim_end_matches(['\r', '\n']);
    let mut from = line.len().saturating_sub(MOST);
    while !line.is_char_boundary(from) {
        from += 1;
    }
    let start = (from == 0).then(|| read(line, 0, Place::Start).unwrap_or_else(|| unstamped(line)));
    // The first byte's bracket is the start's own.
    let brackets = line[from..].match_indices('[').map(move |(at, _)| from + at);
    let inside = brackets
        .filter(|at| *at > 0)
        .filter_map(|at| read(line, at, Place::Inside));
    start.into_iter().chain(inside)
}

fn unstamped(line: &str) -> Reading<'_> {
    Reading {
        source: Source::default(),
        time: None,
        text: line,
        at: 0,
    }
}

/// Where in a line a stamp is looked for.
#[derive(PartialEq)]
enum Place {
    Start,
    /// Behind other text, where only what a kernel writes to the letter is a stamp.
    Inside,
}

/// The reading behind a stamp that begins at byte `at`, if one does.
fn read(line: &str, at: usize, place: Place) -> Option<Reading<'_>> {
    let mut rest = &line[at..];
    if place == Place::Start {
        rest = without_level(rest);
    }
    let time = bracket(rest).and_then(|(inside, behind)| {
        let (seconds, fraction) = inside.trim_start_matches(' ').split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let exact = fraction.len() == 6 && inside.len() >= 12;
        (digits(seconds) && digits(fraction) && (exact || place == Place::Start)).then_some(())?;
        Some((inside.trim_start_matches(' ').parse::<f64>().ok()?, behind))
    });
    if let Some((_, behind)) = time {
        rest = behind;
    }
    let mut caller = None;
    loop {
        let next = rest.strip_prefix(' ').unwrap_or(rest);
        let Some((name, behind)) = bracket(next).filter(|(inside, _)| is_caller(inside)) else {
            break;
        };
        caller.get_or_insert_with(|| name.trim_start_matches(' ').to_owned());
        rest = behind;
    }
    let known = time.is_some() || (caller.is_some() && place == Place::Start);
    // A stamp ends with a blank; what is printed without text has none where somebody cut it off.
    let text = match rest.strip_prefix(' ') {
        Some(text) => text,
        None if rest.is_empty() => rest,
        None => return None,
    };
    known.then_some(Reading {
        source: Source {
            stamped: true,
            caller,
        },
        time: time.map(|(time, _)| time),
        text,
        at,
    })
}

/// The text without the `<4>` of its level.
fn without_level(text: &str) -> &str {
    let level = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match level {
        Some((level, rest))
            if (1..=3).contains(&level.len()) && level.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => text,
    }
}

/// What is in a bracket at the start of the text, and what is behind it.
fn bracket(text: &str) -> Option<(&str, &str)> {
    // No stamp is longer.
    let end = text.bytes().take(24).position(|byte| byte == b']')?;
    Some((text[..end].strip_prefix('[')?, &text[end + 1..]))
}

fn is_caller(inside: &str) -> bool {
    let name = inside.trim_start_matches(' ');
    let number = name.strip_prefix(['T', 'C']).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<(bool, Option<String>, &str)> {
        readings(line)
            .map(|reading| (reading.source.stamped, reading.source.caller, reading.text))
            .collect()
    }

    #[test]
    fn every_form_of_a_stamp_is_taken_off() {
        let kernel = |caller: Option<&str>| vec![(true, caller.map(str::to_owned), "text [x]")];
        for (line, caller) in [
            ("[    1.800879] text [x]", None),
            ("[12345.800879] text [x]\r\n", None),
            ("[    1.8] text [x]", None),
            ("[    1.800879][    T1] text [x]", Some("T1")),
            ("[    1.800879][T12345] text [x]", Some("T12345")),
            ("[    1.800879] [  C0] text [x]", Some("C0")),
            ("[  C0] text [x]", Some("C0")),
            ("<4>[    1.800879][    T1] text [x]", Some("T1")),
        ] {
            assert_eq!(texts(line)[..1], kernel(caller), "{line:?}");
        }
        assert_eq!(texts("[    1.800879] "), [(true, None, "")]);
        assert_eq!(texts("[    1.800879]"), [(true, None, "")]);
    }

    #[test]
    fn what_only_looks_like_a_stamp_is_text() {
        for line in [
            "[me] text",
            "[1] text",
            "[] text",
            "[ T] text",
            "[1.5]text",
            "[-1.5] text",
            "[1.5.2] text",
            "[    1.800879",
            "text",
            "",
            "<4>text",
        ] {
            assert_eq!(texts(line), [(false, None, line)], "{line:?}");
        }
    }

    #[test]
    fn a_stamp_behind_unfinished_text_counts_if_it_is_exact() {
        assert_eq!(
            texts("/ # [   12.345678][    T1] text"),
            [
                (false, None, "/ # [   12.345678][    T1] text"),
                (true, Some("T1".to_owned()), "text")
            ]
        );
        for line in [
            "took [1.5] text",
            "[x] [12.345] text",
            "a [  C0] text",
            "a[1.800879] b",
        ] {
            assert_eq!(texts(line).len(), 1, "{line:?}");
        }
    }

    #[test]
    fn a_very_long_line_is_looked_at_by_its_end() {
        let line = "ü".repeat(1 << 20) + "[    1.800879] text";
        assert_eq!(texts(&line), [(true, None, "text")]);
    }
}
