//! Profiles' `build` commands: run once, before any VM.
//!
//! Input: the configuration. Output: whatever the commands made, and events; or an error with the end of the
//! log. Two profiles with the same command share one run of it. Not here: deciding whether a build is needed;
//! that is what make and its like are for.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;

use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::{ProfileEvent, Sink};
use provium_base::group;

use crate::config::{Build, Config};

/// Lines of a failed build's log that are shown.
const TAIL_LINES: usize = 30;

/// Why a profile could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The command could not be run.
    #[error("`build` of profile {profile}: {what}: {source}")]
    Start {
        /// The profile.
        profile: String,
        /// What was tried.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The command failed.
    #[error("`build` of profile {profile} failed ({status}): {command}\n{log}")]
    Failed {
        /// The profile.
        profile: String,
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it printed.
        log: String,
    },
    /// The run was cancelled.
    #[error("`build` of profile {0}: {1}")]
    Cancelled(String, CancelReason),
}

/// What becomes of what builds print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildLog<'a> {
    /// The end of it is in the error of a build that fails.
    Kept,
    /// It goes to stderr as it comes.
    Shown,
    /// It is written to this file, and the end of it is in the error as well.
    File(&'a Path),
}

/// Runs the build of every profile that has one. `sink` hears of each that starts and of each that ends well.
///
/// # Errors
/// [`BuildError`] for the first that fails.
pub fn build_profiles(
    config: &Config,
    log: BuildLog<'_>,
    cancel: &Arc<Cancel>,
    sink: &dyn Sink,
) -> Result<(), BuildError> {
    let mut done: Vec<&Build> = Vec::new();
    for profile in config.profiles.values() {
        let Some(build) = &profile.build else { continue };
        if done.contains(&build) {
            continue;
        }
        sink.emit(ProfileEvent::BuildStarted {
            profile: profile.name.clone(),
            command: build.command.clone(),
        });
        let started = Instant::now();
        build_one(&profile.name, build, log, cancel)?;
        sink.emit(ProfileEvent::Built {
            profile: profile.name.clone(),
            took: started.elapsed(),
        });
        done.push(build);
    }
    Ok(())
}

fn build_one(profile: &str, build: &Build, to: BuildLog<'_>, cancel: &Arc<Cancel>) -> Result<(), BuildError> {
    let error = |what: &str, source| BuildError::Start {
        profile: profile.to_owned(),
        what: what.to_owned(),
        source,
    };
    if let Some(out) = &build.out {
        std::fs::create_dir_all(out).map_err(|source| error(&format!("making {}", out.display()), source))?;
    }
    let log = match to {
        BuildLog::File(path) => File::options().create(true).append(true).read(true).open(path),
        BuildLog::Kept | BuildLog::Shown => tempfile::tempfile(),
    };
    let mut log = log.map_err(|source| error("keeping its log", source))?;
    let stream = || match to {
        BuildLog::Shown => io::stderr().try_clone_stdio(),
        BuildLog::Kept | BuildLog::File(_) => log.try_clone().map(Stdio::from),
    };
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(&build.command)
        .current_dir(&build.dir)
        .stdin(Stdio::null());
    command.stdout(stream().map_err(|source| error("keeping its log", source))?);
    command.stderr(stream().map_err(|source| error("keeping its log", source))?);
    let mut child = group::spawn(&mut command, cancel).map_err(|source| error("starting /bin/sh", source))?;
    let status = child.wait().map_err(|source| error("waiting for it", source))?;
    if let Some(reason) = cancel.is_cancelled() {
        return Err(BuildError::Cancelled(profile.to_owned(), reason));
    }
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Failed {
        profile: profile.to_owned(),
        command: build.command.clone(),
        status,
        log: tail(&mut log).unwrap_or_default(),
    })
}

/// The last lines of the log.
fn tail(log: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

/// A stream of this process as one for a child.
trait CloneStdio {
    fn try_clone_stdio(&self) -> io::Result<Stdio>;
}

impl CloneStdio for io::Stderr {
    fn try_clone_stdio(&self) -> io::Result<Stdio> {
        use std::os::fd::AsFd;
        self.as_fd().try_clone_to_owned().map(Stdio::from)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use provium_base::events::{Discard, Event, Recorder};

    use super::*;
    use crate::config::Environment;

    fn config(dir: &Path, toml: &str) -> Config {
        let file: PathBuf = dir.join("provium.toml");
        std::fs::write(&file, toml).expect("write");
        Config::load(Some(&file), dir, &[], &Environment::default()).expect(toml)
    }

    #[test]
    fn a_shared_build_runs_once_and_in_its_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let toml = "[profiles.a]\nkernel = 'out dir/k'\ncmdline = 'q'\nbuild_out = 'out dir'\n\
                    build = 'echo x >>count; cp count {out}/k'\n[profiles.b]\ninherits = 'a'\n\
                    [profiles.c]\nkernel = 'k'\ncmdline = 'q'";
        let heard = Recorder::default();
        build_profiles(&config(dir.path(), toml), BuildLog::Kept, &Cancel::new(), &heard).expect("builds");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("out dir/k")).expect("built"),
            "x\n"
        );
        let heard = heard.take();
        let [Event::Profile(started), Event::Profile(built)] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        let (started, built) = (started.to_string(), built.to_string());
        assert!(
            started.starts_with("building profile a: echo x >>count; cp count '"),
            "{started}"
        );
        assert!(built.starts_with("built profile a in "), "{built}");
    }

    #[test]
    fn a_failed_build_shows_the_end_of_its_log() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let toml = "[profiles.a]\nkernel = 'k'\ncmdline = 'q'\nbuild = 'seq 100; echo oops >&2; exit 3'";
        let error = build_profiles(
            &config(dir.path(), toml),
            BuildLog::Kept,
            &Cancel::new(),
            &Discard,
        )
        .expect_err("exit 3");
        let text = error.to_string();
        let lines: Vec<_> = text.lines().collect();
        let command = "seq 100; echo oops >&2; exit 3";
        assert_eq!(
            lines[0],
            format!("`build` of profile a failed (exit status: 3): {command}")
        );
        assert_eq!((lines.len(), lines[1], lines[30]), (31, "72", "oops"));
    }

    #[test]
    fn a_cancelled_build_ends_with_all_it_started() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let toml = "[profiles.a]\nkernel = 'k'\ncmdline = 'q'\nbuild = 'sleep 600 & echo $! >pid; wait'";
        let config = config(dir.path(), toml);
        let cancel = Cancel::new();
        let pid = dir.path().join("pid");
        let (other, file) = (cancel.clone(), pid.clone());
        let thread = std::thread::spawn(move || {
            while !std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
                std::thread::sleep(Duration::from_millis(5));
            }
            other.cancel(CancelReason::Interrupted);
        });
        let started = Instant::now();
        let error = build_profiles(&config, BuildLog::Kept, &cancel, &Discard).expect_err("cancelled");
        assert_eq!(error.to_string(), "`build` of profile a: interrupted");
        assert!(started.elapsed() < Duration::from_secs(60));
        thread.join().expect("the cancelling thread");
        let pid = std::fs::read_to_string(pid).expect("the background process's id");
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !gone() && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(gone(), "{} is still there", stat.display());
    }
}
