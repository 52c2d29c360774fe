//! grep's basic regular expressions, by the C library's own matcher.
//!
//! Input: an expression as grep takes it. Output: whether a line matches. Not here: any other dialect of
//! regular expressions; Lua's patterns are Lua's.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// A compiled expression.
pub(crate) struct Grep(Box<libc::regex_t>);

impl Grep {
    /// Compiles a basic regular expression.
    ///
    /// # Errors
    /// A fault of the expression, in the C library's words.
    pub(crate) fn new(pattern: &[u8]) -> Result<Grep, String> {
        let pattern = CString::new(pattern).map_err(|_| "the pattern contains a NUL byte".to_owned())?;
        let mut regex = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: both pointers are valid for the call; regcomp fills the structure when it returns 0.
        let code = unsafe { libc::regcomp(regex.as_mut_ptr(), pattern.as_ptr(), libc::REG_NOSUB) };
        if code != 0 {
            let mut text = [0u8; 200];
            // SAFETY: regerror writes at most `text.len()` bytes and ends them with NUL; after a failure it
            // may be given the structure that failed.
            unsafe { libc::regerror(code, regex.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
            let message = CStr::from_bytes_until_nul(&text).unwrap_or_default();
            return Err(message.to_string_lossy().into_owned());
        }
        // SAFETY: regcomp has succeeded, so the structure is whole.
        Ok(Grep(unsafe { regex.assume_init() }))
    }

    /// Whether a line matches; of a line with a NUL byte, what is before it.
    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
        let Ok(line) = CString::new(&line[..end]) else {
            return false;
        };
        // SAFETY: the expression was compiled and is not freed yet; the line ends with NUL; no matches are
        // asked for.
        unsafe { libc::regexec(&raw const *self.0, line.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Grep {
    fn drop(&mut self) {
        // SAFETY: the expression was compiled, and nobody uses it after this.
        unsafe { libc::regfree(&raw mut *self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_basic_as_greps() {
        for (pattern, line, expected) in [
            ("kacs:", "[ 1.0] kacs: ready", true),
            ("kacs:", "[ 1.0] kac: ready", false),
            ("^\\[.*ready$", "[ 1.0] kacs: ready", true),
            // Plain in a basic expression, special with a backslash.
            ("a+b", "a+b", true),
            ("a+b", "aab", false),
            ("\\(ab\\)\\{2\\}", "xababx", true),
            ("one\\|two", "two", true),
            ("(x)", "(x)", true),
            ("a.c", "abc", true),
            ("", "anything", true),
            // A Lua pattern's escape means nothing here.
            ("%d", "7", false),
        ] {
            let grep = Grep::new(pattern.as_bytes()).expect(pattern);
            assert_eq!(grep.matches(line.as_bytes()), expected, "{pattern} on {line}");
        }
        for pattern in [&b"[a"[..], b"\\(", b"a\0b", b"*\\{3,1\\}"] {
            assert!(Grep::new(pattern).is_err_and(|message| !message.is_empty()));
        }
    }
}
