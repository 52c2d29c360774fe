//! `provium list`: the test files, one a line.
//!
//! Input: paths. Output: the files' paths on stdout. Not here: the search (`discover`).

use std::io::Write;

use provium_base::exit;

use super::args::ListArgs;
use super::project::Project;

pub(super) fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let project = Project::load(&args.choose)?;
    let mut text = String::new();
    for file in project.files(&args.choose)? {
        text.push_str(&file.shown);
        text.push('\n');
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(exit::SUCCESS)
}
