//! Causes of errors as messages say them: once, and without a number.
//!
//! Input: errors. Output: text. Not here: what failed; whoever tried says that before it.

use std::error::Error;
use std::fmt;
use std::io;

/// Shows what the system said without its number: `No such file or directory`.
#[derive(Debug)]
pub struct Cause<'a>(pub &'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_numbers(&self.0.to_string()))
    }
}

/// An error and its causes, each once: `cannot read a: No such file or directory`.
pub fn once(error: &(dyn Error + 'static)) -> String {
    let mut text = without_numbers(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let said = without_numbers(&cause.to_string());
        // Many errors show their causes themselves.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// The text without each ` (os error 2)`.
fn without_numbers(text: &str) -> String {
    const START: &str = " (os error ";
    let mut parts = text.split(START);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => plain.push_str(rest),
            _ => {
                plain.push_str(START);
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}: {source}")]
    struct Twice {
        what: &'static str,
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no run")]
    struct Quiet(#[source] Twice);

    #[test]
    fn a_cause_is_said_once_and_without_its_number() {
        let missing = || io::Error::from_raw_os_error(2);
        assert_eq!(Cause(&missing()).to_string(), "No such file or directory");
        assert_eq!(
            Cause(&io::Error::other("odd (os error x)")).to_string(),
            "odd (os error x)"
        );
        let twice = || Twice {
            what: "a",
            source: missing(),
        };
        assert_eq!(once(&twice()), "a: No such file or directory");
        assert_eq!(once(&Quiet(twice())), "no run: a: No such file or directory");
        assert_eq!(once(&missing()), "No such file or directory");
    }
}
