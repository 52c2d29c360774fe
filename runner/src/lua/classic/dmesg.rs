//! `dmesg` in the classic dialect: its pattern is grep's.
//!
//! Input: a basic regular expression, if any. Output: the lines of the kernel log that match. Not here:
//! reading the log.

use super::grep::Grep;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Answer;
use crate::lua::objects::dmesg::{lines, pattern, read, text};
use crate::lua::objects::remote::Remote;

/// `dmesg(pattern?)`, with a pattern of grep's.
pub(crate) fn dmesg<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let grep =
        match pattern(call)? {
            None => None,
            Some(pattern) => Some(Grep::new(&pattern.as_bytes()).map_err(|error| {
                call.fail(format_args!("pattern `{}`: {error}", pattern.to_string_lossy()))
            })?),
        };
    let log = read(call, this)?;
    let mut lines = lines(&log);
    if let Some(grep) = grep {
        lines.retain(|line| grep.matches(line));
    }
    text(call, &lines)
}
