//! What QEMU may open: this machine's files but for the kernel's own and secrets, and what is shared.
//!
//! Input: the folders that are shared for writing. Output: a Landlock ruleset for QEMU's process. Not here:
//! which system calls it may make, which QEMU is told on its command line.
//!
//! QEMU has all of `/` to show, and whoever takes the emulated host's kernel over may ask it for any of it.
//! Landlock allows what is named, so that everything is named but what is to stay hidden: what appears later
//! in a folder of which a part is hidden, stays hidden as well. Names of files and what a stat says can be
//! seen in any case.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError,
};

/// The kernel's own files, and devices.
const OF_THE_SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Devices that programs take for granted.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];
/// Where keys and tokens lie, from the user's home on.
const SECRETS: [&str; 17] = [
    ".aws",
    ".azure",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/gcloud",
    ".config/gh",
    ".docker/config.json",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/share/keyrings",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pypirc",
    ".ssh",
    ".vault-token",
];

/// A ruleset for a QEMU that shares `writable`.
///
/// # Errors
/// [`RulesetError`] where the kernel has no Landlock, or one that forbids renaming from folder to folder
/// (before 5.19).
pub(crate) fn ruleset(writable: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let secrets = home.iter().flat_map(|home| SECRETS.map(|name| home.join(name)));
    let hidden = OF_THE_SYSTEM.map(PathBuf::from).into_iter().chain(secrets);
    // Links are followed: what is opened is what they lead to. What is not there need not be hidden.
    let hidden: Vec<_> = hidden.filter_map(|path| fs::canonicalize(path).ok()).collect();
    let read = BitFlags::from(AccessFs::ReadFile);
    // Programs are for the emulated host to execute, and folders to be listed.
    let all = AccessFs::from_all(ABI::V2) & !(AccessFs::ReadDir | AccessFs::Execute);
    let devices = DEVICES
        .iter()
        .map(|path| (path.into(), read | AccessFs::WriteFile));
    let seen = all_but(Path::new("/"), &hidden)
        .into_iter()
        .map(|path| (path, read));
    let shared = writable
        .iter()
        .map(|path| (path.clone(), all | AccessFs::Truncate));

    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset
        .handle_access(all)?
        .set_compatibility(CompatLevel::BestEffort);
    let mut ruleset = ruleset.handle_access(AccessFs::Truncate)?.create()?;
    for (path, access) in devices.chain(seen).chain(shared) {
        // What is gone again, or cannot be opened by this user, needs no rule.
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(ruleset)
}

/// Whether this machine's kernel can keep QEMU from what it need not see.
pub fn can_confine() -> bool {
    ruleset(&[]).is_ok()
}

/// The least list of files and folders below `folder` that has everything in it but `hidden` and links.
fn all_but(folder: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all = Vec::new();
    for path in entries
        .map(|entry| entry.path())
        .filter(|path| !path.is_symlink())
    {
        if hidden.contains(&path) {
            continue;
        }
        match hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            true => all.extend(all_but(&path, hidden)),
            false => all.push(path),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_named_but_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["home/.ssh", "home/src/deep", "usr/bin"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("home/note"), "").unwrap();
        std::os::unix::fs::symlink(at("home/.ssh"), at("link")).unwrap();
        let mut all = all_but(folder.path(), &[at("home/.ssh")]);
        all.sort();
        assert_eq!(all, ["home/note", "home/src", "usr"].map(at));
    }
}
