//! The reports for machines that a command line and a CI job ask for.
//!
//! Input: flags, and what this process is attached to. Output: a sink for each, and what went wrong with
//! those that are not on stdout. Not here: what each report says.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use provium_base::events::Sink;

use super::args::ReportArgs;
use super::interrupt;
use super::settings::Surroundings;
use crate::report::{
    EventFile, EventSocket, EventStdout, EventStream, JunitReporter, Listened, ReportFile,
    StepSummaryReporter, Target,
};

impl Drop for Reports {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
    }
}

/// The reports that are not on stdout, and events.
#[derive(Debug, Default)]
pub(super) struct Reports {
    files: Vec<ReportFile>,
    /// The socket of events. Its end of it goes with this, whoever holds the sink still.
    socket: Option<PathBuf>,
    /// Targets of events that failed.
    failed: Arc<Mutex<Vec<(String, io::Error)>>>,
}

impl Reports {
    /// The reports, whose sinks are put with the others; paths are relative to `cwd`. Events on stdout go to
    /// `stdout`.
    ///
    /// # Errors
    /// When one of them can never be written.
    pub(super) fn new(
        args: &ReportArgs,
        around: &Surroundings,
        cwd: &Path,
        stdout: impl FnOnce() -> anyhow::Result<File>,
        sinks: &mut Vec<Box<dyn Sink>>,
    ) -> anyhow::Result<Reports> {
        let mut reports = Reports::default();
        if let Some(path) = &args.junit {
            let file = reports.file(&cwd.join(path))?;
            sinks.push(Box::new(JunitReporter::new(file)));
        }
        if let Some(path) = around.github_summary.as_ref().filter(|_| around.github) {
            let file = reports.file(path)?;
            sinks.push(Box::new(StepSummaryReporter::new(file)));
        }
        let targets = reports.targets(args, cwd, stdout)?;
        if !targets.is_empty() {
            sinks.push(Box::new(EventStream::new(targets)));
        }
        Ok(reports)
    }

    fn targets(
        &mut self,
        args: &ReportArgs,
        cwd: &Path,
        stdout: impl FnOnce() -> anyhow::Result<File>,
    ) -> anyhow::Result<Vec<Listened>> {
        let failed =
            |path: &Path, error| anyhow::anyhow!("cannot write events to {}: {error}", path.display());
        let mut targets = Vec::new();
        if let Some(path) = &args.save_events {
            let file = EventFile::open(&cwd.join(path)).map_err(|error| failed(path, error))?;
            targets.push(self.listened(&path.to_string_lossy(), Box::new(file)));
        }
        if args.events_stdout {
            if io::stdout().is_terminal() {
                anyhow::bail!("--events-stdout writes bytes for another program, and stdout is a terminal");
            }
            targets.push(self.listened("stdout", Box::new(EventStdout(stdout()?))));
        }
        if let Some(path) = &args.events_socket {
            let full = std::path::absolute(cwd.join(path))?;
            let socket = EventSocket::listen(&full).map_err(|error| failed(path, error))?;
            self.socket = Some(full.clone());
            // A second Ctrl-C leaves nothing behind either.
            interrupt::at_once(move || drop(fs::remove_file(&full)));
            targets.push(self.listened(&path.to_string_lossy(), Box::new(socket)));
        }
        Ok(targets)
    }

    fn listened(&self, name: &str, target: Box<dyn Target>) -> Listened {
        let (failed, name) = (Arc::clone(&self.failed), name.to_owned());
        (
            target,
            Box::new(move |error| failed.lock().push((name.clone(), error))),
        )
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<ReportFile> {
        let file = ReportFile::new(path.to_owned())?;
        self.files.push(file.clone());
        Ok(file)
    }

    /// Whether all of them were written; a reader of events that has gone, as `head` does, is no error.
    ///
    /// # Errors
    /// When one was not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.files.iter().try_for_each(|file| file.check())?;
        let failed = self.failed.lock();
        match failed
            .iter()
            .find(|(_, error)| error.kind() != ErrorKind::BrokenPipe)
        {
            Some((name, error)) => anyhow::bail!("cannot write events to {name}: {error}"),
            None => Ok(()),
        }
    }
}
