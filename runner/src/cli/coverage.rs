//! `provium coverage`: what a saved event stream says of the ids of a specification.
//!
//! Input: the stream, a key, perhaps a list of ids. Output: text or JSON on stdout, or a page. Not here:
//! counting.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use provium_base::exit;

use super::args::CoverageArgs;
use super::print::print;
use crate::report::{ReportFile, coverage};

pub(super) fn coverage(args: &CoverageArgs) -> anyhow::Result<u8> {
    let shown = args.from.display();
    let read = match args.from == Path::new("-") {
        true => coverage::read(io::stdin().lock()),
        false => File::open(&args.from)
            .map_err(coverage::ReadError::from)
            .and_then(|file| coverage::read(BufReader::new(file))),
    };
    let coverage = read.map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    let expected = args.expect.as_deref().map(ids).transpose()?;
    let buckets = coverage.by(&args.by, expected.as_deref());
    if let Some(path) = &args.html {
        let page = ReportFile::new(path.clone())?;
        page.write(buckets.html().as_bytes());
        page.check()?;
    } else if args.json {
        print(&buckets.json())?;
    } else {
        print(&buckets.text())?;
    }
    Ok(exit::SUCCESS)
}

/// The ids in a file: one a line; a line that begins with `#` is none.
fn ids(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let lines = text.lines().map(str::trim);
    let ids = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(ids.map(str::to_owned).collect())
}
