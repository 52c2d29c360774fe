//! Tokens of Lua source, for those who read it without running it.
//!
//! Input: text. Output: [`Token`]s. Not here: what they say, which `scan` and `uses` look for; escapes of
//! strings that stand for more than one character.

/// A token of Lua.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// The content of a string in quotes or long brackets.
    Text(String),
    /// A number that begins with a digit, up to the first character that no name has.
    Number(&'a str),
    /// Any other character.
    Sign(char),
}

/// The tokens of a source, comments left out (Lua 5.4 manual, section 3.1). What is no Lua gives some tokens
/// or others; a string that is not closed goes up to the end of its line.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if let Some((text, behind)) = long_bracket(rest) {
            tokens.push(Token::Text(text.to_owned()));
            rest = behind;
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = match long_bracket(comment) {
                Some((_, behind)) => behind,
                None => comment.find('\n').map_or("", |end| &comment[end..]),
            };
        } else if matches!(first, '"' | '\'') {
            let (text, behind) = quoted(&rest[1..], first);
            tokens.push(Token::Text(text));
            rest = behind;
        } else {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            match length {
                0 => {
                    if !first.is_whitespace() {
                        tokens.push(Token::Sign(first));
                    }
                    rest = &rest[first.len_utf8()..];
                }
                _ => {
                    let word = &rest[..length];
                    tokens.push(match first.is_ascii_digit() {
                        true => Token::Number(word),
                        false => Token::Name(word),
                    });
                    rest = &rest[length..];
                }
            }
        }
    }
    tokens
}

/// `[[text]]`, `[=[text]=]`, and what is behind it.
fn long_bracket(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let level = inner.len() - inner.trim_start_matches('=').len();
    let inner = inner[level..].strip_prefix('[')?;
    let end = format!("]{}]", "=".repeat(level));
    Some(inner.split_once(&end).unwrap_or((inner, "")))
}

/// A string up to its quote, and what is behind it. Of the escapes only those of single characters are
/// taken for what they stand for.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return (out, &text[at + c.len_utf8()..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c)) => out.push(c),
                None => {}
            },
            '\n' => return (out, &text[at..]),
            c => out.push(c),
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_names_and_signs_are_told_apart_and_comments_left_out() {
        let text = |text: &str| Token::Text(text.to_owned());
        let cases: [(&str, Vec<Token<'_>>); 5] = [
            ("a_1 = 'x'", vec![Token::Name("a_1"), Token::Sign('='), text("x")]),
            (
                "f[[b.lua]] -- 'no'\n2",
                vec![Token::Name("f"), text("b.lua"), Token::Number("2")],
            ),
            ("--[[ 'z'\n ]] \"w\"", vec![text("w")]),
            ("[==[ ]] ]==] 'open", vec![text(" ]] "), text("open")]),
            ("'it\\'s'", vec![text("it's")]),
        ];
        for (source, expected) in cases {
            assert_eq!(tokens(source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_no_lua_ends() {
        for source in [
            "'", "\"\\", "[[", "--[==[", "test(", "test('", "tags = {", "claim {", "ä]]=", "\\",
        ] {
            tokens(source);
        }
    }
}
