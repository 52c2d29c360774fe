//! One line of KTAP or TAP: what it is, and in which column that begins.
//!
//! Input: a line as it was printed. Output: a [`Line`], or none if it means nothing; the parts of a result.
//! Not here: what lines are to each other.

use provium_base::outcome::TestStatus;

/// A line, as far as it means anything.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// `TAP version 14`, or KTAP's, where a plan may be missing.
    Version { needs_plan: bool },
    /// `1..N`, and why all is skipped.
    Plan { count: u64, skip: Option<&'a str> },
    /// `ok 1 - name # SKIP reason`
    Result {
        ok: bool,
        number: Option<u64>,
        rest: &'a str,
    },
    /// `Bail out! reason`
    BailOut(&'a str),
    /// `# Subtest: name`: what comes now is another's.
    Heading(&'a str),
    /// `# text`
    Diagnostic(&'a str),
}

/// The columns before a line's content, and what that is. Each `# ` before something that is no diagnostic is
/// two columns; a kernel's time stamp is none.
pub(super) fn classify(line: &str) -> Option<(usize, Line<'_>)> {
    let line = without_stamp(line.trim_end());
    let mut content = line.trim_start_matches(' ');
    let mut column = line.len() - content.len();
    let mut known = content_of(content, false)?;
    // `# ok 1 a` is a result of the level below; `# ok, then` is not.
    for _ in 0..super::DEPTH {
        let Line::Diagnostic(text) = known else { break };
        let inner = text.trim_start_matches(' ');
        let Some(below) = content_of(inner, true) else {
            break;
        };
        column += content.len() - inner.len();
        (content, known) = (inner, below);
    }
    Some((column, known))
}

/// A line of a kernel's log or console without what stands before its text.
fn without_stamp(line: &str) -> &str {
    let rest = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((level, rest)) if level.parse::<u16>().is_ok() => rest,
        _ => line,
    };
    let stamp = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match stamp {
        Some((stamp, rest)) if stamp.trim().parse::<f64>().is_ok() => rest.strip_prefix(' ').unwrap_or(rest),
        _ => line,
    }
}

/// What a line without its columns is; behind a `#` a result has a number.
fn content_of(text: &str, behind_hash: bool) -> Option<Line<'_>> {
    let number = |text: &str| text.parse::<u64>().ok();
    if let Some(version) = text.strip_prefix("KTAP version ").and_then(number) {
        return (version > 0).then_some(Line::Version { needs_plan: false });
    }
    if text.strip_prefix("TAP version ").and_then(number).is_some() {
        return Some(Line::Version { needs_plan: true });
    }
    if let Some(rest) = text.strip_prefix("1..") {
        let (count, comment) = rest.split_once('#').unwrap_or((rest, ""));
        let count = number(count.trim())?;
        let comment = comment.trim();
        let is_skip = comment
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("skip"));
        let skip = (is_skip && count == 0).then(|| comment[4..].trim());
        return Some(Line::Plan { count, skip });
    }
    if let Some(reason) = text.strip_prefix("Bail out!") {
        return Some(Line::BailOut(reason.trim()));
    }
    let result = match text.strip_prefix("not ok") {
        Some(rest) => Some((false, rest)),
        None => text.strip_prefix("ok").map(|rest| (true, rest)),
    };
    if let Some((ok, rest)) = result.filter(|(_, rest)| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        let rest = rest.trim_start();
        let word = rest.split([' ', '\t']).next().unwrap_or_default();
        let (number, rest) = match number(word) {
            Some(number) => (Some(number), rest[word.len()..].trim_start()),
            None => (None, rest),
        };
        return (number.is_some() || !behind_hash).then_some(Line::Result { ok, number, rest });
    }
    let comment = text.strip_prefix('#')?;
    let text = comment.trim();
    match text.strip_prefix("Subtest: ") {
        Some(name) => Some(Line::Heading(name.trim())),
        // What the kernel's kselftest runner says before it runs a program.
        None if text.starts_with("selftests: ") => Some(Line::Heading(text)),
        None => Some(Line::Diagnostic(comment)),
    }
}

/// What can stand behind the `#` of a result.
const DIRECTIVES: [&str; 6] = ["SKIP", "SKIPPED", "XFAIL", "TODO", "TIMEOUT", "ERROR"];

fn first_word(text: &str) -> &str {
    text.split([' ', '\t', ':']).next().unwrap_or_default()
}

/// The description and the directive of a result, `\#` and `\\` taken for what they stand for.
pub(super) fn description(ok: bool, rest: &str) -> (String, Option<&str>) {
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '#' if !escaped && (at == 0 || rest[..at].ends_with([' ', '\t'])) => {
                let directive = rest[at + 1..].trim();
                // Anything else behind a `#` is a part of the name, unless it may explain a failure.
                if !ok || DIRECTIVES.contains(&first_word(directive).to_ascii_uppercase().as_str()) {
                    return (name.trim().to_owned(), Some(directive));
                }
                name.push(c);
            }
            c => {
                if escaped && !matches!(c, '#' | '\\') {
                    name.push('\\');
                }
                name.push(c);
                escaped = false;
            }
        }
    }
    (name.trim().to_owned(), None)
}

/// What a directive makes of a result, and what it says.
pub(super) fn directive(ok: bool, text: Option<&str>) -> (TestStatus, Option<String>) {
    let plain = if ok {
        TestStatus::Passed
    } else {
        TestStatus::Failed
    };
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return (plain, None);
    };
    let word = first_word(text);
    let said = text[word.len()..].trim_start_matches([' ', '\t', ':']);
    let reason = (!said.is_empty()).then(|| said.to_owned());
    match word.to_ascii_uppercase().as_str() {
        "SKIP" | "SKIPPED" => (TestStatus::Skipped, reason),
        "XFAIL" => (TestStatus::Xfailed, reason),
        "TODO" if !ok => (TestStatus::Xfailed, reason),
        // TAP counts it as passed.
        "TODO" => (TestStatus::Passed, None),
        "TIMEOUT" | "ERROR" => (TestStatus::Failed, Some(text.to_owned())),
        _ => (plain, (!ok).then(|| text.to_owned())),
    }
}
