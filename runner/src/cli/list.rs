//! `provium list`: the test files, one a line, or the fixtures.
//!
//! Input: paths. Output: the files' paths on stdout, those of fixtures behind their names. Not here: the
//! search (`discover`), and what the cache holds of fixtures (`fixture`).

use std::fmt::Write as _;
use std::path::PathBuf;

use provium_base::cause::Cause;
use provium_base::exit;
use provium_cache::{FixtureSource, Sources};

use super::args::ListArgs;
use super::print::print;
use super::project::Project;
use crate::discover::shown;

pub(super) fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let project = Project::load(&args.choose.project, &args.choose.paths)?;
    let text = match args.fixtures {
        true => fixtures(&project, &args.choose.paths)?,
        false => {
            let files = project.files(&args.choose.paths)?;
            files.iter().map(|file| format!("{}\n", file.shown)).collect()
        }
    };
    print(&text)?;
    Ok(exit::SUCCESS)
}

/// A line for each fixture whose source is one of `paths` or below one; for all of them without.
fn fixtures(project: &Project, paths: &[PathBuf]) -> anyhow::Result<String> {
    project.config.check_roots()?;
    let mut places = Vec::new();
    for path in paths {
        let place = std::fs::canonicalize(project.cwd.join(path));
        places.push(place.map_err(|error| anyhow::anyhow!("{}: {}", path.display(), Cause(&error)))?);
    }
    let sources = Sources::find(&project.config.project, &project.config.roots)?;
    let chosen = |source: &&FixtureSource| {
        let path = std::fs::canonicalize(&source.path).unwrap_or_else(|_| source.path.clone());
        places.is_empty() || places.iter().any(|place| path.starts_with(place))
    };
    let chosen: Vec<_> = sources.all().filter(chosen).collect();
    let width = chosen.iter().map(|source| source.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for source in chosen {
        let _ = writeln!(
            text,
            "{:width$}  {}",
            source.name,
            shown(&source.path, &project.cwd)
        );
    }
    Ok(text)
}
