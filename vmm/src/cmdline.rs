//! A kernel command line, read as the kernel itself reads it.
//!
//! Input: the text. Output: its words, those for the kernel apart from those for init, each with its name and
//! its value. Not here: what any word means.
//!
//! The rules are those of `next_arg` and `parse_args` in the kernel (`lib/cmdline.c`, `kernel/params.c`):
//! words end at blanks outside of double quotes; quotes around a whole word or around a value do not belong
//! to it; a word `--` ends what the kernel reads, and what follows is init's.

use std::fmt;

/// A command line in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The words that the kernel reads.
    pub kernel: Vec<Word>,
    /// The words behind `--`; `None` when there is no `--`.
    pub init: Option<Vec<Word>>,
}

/// One word of a command line, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl CommandLine {
    /// Splits a command line into its words.
    pub fn parse(text: &str) -> CommandLine {
        let mut kernel: Vec<Word> = words(text).collect();
        let end = kernel.iter().position(Word::ends_kernel);
        let init = end.map(|end| kernel.split_off(end + 1));
        kernel.truncate(end.unwrap_or(kernel.len()));
        CommandLine { kernel, init }
    }

    /// Whether the kernel is given `name=value`.
    pub fn has(&self, name: &str, value: &str) -> bool {
        let mut kernel = self.kernel.iter();
        kernel.any(|word| word.name_and_value() == (name, Some(value)))
    }

    /// Adds a word behind the kernel's others.
    pub fn push(&mut self, word: String) {
        self.kernel.push(Word(word));
    }
}

/// The words with a blank between each two.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.kernel.iter().map(Word::as_str);
        let end = self.init.as_ref().map(|_| "--");
        let init = self.init.iter().flatten().map(Word::as_str);
        for (index, word) in kernel.chain(end).chain(init).enumerate() {
            write!(f, "{}{word}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Word {
    /// The word as it is written, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, and the value if there is a `=`, without the quotes around the word or the value.
    pub fn name_and_value(&self) -> (&str, Option<&str>) {
        let (word, quoted) = match self.0.strip_prefix('"') {
            Some(word) => (word, true),
            None => (&*self.0, false),
        };
        let unclosed = |text: &str| text.strip_suffix('"').unwrap_or(text).len();
        // A `=` that begins the word is no sign of a value.
        let equals = word
            .bytes()
            .skip(1)
            .position(|byte| byte == b'=')
            .map(|at| at + 1);
        let Some(equals) = equals else {
            let len = if quoted { unclosed(word) } else { word.len() };
            return (&word[..len], None);
        };
        let (name, value) = (&word[..equals], &word[equals + 1..]);
        let value = match value.strip_prefix('"') {
            Some(value) => &value[..unclosed(value)],
            None if quoted => &value[..unclosed(value)],
            None => value,
        };
        (name, Some(value))
    }

    fn ends_kernel(&self) -> bool {
        self.name_and_value() == ("--", None)
    }
}

fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut quoted = false;
    let split = text.split(move |c: char| {
        quoted ^= c == '"';
        is_blank(c) && !quoted
    });
    split
        .filter(|word| !word.is_empty())
        .map(|word| Word(word.to_owned()))
}

/// What the kernel's `isspace` takes for a blank, of ASCII.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, Option<String>)> {
        let words = CommandLine::parse(text).kernel;
        let own = |word: &Word| {
            let (name, value) = word.name_and_value();
            (name.to_owned(), value.map(str::to_owned))
        };
        words.iter().map(own).collect()
    }

    #[test]
    fn words_have_the_names_and_values_that_the_kernel_sees() {
        type Named<'a> = (&'a str, Option<&'a str>);
        let cases: [(&str, &[Named]); 11] = [
            ("", &[]),
            (" \t\n\x0b quiet ", &[("quiet", None)]),
            ("a=b  c=", &[("a", Some("b")), ("c", Some(""))]),
            (r#"a="x y" b"#, &[("a", Some("x y")), ("b", None)]),
            (r#""a=x y" b"#, &[("a", Some("x y")), ("b", None)]),
            (r#""a b""#, &[("a b", None)]),
            (r#"a="x"#, &[("a", Some("x"))]),
            (r#"a="#, &[("a", Some(""))]),
            (r#"a="" b=""#, &[("a", Some("")), ("b", Some(""))]),
            (r#"a=x"y z"w"#, &[("a", Some(r#"x"y z"w"#))]),
            ("=a =b=c", &[("=a", None), ("=b", Some("c"))]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
                .collect();
            assert_eq!(names(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_inits() {
        for (text, kernel, init) in [
            ("a b", 2, None),
            ("a --", 1, Some(0)),
            ("-- a", 0, Some(1)),
            ("a -- b -- c", 1, Some(3)),
            (r#"a="x -- y" b"#, 2, None),
            (r#"a "--" b"#, 1, Some(1)),
            ("a --=b --c", 3, None),
        ] {
            let line = CommandLine::parse(text);
            let found = (line.kernel.len(), line.init.as_ref().map(Vec::len));
            assert_eq!(found, (kernel, init), "{text:?}");
        }
    }

    #[test]
    fn words_are_written_as_they_were_and_added_before_inits() {
        let mut line = CommandLine::parse("  a=\"x  -- y\"\tb -- rest  of it");
        assert_eq!(line.to_string(), "a=\"x  -- y\" b -- rest of it");
        line.push("new".to_owned());
        assert_eq!(line.to_string(), "a=\"x  -- y\" b new -- rest of it");
        assert_eq!(CommandLine::parse("").to_string(), "");
        assert_eq!(CommandLine::parse("--").to_string(), "--");
    }

    #[test]
    fn a_value_is_found_however_it_is_quoted_and_not_behind_the_dashes() {
        for (text, found) in [
            ("acpi=off", true),
            ("quiet \"acpi=off\"", true),
            ("acpi=\"off\"", true),
            ("-- acpi=off", false),
            ("a=\"acpi=off\"", false),
            ("a=\"x acpi=off\"", false),
            ("acpi=offer", false),
            ("acpi", false),
        ] {
            assert_eq!(CommandLine::parse(text).has("acpi", "off"), found, "{text:?}");
        }
    }
}
