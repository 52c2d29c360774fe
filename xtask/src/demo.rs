//! `cargo xtask demo`: from a fresh Debian machine with Rust to tests that passed in a guest.
//!
//! Input: the machine. Output: packages, Debian's guest and `provium` where they were missing, the results of
//! `examples/hello/`, and what to type next. Not here: our own kernel, which takes minutes and which tests of
//! Provium alone need.
//!
//! Downloads and the compiler share nothing but the wish to be done soon, so they run at the same time.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use provium_debian::{cache, guest};

use crate::command::{run, shown};
use crate::packages::{self, Needs};
use crate::phases::Phases;
use crate::workspace;

/// What is there soonest; see Cargo.toml.
const PROFILE: &str = "quick";
/// How often a build that goes on is mentioned.
const MENTION: Duration = Duration::from_secs(15);

/// Runs the demonstration.
///
/// # Errors
/// When a phase failed; its own error has been printed.
pub(crate) fn demo() -> Result<()> {
    let begin = Instant::now();
    let say = |what: &str| println!("   {:>3} s  {what}", begin.elapsed().as_secs());
    let mut phases = Phases::new();
    say("compiling provium, for a minute or two; meanwhile:");
    let mut build = Build::start()?;
    let packages = phases.run("packages", || packages::ensure(Needs::Demo, &say));
    let guest = packages.and_then(|()| phases.run("a guest of Debian's packages", || fetch(&say)));
    let provium = phases.run("provium", || build.wait(&say));
    let shown = match (guest, provium) {
        (Some(()), Some(provium)) => phases
            .run("run examples/hello", || show_hello(&provium))
            .map(|()| provium),
        _ => None,
    };
    phases.print();
    match shown {
        Some(provium) => {
            print!("{}", next(&provium));
            Ok(())
        }
        None => bail!("the demo did not get to its end"),
    }
}

/// Builds the command for tests and returns its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build_provium() -> Result<PathBuf> {
    // The development profile is optimized where it matters (see Cargo.toml) and builds sooner.
    run(workspace::cargo().args(["build", "--package", "provium"]))?;
    Ok(workspace::build_folder()?.join("debug/provium"))
}

/// A cargo that builds the command.
struct Build(Child);

impl Build {
    fn start() -> Result<Build> {
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--quiet", "--package", "provium", "--profile", PROFILE]);
        let child = cargo
            .spawn()
            .with_context(|| format!("start {}", shown(&cargo)))?;
        Ok(Build(child))
    }

    /// Waits for its end; the command's path.
    fn wait(&mut self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let mut mentioned = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            if mentioned.elapsed() > MENTION {
                say("still compiling");
                mentioned = Instant::now();
            }
            thread::sleep(Duration::from_millis(100));
        };
        if !status.success() {
            bail!("provium did not compile: {status}");
        }
        Ok(workspace::build_folder()?.join(PROFILE).join("provium"))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // Ended already, unless an error came first.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fetch(say: &dyn Fn(&str)) -> Result<()> {
    guest::fetch(&cache::base()?, false, say).map(drop)
}

/// Runs the example on this terminal, so that its live view shows.
fn show_hello(provium: &Path) -> Result<()> {
    let mut command = Command::new(provium);
    command.current_dir(workspace::root()).arg("examples/hello");
    let status = command
        .status()
        .with_context(|| format!("start {}", shown(&command)))?;
    if !status.success() {
        bail!("provium ended with {status}");
    }
    Ok(())
}

/// What the user can do now.
fn next(provium: &Path) -> String {
    let folder = provium.parent().unwrap_or(provium).display();
    format!(
        "\nprovium is {}. To have it on the PATH of this shell:\n\n    export PATH=\"{folder}:$PATH\"\n\n\
         or, optimized and for good:\n\n    cargo install --locked --path runner\n\nand then:\n\n    \
         provium init ~/first      # a project with a first test\n    cd ~/first && provium\n",
        provium.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_where_it_is_and_what_to_type() {
        let text = next(Path::new("/clone/target/quick/provium"));
        for part in [
            "provium is /clone/target/quick/provium.",
            "export PATH=\"/clone/target/quick:$PATH\"",
            "cargo install --locked --path runner",
            "provium init ",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
