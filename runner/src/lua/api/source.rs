//! Lua source text, taken as Lua's own loader takes it.
//!
//! Input: the bytes of a file. Output: a function, with line numbers that are the file's; or the syntax
//! error. A UTF-8 byte-order mark and a first line that begins with `#` are passed over, and bytes that are
//! no UTF-8 are bytes. Not here: Lua bytecode, which is refused, since a wrong byte of it can bring the
//! process down.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

/// A UTF-8 byte-order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// First byte of Lua's bytecode.
const BYTECODE: u8 = 0x1b;
/// What is said of bytecode.
pub(crate) const NO_BYTECODE: &str = "it is Lua bytecode, which is not run; give the source text";

/// The bytes of a Lua file, without a byte-order mark.
pub(crate) struct Source(Vec<u8>);

impl Source {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> io::Result<Source> {
        std::fs::read(path).map(Source::new)
    }

    /// A file of these bytes.
    pub(crate) fn new(mut bytes: Vec<u8>) -> Source {
        if bytes.starts_with(MARK) {
            bytes.drain(..MARK.len());
        }
        Source(bytes)
    }

    /// Its text as messages quote it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The function that its code is; the error is a syntax error's message, with its place.
    pub(crate) fn function(&self, lua: &Lua, chunk_name: &str) -> Result<Function, String> {
        let code = self.code();
        if code.first() == Some(&BYTECODE) {
            return Err(format!(
                "{}: {NO_BYTECODE}",
                chunk_name.trim_start_matches(['@', '='])
            ));
        }
        let chunk = lua.load(code).set_name(chunk_name).set_mode(ChunkMode::Text);
        chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            error => error.to_string(),
        })
    }

    /// What Lua compiles: from the end of the first line on if that begins with `#`, so that lines keep their
    /// numbers.
    fn code(&self) -> &[u8] {
        match self.0.first() {
            Some(b'#') => {
                let end = self.0.iter().position(|byte| *byte == b'\n');
                let code = &self.0[end.unwrap_or(self.0.len())..];
                match code {
                    // Lua's own loader looks for bytecode behind such a line, too.
                    [b'\n', BYTECODE, ..] => &code[1..],
                    code => code,
                }
            }
            _ => &self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_and_a_mark_are_passed_over_and_lines_keep_their_numbers() {
        let lua = Lua::new();
        for (bytes, expected) in [
            (&b"return 7"[..], Ok("7")),
            (b"#!/usr/bin/env provium\nreturn 7", Ok("7")),
            (b"\xef\xbb\xbf#!x\nreturn 7", Ok("7")),
            (b"\xef\xbb\xbfreturn 7", Ok("7")),
            (b"# only this", Ok("nil")),
            (b"", Ok("nil")),
            (b"return '\xff' == '\\255' -- \xfe", Ok("true")),
            (b"#!x\n\nretrun 7", Err("a.lua:3: syntax error near '7'")),
            (b"#!x\n#!y", Err("a.lua:2: unexpected symbol near '#'")),
            (
                b"\x1bLua",
                Err("a.lua: it is Lua bytecode, which is not run; give the source text"),
            ),
            (
                b"#!x\n\x1bLua",
                Err("a.lua: it is Lua bytecode, which is not run; give the source text"),
            ),
        ] {
            let source = Source::new(bytes.to_vec());
            let ran = source.function(&lua, "@a.lua").map(|function| {
                let value: mlua::Value = function.call(()).expect("it runs");
                value.to_string().expect("a text")
            });
            assert_eq!(
                ran.as_deref().map_err(String::as_str),
                expected,
                "{:?}",
                source.text()
            );
        }
    }
}
