//! `provium host`, and running the present command line in the emulated host.
//!
//! Input: arguments. Output: the exit code of what ran there. Not here: when that is needed (`doctor`), and
//! how it is done (`provium-emulated`).

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::events::{Sink, Sinks};
use provium_base::exit;
use provium_emulated::{EmulatedRun, Signals, Streams};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::args::HostArgs;
use super::interrupt::SignalWatch;
use super::print::complain;
use super::project::Project;
use super::relay::{Receiving, UsersTime};
use super::screen::{self, Screen};
use crate::report::{HostReporter, Output};

/// The command's exit code, or [`exit::HARNESS`] when it could not be run to its end.
pub(super) fn host(args: HostArgs) -> anyhow::Result<u8> {
    let reporter = reporter()?;
    let mut request = EmulatedRun::new(args.command, &*reporter);
    request.writable = args.writable;
    request.memory_mib = args.mem;
    request.cpus = args.cpus;
    let ended = provium_emulated::run(request);
    // Gone with its live line before an error is shown.
    drop(reporter);
    Ok(match ended {
        Ok(code) => exit::of_program(code),
        Err(error) => {
            complain(&format!("provium: {error}"));
            exit::HARNESS
        }
    })
}

/// What shows the start of the emulated host on stderr.
///
/// # Errors
/// When stderr cannot be kept for it.
pub(super) fn reporter() -> anyhow::Result<Box<dyn Sink>> {
    let live = std::io::stderr()
        .is_terminal()
        .then(screen::live_view)
        .transpose()?;
    let output = match &live {
        Some(live) => Output::new(Box::new(std::io::stderr()), Some(Arc::clone(live))),
        None => Output::stderr(),
    };
    let reporter = HostReporter::new(Arc::new(output), live.is_some());
    let view = live.map(|live| Box::new(live) as Box<dyn Sink>);
    let sinks = view.into_iter().chain([Box::new(reporter) as Box<dyn Sink>]);
    Ok(Box::new(Sinks(sinks.collect())))
}

/// Runs this very run in the emulated host, and reports it here. What failed tests leave goes to `artifacts`;
/// the rest is as in [`rerun`].
pub(super) fn run(
    project: &Project,
    artifacts: &Path,
    watch: SignalWatch,
    cancel: &Cancel,
    screen: &Screen,
) -> anyhow::Result<u8> {
    let sink: Arc<dyn Sink> = Arc::new(UsersTime::new(screen.sink.clone(), screen.began));
    let (streams, receiving) =
        Receiving::begin(Arc::clone(&sink), Arc::clone(&screen.stderr), Box::new(|_| {}))?;
    let code = rerun(
        project,
        0,
        Some(artifacts),
        Some(streams),
        Some(watch),
        cancel,
        &*sink,
    );
    receiving.end();
    screen.code_of(code?)
}

/// Runs this very command line, which begins with the `words` of a subcommand, in the emulated host, where
/// the project, the cache and a further folder can be written; that folder is made for it, and removed again
/// if it stays empty. `streams` take the place of this process's. Not if `cancel` was cancelled, by which
/// `watch` has noted signals so far.
pub(super) fn rerun(
    project: &Project,
    words: usize,
    further: Option<&Path>,
    streams: Option<Streams>,
    watch: Option<SignalWatch>,
    cancel: &Cancel,
    sink: &dyn Sink,
) -> anyhow::Result<u8> {
    let signals = Signals::watch()?;
    // From here on signals are for the run inside; one that came before has not reached that.
    drop(watch);
    if cancel.is_cancelled().is_some() {
        return Ok(exit::INTERRUPTED);
    }
    let mut writable = vec![project.config.project.clone()];
    if !project.cwd.starts_with(&project.config.project) {
        writable.push(project.cwd.clone());
    }
    let cache = &project.config.cache_dir;
    std::fs::create_dir_all(cache)
        .map_err(|error| anyhow::anyhow!("cannot make the cache folder {}: {error}", cache.display()))?;
    writable.push(cache.clone());
    // What a guest writes to a shared folder has to get out here as well.
    writable.extend(project.config.folders_that_guests_write());
    let further = further.filter(|folder| !writable.iter().any(|shared| folder.starts_with(shared)));
    if let Some(folder) = further {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("cannot make the folder {}: {error}", folder.display()))?;
        writable.push(folder.to_owned());
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let code = provium_emulated::reexec(&args, words, &writable, streams, signals, sink);
    if let Some(folder) = further {
        // Only if nothing is in there.
        let _ = std::fs::remove_dir(folder);
    }
    let code = code?;
    Ok(match code - 128 {
        SIGINT | SIGTERM | SIGHUP => exit::INTERRUPTED,
        _ => exit::of_program(code),
    })
}
