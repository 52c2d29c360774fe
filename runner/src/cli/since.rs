//! `--since`: the test files that have changed, or that use what has.
//!
//! Input: a file or a revision of Git, test files. Output: those of the files that something new is part of.
//! Not here: what a file uses (`uses`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use provium_base::cause::Cause;
use provium_base::walk::is_searched;
use provium_cache::Sources;
use walkdir::WalkDir;

use super::project::Project;
use crate::discover::{SUFFIX, TestFile};
use crate::uses::Uses;

/// Those of the files that have changed since then, or use something that has.
pub(super) fn changed(project: &Project, since: &str, files: Vec<TestFile>) -> anyhow::Result<Vec<TestFile>> {
    let new = New::since(&project.cwd, &project.config.project, since)?;
    let config = &project.config;
    let guests = config.profiles.values().flat_map(|profile| {
        let guest = &profile.guest;
        [Some(&guest.kernel), guest.initrd.as_ref(), guest.rootfs.as_ref()]
    });
    // What every test may boot.
    if config
        .file
        .iter()
        .chain(guests.flatten())
        .any(|path| new.has(path))
    {
        return Ok(files);
    }
    let sources = Sources::find(&config.project, &config.roots)?;
    let uses = Uses::new(&config.project, &config.roots, &sources);
    let any_helper = config.roots.iter().any(|root| has_new_helper(&new, root));
    let is_changed = |file: &TestFile| {
        let used = uses.of(&file.path);
        used.files.iter().any(|path| new.has(path)) || used.computed && any_helper
    };
    Ok(files.into_iter().filter(is_changed).collect())
}

/// Whether a Lua file below the root that is no test has changed.
fn has_new_helper(new: &New, root: &Path) -> bool {
    let entries = WalkDir::new(root).into_iter().filter_entry(is_searched).flatten();
    let is_helper = |path: &Path| {
        let name = path.as_os_str().as_bytes();
        name.ends_with(b".lua") && !name.ends_with(SUFFIX.as_bytes())
    };
    let mut helpers = entries.filter(|entry| entry.file_type().is_file() && is_helper(entry.path()));
    helpers.any(|entry| new.has(entry.path()))
}

/// What is new.
enum New {
    /// What was written later.
    Than(SystemTime),
    /// These files, by their real paths.
    Files(BTreeSet<PathBuf>),
}

impl New {
    fn since(cwd: &Path, project: &Path, since: &str) -> anyhow::Result<New> {
        let file = cwd.join(since);
        match file.metadata() {
            Ok(metadata) => Ok(New::Than(metadata.modified()?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(New::Files(in_git(project, since)?))
            }
            Err(error) => anyhow::bail!("--since {since}: {}", Cause(&error)),
        }
    }

    /// Whether a file, or something in a folder, is new.
    fn has(&self, path: &Path) -> bool {
        match self {
            New::Than(time) => {
                let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
                let mut below = WalkDir::new(path).into_iter().flatten();
                below.any(|entry| modified(entry.path()).is_some_and(|modified| modified > *time))
            }
            New::Files(files) => {
                let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                files.contains(&real)
                    || files
                        .range(real.clone()..)
                        .next()
                        .is_some_and(|file| file.starts_with(&real))
            }
        }
    }
}

/// The files that differ from the revision, those that Git does not know yet among them.
fn in_git(project: &Path, revision: &str) -> anyhow::Result<BTreeSet<PathBuf>> {
    let git = |folder: &Path, args: &[&str]| -> anyhow::Result<Option<Vec<u8>>> {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(folder)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let output = command
            .output()
            .map_err(|error| anyhow::anyhow!("--since: git cannot be run: {error}"))?;
        Ok(output.status.success().then_some(output.stdout))
    };
    let commit = format!("{revision}^{{commit}}");
    if git(
        project,
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit],
    )?
    .is_none()
    {
        anyhow::bail!(
            "--since {revision}: neither a file nor a revision that Git knows in {}; give a file that was written \
             then, or a commit, branch or tag",
            project.display()
        );
    }
    let failed = || anyhow::anyhow!("--since {revision}: git cannot compare with it");
    let top = git(project, &["rev-parse", "--show-toplevel"])?.ok_or_else(failed)?;
    let top = PathBuf::from(OsStr::from_bytes(top.trim_ascii_end()));
    let mut files = BTreeSet::new();
    for args in [
        &["diff", "--name-only", "-z", revision, "--"][..],
        &["ls-files", "--others", "--exclude-standard", "-z"],
    ] {
        let names = git(&top, args)?.ok_or_else(failed)?;
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let path = top.join(OsStr::from_bytes(name));
            files.insert(std::fs::canonicalize(&path).unwrap_or(path));
        }
    }
    Ok(files)
}
