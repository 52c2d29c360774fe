//! What has to be installed on this Debian machine, and installing it.
//!
//! Input: the machine. Output: the packages below, installed. It says what is missing, and what for, before
//! it changes anything; without root it prints the command to type and stops.

use std::process::Command;

use anyhow::{Context, Result, bail};
use provium_debian::apt;

use crate::command::{run, shown};
use crate::guest;

/// What for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// To see a test pass in a guest.
    Demo,
    /// To build all guests of the project's tests and run the tests.
    Tests,
}

/// Every package the project's commands need, and what for.
const NEEDED: [(&str, &str, Needs); 16] = [
    (
        "build-essential",
        "the compiler and linker, for the guest kernel",
        Needs::Tests,
    ),
    ("flex", "the guest kernel's configuration language", Needs::Tests),
    ("bison", "the guest kernel's configuration language", Needs::Tests),
    ("bc", "the guest kernel's build", Needs::Tests),
    ("libelf-dev", "the guest kernel's build", Needs::Tests),
    ("libssl-dev", "the guest kernel's build", Needs::Tests),
    ("kmod", "the guest kernel's build", Needs::Tests),
    ("lz4", "compressing the guest kernel", Needs::Tests),
    ("xz-utils", "unpacking kernels", Needs::Demo),
    ("busybox-static", "the emulated host's tools", Needs::Demo),
    ("debootstrap", "the Debian userland of some tests", Needs::Tests),
    (
        "e2fsprogs",
        "file systems out of folders, for a profile's `rootfs`",
        Needs::Tests,
    ),
    (
        "libxml2-utils",
        "the schema of JUnit files, in tests",
        Needs::Tests,
    ),
    ("perl", "a parser of TAP that is not ours, in tests", Needs::Tests),
    (
        "python3",
        "a reader of event streams that is not ours, in tests",
        Needs::Tests,
    ),
    (
        "qemu-system-x86",
        "the emulated host, where this machine's KVM cannot run guests",
        Needs::Demo,
    ),
];

/// Installs what is missing, and removes nothing for it; says so first.
///
/// # Errors
/// When something is missing and this is not root (the message holds the command to type), or apt fails.
pub(crate) fn ensure(needs: Needs, say: &dyn Fn(&str)) -> Result<()> {
    let missing = missing(needs)?;
    if missing.is_empty() {
        say("all packages that are needed are installed");
        return Ok(());
    }
    say("missing:");
    for (package, purpose) in &missing {
        say(&format!("  {package:<18} {purpose}"));
    }
    let mut install = Command::new("apt-get");
    install
        .args([
            "install",
            "--yes",
            "-qq",
            "--no-install-recommends",
            "--no-remove",
        ])
        .args(missing.iter().map(|(package, _)| *package));
    if !apt::is_root() {
        bail!(
            "{} package(s) are missing; install them and run this again:\n\n    sudo {}\n",
            missing.len(),
            shown(&install).replace("--yes -qq ", "").trim_matches('`')
        );
    }
    apt::refresh(say)?;
    say(&shown(&install));
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Installs what tests need.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn for_tests() -> Result<()> {
    ensure(Needs::Tests, &guest::say)
}

fn missing(needs: Needs) -> Result<Vec<(&'static str, &'static str)>> {
    // dpkg-query fails when it knows none of the names, which is an answer too.
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Abbrev}${Package}\n"]);
    query.args(NEEDED.map(|(package, ..)| package));
    let answer = query
        .output()
        .context("cannot start dpkg-query: the project's commands need Debian")?;
    Ok(not_installed(needs, &String::from_utf8_lossy(&answer.stdout)))
}

/// The packages needed for this that `listing` (lines of status and name) does not show as installed.
fn not_installed(needs: Needs, listing: &str) -> Vec<(&'static str, &'static str)> {
    let installed: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("ii "))
        .map(str::trim)
        .collect();
    NEEDED
        .into_iter()
        .filter(|(package, _, what)| *what <= needs && !installed.contains(package))
        .map(|(package, purpose, _)| (package, purpose))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let listing = "ii flex\nrc bison\nun bc\n";
        let missing = |needs| {
            not_installed(needs, listing)
                .into_iter()
                .map(|(package, _)| package)
        };
        let demo: Vec<_> = missing(Needs::Demo).collect();
        assert_eq!(demo, ["xz-utils", "busybox-static", "qemu-system-x86"]);
        let missing: Vec<_> = missing(Needs::Tests).collect();
        assert!(!missing.contains(&"flex"));
        assert!(missing.contains(&"bison") && missing.contains(&"bc"));
        assert_eq!(missing.len(), NEEDED.len() - 1);
    }
}
