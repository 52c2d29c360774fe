//! The process's two streams during a run, and the reports that write to them.
//!
//! Input: settings. Output: a sink that shows events. Not here: what each report says.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use provium_base::events::{Sink, Sinks};
use provium_base::exit;

use super::args::{ProgressChoice, ReportArgs};
use super::interrupt;
use super::relay::Sending;
use super::reports::Reports;
use super::settings::{Form, Settings, Surroundings};
use super::stderr::CapturedStderr;
use crate::report::coverage::CoverageReporter;
use crate::report::{
    GithubReporter, HostReporter, JsonReporter, LiveView, NoticeReporter, Output, Paint, PlainReporter,
    ProgressReporter, Sections, SlowestReporter, TapReporter,
};

/// The streams, and the reports as one sink.
pub(super) struct Screen {
    /// Ends before the live view does.
    _captured: Option<CapturedStderr>,
    /// Those that are files.
    pub(super) reports: Reports,
    /// Where the report goes.
    pub(super) stdout: Arc<Output>,
    /// This process's stderr, with the live view out of the way.
    pub(super) stderr: Arc<Output>,
    /// When the user began to wait.
    pub(super) began: Instant,
    pub(super) sink: Arc<dyn Sink>,
}

impl Screen {
    /// The reports that the settings ask for; `cwd` is what the files' paths are relative to.
    ///
    /// # Errors
    /// When the standard streams cannot be kept for them, or a report can never be written.
    pub(super) fn new(
        settings: &Settings,
        reports: &ReportArgs,
        around: &Surroundings,
        cwd: &Path,
    ) -> anyhow::Result<Screen> {
        let live = (settings.progress == ProgressChoice::Bar)
            .then(live_view)
            .transpose()?;
        let stdout = Arc::new(Output::new(Box::new(kept(&io::stdout())?), live.clone()));
        let stderr = Arc::new(Output::new(Box::new(kept(&io::stderr())?), live.clone()));
        let mut sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(NoticeReporter::new(stderr.clone(), settings.notices)),
            Box::new(HostReporter::new(stderr.clone(), live.is_some())),
        ];
        let mut captured = None;
        // The live view first: a file's line leaves it before the report's line is printed.
        match (live, settings.progress) {
            (Some(live), _) => {
                sinks.push(Box::new(Arc::clone(&live)));
                captured = Some(CapturedStderr::to(stderr.clone()).map_err(not_kept)?);
                interrupt::at_once(move || live.abandon());
            }
            (None, ProgressChoice::Plain) => sinks.push(Box::new(ProgressReporter::new(stderr.clone()))),
            _ => {}
        }
        let report = match reports.events_stdout {
            true => stderr.clone(),
            false => stdout.clone(),
        };
        if let Some(most) = settings.durations {
            let output = if settings.form == Form::Plain {
                &report
            } else {
                &stderr
            };
            sinks.push(Box::new(SlowestReporter::new(output.clone(), most)));
        }
        let plain = PlainReporter::new(report.clone(), Paint(settings.color), settings.verbosity);
        sinks.push(match settings.form {
            Form::Json => Box::new(JsonReporter(stdout.clone())),
            Form::Tap(dialect) => Box::new(TapReporter::new(stdout.clone(), dialect)),
            Form::Plain if around.gitlab => Box::new(plain.with_sections(Sections::default())),
            Form::Plain => Box::new(plain),
        });
        if reports.coverage {
            let beside = if settings.form == Form::Plain {
                report
            } else {
                stderr.clone()
            };
            sinks.push(Box::new(CoverageReporter::new(beside)));
        }
        if around.github {
            let workspace = around.github_workspace.clone();
            sinks.push(Box::new(GithubReporter::new(
                stderr.clone(),
                cwd.to_owned(),
                workspace,
            )));
        }
        let reports = Reports::new(reports, around, cwd, || kept(&io::stdout()), &mut sinks)?;
        Ok(Screen {
            _captured: captured,
            reports,
            stdout,
            stderr,
            began: Instant::now(),
            sink: Arc::new(Sinks(sinks)),
        })
    }

    /// No reports: the events go to stdout, for another process to report.
    ///
    /// # Errors
    /// When stdout cannot be kept for them.
    pub(super) fn elsewhere() -> anyhow::Result<Screen> {
        let stdout = Arc::new(Output::new(Box::new(kept(&io::stdout())?), None));
        Ok(Screen {
            _captured: None,
            reports: Reports::default(),
            sink: Arc::new(Sending::begin(stdout.clone())),
            stdout,
            stderr: Arc::new(Output::stderr()),
            began: Instant::now(),
        })
    }

    /// Keeps stdout for the report: what else is written there from now on, by tests and by the commands
    /// they run, goes to stderr.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn own_stdout(&self) -> anyhow::Result<()> {
        rustix::stdio::dup2_stdout(io::stderr()).map_err(|error| not_kept(error.into()))
    }

    /// The exit code of a run that came to `code` elsewhere and was reported here.
    ///
    /// # Errors
    /// When a report could not be written.
    pub(super) fn code_of(&self, code: u8) -> anyhow::Result<u8> {
        self.reports.check()?;
        match self.is_read() {
            Ok(true) => Ok(code),
            // The terminal may have gone away, which is why the run was ended.
            _ if code == exit::INTERRUPTED => Ok(code),
            Ok(false) => Ok(exit::HARNESS),
            Err(error) => Err(error),
        }
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

/// A live view on stderr.
///
/// # Errors
/// When stderr cannot be kept for it.
pub(super) fn live_view() -> anyhow::Result<Arc<LiveView>> {
    let terminal = kept(&io::stderr())?;
    let asked = terminal.try_clone().map_err(not_kept)?;
    let size = move || {
        let size = rustix::termios::tcgetwinsize(&asked).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map(|size| (size.ws_col, size.ws_row))
    };
    Ok(LiveView::new(Box::new(terminal), Box::new(size)))
}

/// A stream of this process under a descriptor of its own.
fn kept(stream: &impl AsFd) -> anyhow::Result<File> {
    let descriptor = stream.as_fd().try_clone_to_owned().map_err(not_kept)?;
    Ok(File::from(descriptor))
}

fn not_kept(error: io::Error) -> anyhow::Error {
    anyhow::anyhow!("the standard streams cannot be kept for the report: {error}")
}
