//! What has to be installed on this Debian machine, and installing it.
//!
//! Input: the machine. Output: the packages below, installed. It says what is missing, and what for, before
//! it changes anything; without root it prints the command to type and stops.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, run, shown};

/// Every package the project's commands need, and what for.
const NEEDED: [(&str, &str); 16] = [
    (
        "build-essential",
        "the compiler and linker, for the guest kernel and for Lua",
    ),
    ("flex", "the guest kernel's configuration language"),
    ("bison", "the guest kernel's configuration language"),
    ("bc", "the guest kernel's build"),
    ("libelf-dev", "the guest kernel's build"),
    ("libssl-dev", "the guest kernel's build"),
    ("kmod", "module lists of Debian's kernels"),
    ("lz4", "compressing the guest kernel"),
    ("xz-utils", "unpacking the kernel's source"),
    ("busybox-static", "the guests' shell and tools"),
    ("debootstrap", "the Debian userland of some tests"),
    (
        "e2fsprogs",
        "file systems out of folders, for a profile's `rootfs`",
    ),
    ("libxml2-utils", "the schema of JUnit files, in tests"),
    ("perl", "a parser of TAP that is not ours, in tests"),
    ("python3", "a reader of event streams that is not ours, in tests"),
    (
        "qemu-system-x86",
        "the emulated host, where this machine's KVM cannot run guests",
    ),
];

/// Installs what is missing; says so first.
///
/// # Errors
/// When something is missing and this is not root (the message holds the command to type), or apt fails.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        println!("   all {} packages are installed", NEEDED.len());
        return Ok(());
    }
    println!("   missing:");
    for (package, purpose) in &missing {
        println!("     {package:<18} {purpose}");
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&names);
    if !is_root() {
        bail!(
            "{} package(s) are missing; install them and run this again:\n\n    sudo apt-get install {}\n",
            names.len(),
            names.join(" ")
        );
    }
    if !apt_knows(names[0]) {
        update_lists()?;
    }
    println!("   {}", shown(&install));
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn missing() -> Result<Vec<(&'static str, &'static str)>> {
    // dpkg-query fails when it knows none of the names, which is an answer too.
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Abbrev}${Package}\n"]);
    query.args(NEEDED.map(|(package, _)| package));
    let answer = query
        .output()
        .context("cannot start dpkg-query: the project's commands need Debian")?;
    Ok(not_installed(&String::from_utf8_lossy(&answer.stdout)))
}

/// The needed packages that `listing` (lines of status and name) does not show as installed.
fn not_installed(listing: &str) -> Vec<(&'static str, &'static str)> {
    let installed: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("ii "))
        .map(str::trim)
        .collect();
    NEEDED
        .into_iter()
        .filter(|(package, _)| !installed.contains(package))
        .collect()
}

fn apt_knows(package: &str) -> bool {
    output(Command::new("apt-cache").args(["show", package])).is_ok()
}

/// Fetches apt's package lists.
///
/// # Errors
/// When this is not root (the message holds the command to type), or apt fails.
pub(crate) fn update_lists() -> Result<()> {
    if !is_root() {
        bail!("apt's package lists are missing or out of date: run `sudo apt-get update`, then this again");
    }
    println!("   apt-get update");
    run(Command::new("apt-get").args(["-qq", "update"]))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let listing = "ii flex\nrc bison\nun bc\n";
        let missing: Vec<_> = not_installed(listing)
            .into_iter()
            .map(|(package, _)| package)
            .collect();
        assert!(!missing.contains(&"flex"));
        assert!(missing.contains(&"bison") && missing.contains(&"bc"));
        assert_eq!(missing.len(), NEEDED.len() - 1);
    }
}
