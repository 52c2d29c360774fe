//! `provium list`: the test files, one a line.

use std::io::Write;

use super::Project;
use super::args::ListArgs;

pub(super) fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let project = Project::load(&args.choose)?;
    let mut text = String::new();
    for file in project.files(&args.choose)? {
        text.push_str(&file.shown);
        text.push('\n');
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}
