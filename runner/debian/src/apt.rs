//! apt's programs: running them, and keeping its package lists current.
//!
//! Input: a command. Output: what it printed, or an error with its own words. Not here: what is looked up
//! (`package`).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

/// Where apt keeps its lists.
const LISTS: &str = "/var/lib/apt/lists";
/// Age at which lists are fetched anew: packages they name may be gone from the archive.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether this process may change the machine.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fetches the package lists where they are missing or a day old, if this process may. Versions are to be
/// looked up after this and not before: a newer list has newer ones.
///
/// # Errors
/// When apt is not there, has no lists and this is not root (the message holds the command to type), or apt
/// fails.
pub fn refresh(say: &dyn Fn(&str)) -> Result<()> {
    if !has("apt-get") || !has("dpkg-deb") {
        bail!(
            "this machine has no apt: guests of Debian's packages are made by `apt-get` and `dpkg-deb`, with Debian \
             among apt's sources. Use your own kernel and initrd, or make the guest on a Debian machine and copy its cache folder"
        );
    }
    match age(Path::new(LISTS)) {
        Some(age) if age < OLD || !is_root() => Ok(()),
        _ => update(say),
    }
}

/// Fetches the package lists.
///
/// # Errors
/// When this is not root (the message holds the command to type), or apt fails.
pub fn update(say: &dyn Fn(&str)) -> Result<()> {
    if !is_root() {
        bail!("apt's package lists are missing or out of date: run `sudo apt-get update`, then this again");
    }
    say("apt-get update");
    output(Command::new("apt-get").args(["-qq", "update"])).map(drop)
}

/// The time since the lists were fetched; none where there are none. Their files have the archive's times,
/// and apt leaves those alone that are current: the folder of downloads says when it last looked.
fn age(lists: &Path) -> Option<Duration> {
    let files = std::fs::read_dir(lists).ok()?.flatten();
    let mut paths: Vec<_> = files
        .filter(|file| file.file_name().to_string_lossy().contains("Release"))
        .map(|file| file.path())
        .collect();
    paths.first()?;
    paths.push(lists.join("partial"));
    let times = paths
        .iter()
        .filter_map(|path| path.metadata().ok()?.modified().ok());
    Some(SystemTime::now().duration_since(times.max()?).unwrap_or_default())
}

fn has(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// A command of a program that may be where only root's PATH leads to.
pub(crate) fn administrative(program: &str) -> Command {
    let mut command = Command::new(program);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    command.env("PATH", path);
    command
}

/// Runs a program without a terminal and returns what it wrote to stdout.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the message ends with its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = || {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let shown = shown();
    let done = command
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        bail!("`{shown}`: {}: {}", done.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = output(Command::new("sh").args(["-c", "echo no network >&2; exit 100"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 100: no network"), "{text}");
    }

    #[test]
    fn lists_are_as_old_as_apts_last_look() {
        let lists = tempfile::tempdir().unwrap();
        assert_eq!(age(lists.path()), None);
        let file = |name: &str, days: u64| {
            let file = std::fs::File::create(lists.path().join(name)).unwrap();
            let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
            file.set_modified(time).unwrap();
        };
        file("lock", 0);
        assert_eq!(age(lists.path()), None, "a lock is no list");
        file("a_InRelease", 9);
        assert!(age(lists.path()).unwrap() > OLD);
        std::fs::create_dir(lists.path().join("partial")).unwrap();
        assert!(age(lists.path()).unwrap() < OLD);
    }
}
