//! `provium init`: a project that runs.
//!
//! Input: a folder, a kernel, or what is found on this machine. Output: `provium.toml`, a first test,
//! `.gitignore` and what an editor needs; what to type next. Not here: fetching a guest (`provium guest
//! fetch`); changing files that are there.

mod ask;
mod files;
mod kernels;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;
use provium_base::exit;
use provium_debian::cache;
use provium_debian::guest::DebianGuest;

use super::args::InitProjectArgs;
use super::lsp_setup;
use super::print::print;
use crate::config::FILE_NAME;
use kernels::Kernel;

pub(super) fn init(args: &InitProjectArgs) -> anyhow::Result<u8> {
    let cwd = std::env::current_dir().context("the current folder cannot be used")?;
    let folder = args.dir.as_ref().map_or(cwd.clone(), |dir| cwd.join(dir));
    let configuration = folder.join(FILE_NAME);
    anyhow::ensure!(
        configuration.symlink_metadata().is_err(),
        "{} is there already: this is a project",
        configuration.display()
    );
    let debian = DebianGuest::at(&cache::base()?);
    let kernel = match &args.kernel {
        Some(file) => kernels::named(file, &cwd)?,
        None => choose(kernels::found(&folder))?,
    };
    let written = write(&folder, &kernel)?;
    print(&report(&written, &folder, &cwd, &kernel, debian.initrd.exists()))?;
    Ok(exit::SUCCESS)
}

/// The kernel that the user wants on a terminal, elsewhere the first.
fn choose(mut found: Vec<Kernel>) -> anyhow::Result<Kernel> {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let index = match found.len() > 1 && is_terminal {
        true => {
            let names: Vec<_> = found.iter().map(|kernel| kernel.shown.as_str()).collect();
            ask::ask(
                "Which kernel?",
                &names,
                &mut io::stdin().lock(),
                &mut io::stderr(),
            )?
        }
        false => 0,
    };
    Ok(found.swap_remove(index))
}

/// Writes the files that are not there; says of each whether it was.
fn write(folder: &Path, kernel: &Kernel) -> anyhow::Result<Vec<(PathBuf, bool)>> {
    let mut files = files::project(kernel);
    let roots = [folder.join(files::TESTS)];
    files.extend(lsp_setup::files(folder, &roots));
    let mut written = Vec::new();
    for (path, content) in files {
        let path = folder.join(path);
        let failed = || format!("{} cannot be written", path.display());
        fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(failed)?;
        // Whoever has made it meanwhile keeps it, too.
        let new = match fs::File::create_new(&path) {
            Ok(mut file) => io::Write::write_all(&mut file, content.as_bytes()).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        };
        let new = new.with_context(failed)?;
        written.push((path, new));
    }
    Ok(written)
}

/// What was done, and what to type next.
fn report(
    written: &[(PathBuf, bool)],
    folder: &Path,
    cwd: &Path,
    kernel: &Kernel,
    has_debian: bool,
) -> String {
    let mut text = String::new();
    for (path, new) in written {
        let what = if *new { "wrote" } else { "is there, left alone:" };
        text.push_str(&format!(
            "{what} {}\n",
            path.strip_prefix(cwd).unwrap_or(path).display()
        ));
    }
    text.push_str(&format!("the guest's kernel: {}\n\nnext:\n", kernel.shown));
    if folder != cwd {
        let folder = folder.strip_prefix(cwd).unwrap_or(folder);
        text.push_str(&format!("  cd {}\n", folder.display()));
    }
    if kernel.needs_debian() && !has_debian {
        text.push_str("  provium guest fetch     # once: Debian's kernel and busybox, from its packages\n");
    }
    text.push_str("  provium\n");
    text
}
