//! `cargo xtask dist`: a release as an archive, tried in an empty Debian userland.
//!
//! Input: the workspace. Output: `target/dist/provium-VERSION-x86_64-linux.tar.gz` and its checksum: the
//! command, linked statically so that it runs on any distribution, its manual, completions of shells, and
//! licences, those of the packages it is made of too. Not here: publishing it.

mod licences;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use provium_debian::{cache, guest};

use crate::command::{output, run};
use crate::guest::say;
use crate::packages::{self, Needs};
use crate::phases::Phases;
use crate::workspace;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is taken from the workspace as it is.
const PAGES: [&str; 5] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];
/// Shells, and the names under which they look for completions.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "provium.bash"),
    ("zsh", "_provium"),
    ("fish", "provium.fish"),
];
/// The project that tries the archive, in the tree and where it runs.
const TRIAL: &str = "tests/dist";
/// The archive's name there.
const TRIED: &str = "provium.tar.gz";

/// Makes the archive of a build with this profile and tries it.
///
/// # Errors
/// When a phase failed; its own error has been printed.
pub(crate) fn dist(profile: &str) -> Result<()> {
    let mut phases = Phases::new();
    let folder = workspace::root().join("target/dist");
    let archive = phases
        .run("packages", || packages::ensure(Needs::Tests, &say))
        .and_then(|()| phases.run("build provium", || build(&folder, profile)))
        .and_then(|provium| {
            let archive = phases.run("archive", || pack(&folder, &provium))?;
            phases.run("try it in a Debian userland", || {
                try_out(&folder, &provium, &archive)
            })?;
            Some(archive)
        });
    phases.print();
    let archive = archive.context("there is no release")?;
    println!("\n{}", archive.display());
    Ok(())
}

fn build(folder: &Path, profile: &str) -> Result<PathBuf> {
    let built = folder.join("build");
    let mut cargo = workspace::cargo();
    cargo.args([
        "build",
        "--locked",
        "--package",
        "provium",
        "--profile",
        profile,
        "--target",
        TARGET,
    ]);
    cargo.arg("--target-dir").arg(&built);
    // Lines of the monitor's own code are no use to who has not its source.
    cargo.args(["--config", &format!("profile.{profile}.strip=\"debuginfo\"")]);
    cargo
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(&mut cargo)?;
    Ok(built.join(TARGET).join(profile).join("provium"))
}

/// Puts the archive together; its path.
fn pack(folder: &Path, provium: &Path) -> Result<PathBuf> {
    let version = output(Command::new(provium).arg("--version"))?;
    let name = archive_name(&version)?;
    let tree = folder.join(&name);
    cache::remove(&tree)?;
    let file = |name: &str, content: &[u8]| write(&tree.join(name), content);
    for page in PAGES {
        let path = workspace::root().join(page);
        file(
            page,
            &std::fs::read(&path).with_context(|| format!("read {}", path.display()))?,
        )?;
    }
    std::fs::copy(provium, tree.join("provium")).context("copy the command")?;
    run(Command::new(provium).arg("man").arg(tree.join("man/man1")))?;
    for (shell, name) in SHELLS {
        let script = output(Command::new(provium).args(["completions", shell]))?;
        file(&format!("completions/{name}"), script.as_bytes())?;
    }
    for (name, content) in licences::of_packages()? {
        file(&format!("licences/{name}"), &content)?;
    }
    let archive = folder.join(format!("{name}.tar.gz"));
    // One order, owner and time: the same tree is the same archive.
    run(Command::new("tar")
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@0",
        ])
        .args(["-I", "gzip --no-name -9", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(folder)
        .arg(&name))?;
    let sum = output(
        Command::new("sha256sum")
            .arg(format!("{name}.tar.gz"))
            .current_dir(folder),
    )?;
    write(&folder.join(format!("{name}.tar.gz.sha256")), sum.as_bytes())?;
    Ok(archive)
}

/// `provium 0.1.0` is `provium-0.1.0-x86_64-linux`.
fn archive_name(version: &str) -> Result<String> {
    match version.split_whitespace().collect::<Vec<_>>()[..] {
        ["provium", number] => Ok(format!("provium-{number}-x86_64-linux")),
        _ => bail!("`provium --version` says `{}`", version.trim()),
    }
}

/// Unpacks the archive in a guest of Debian's packages, and sees what it does there.
fn try_out(folder: &Path, provium: &Path, archive: &Path) -> Result<()> {
    guest::fetch(&cache::base()?, true, &say)?;
    let project = folder.join("trial");
    cache::remove(&project)?;
    let from = workspace::root().join(TRIAL);
    for entry in std::fs::read_dir(&from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        let content = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        write(&project.join(name), &content)?;
    }
    write(&project.join(TRIED), &std::fs::read(archive)?)?;
    run(Command::new(provium).arg("-v").current_dir(&project))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let failed = || format!("write {}", path.display());
    std::fs::create_dir_all(path.parent().context("a file needs a folder")?).with_context(failed)?;
    std::fs::write(path, content).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_after_its_version() {
        assert_eq!(
            archive_name("provium 0.1.0\n").unwrap(),
            "provium-0.1.0-x86_64-linux"
        );
        assert!(archive_name("error\n").is_err());
    }
}
