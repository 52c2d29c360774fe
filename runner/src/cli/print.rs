//! What a command says on stdout and stderr, besides reports.
//!
//! Input: text. Output: the text on the stream; nothing where nobody is left to read it. Not here: reports of
//! runs.

use std::io::{self, ErrorKind, Write};

/// Writes text to stdout, and nothing more once its reader has gone, as `head` does.
///
/// # Errors
/// The system's, for any other reason.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    to(&mut io::stdout(), text)
}

/// The same, with the text's colours where they are wanted.
///
/// # Errors
/// Those of [`print`].
pub(super) fn print_coloured(text: &str) -> anyhow::Result<()> {
    to(&mut anstream::stdout(), text)
}

fn to(stream: &mut dyn Write, text: &str) -> anyhow::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("writing to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr; a terminal that has gone away is no reason to panic.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A text as part of a line: control characters, which a name may have, are shown and not obeyed.
pub(super) fn in_line(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}
