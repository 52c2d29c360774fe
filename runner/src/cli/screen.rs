//! The process's two streams during a run, and the reports that write to them.
//!
//! Input: settings. Output: a sink that shows events. Not here: what each report says.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressDrawTarget};
use provium_base::events::{Sink, Sinks};

use super::args::ProgressChoice;
use super::host;
use super::settings::{Settings, Surroundings};
use crate::report::{
    GithubReporter, JsonReporter, LiveReporter, NoticeReporter, Output, Paint, PlainReporter,
    ProgressReporter,
};

/// The streams, and the reports as one sink.
pub(super) struct Screen {
    stdout: Arc<Output>,
    pub(super) sink: Arc<dyn Sink>,
}

impl Screen {
    /// The reports that the settings ask for; `cwd` is what the files' paths are relative to.
    ///
    /// # Errors
    /// When stdout cannot be kept for them.
    pub(super) fn new(settings: &Settings, around: &Surroundings, cwd: &Path) -> anyhow::Result<Screen> {
        let live = (settings.progress == ProgressChoice::Bar)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout =
            stdout.map_err(|error| anyhow::anyhow!("stdout cannot be kept for the report: {error}"))?;
        let stdout = Arc::new(Output::new(Box::new(File::from(stdout)), live.clone()));
        let stderr = Arc::new(Output::new(Box::new(io::stderr()), live.clone()));
        let mut sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(NoticeReporter::new(stderr.clone(), settings.notices)),
            Box::new(host::reporter(stderr.clone())),
        ];
        // The live view first: a file's line leaves it before the report's line is printed.
        match (live, settings.progress) {
            (Some(live), _) => sinks.push(Box::new(LiveReporter::new(live))),
            (None, ProgressChoice::Plain) => sinks.push(Box::new(ProgressReporter::new(stderr.clone()))),
            _ => {}
        }
        sinks.push(match settings.json {
            true => Box::new(JsonReporter(stdout.clone())),
            false => Box::new(PlainReporter::new(
                stdout.clone(),
                Paint(settings.color),
                settings.verbosity,
            )),
        });
        if around.github {
            let workspace = around.github_workspace.clone();
            sinks.push(Box::new(GithubReporter::new(stderr, cwd.to_owned(), workspace)));
        }
        Ok(Screen {
            stdout,
            sink: Arc::new(Sinks(sinks)),
        })
    }

    /// Keeps stdout for the report: what else is written there from now on, by tests and by the commands
    /// they run, goes to stderr.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn own_stdout(&self) -> anyhow::Result<()> {
        rustix::stdio::dup2_stdout(io::stderr())
            .map_err(|error| anyhow::anyhow!("stdout cannot be kept for the report: {error}"))
    }

    /// Whether the whole report was read by somebody; it is not when the reader of a pipe has gone, as `head`
    /// does.
    ///
    /// # Errors
    /// When the report could not be written for any other reason.
    pub(super) fn is_read(&self) -> anyhow::Result<bool> {
        match self.stdout.take_error() {
            None => Ok(true),
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Some(error) => anyhow::bail!("writing the report: {error}"),
        }
    }
}
