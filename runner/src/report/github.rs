//! Annotations for GitHub Actions: a failure is shown at its line of the change, and so is a flaky test.
//!
//! Input: events. Output: `::error` and `::warning` commands, which the runner of GitHub Actions reads from
//! either stream; stderr keeps them out of reports. Not here: whether this is a job of GitHub Actions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::events::{Event, Sink};
use provium_base::outcome::{FileEnd, TestResult};

use super::{Output, file_failure, text};

/// Writes an `::error` command per failure, and a `::warning` per flaky test.
pub struct GithubReporter {
    output: Arc<Output>,
    cwd: PathBuf,
    /// The checked-out repository, which annotations' paths are relative to.
    workspace: Option<PathBuf>,
}

impl GithubReporter {
    /// Annotates on `output`; paths are made relative to `workspace` where they are below it.
    pub fn new(output: Arc<Output>, cwd: PathBuf, workspace: Option<PathBuf>) -> Self {
        GithubReporter {
            output,
            cwd,
            workspace,
        }
    }

    fn annotations(&self, end: &FileEnd) -> String {
        let path = self.cwd.join(&end.result.path);
        let path = self
            .workspace
            .as_deref()
            .and_then(|workspace| path.strip_prefix(workspace).ok())
            .unwrap_or(&path);
        let mut out = String::new();
        for test in end.result.tests.iter().filter(|test| test.flaky) {
            let message = test.message.as_deref().unwrap_or("flaky");
            let text = format!("{}: {message}", test.name);
            out.push_str(&annotation("warning", path, test.line, &text));
        }
        if !end.failed() {
            return out;
        }
        let failed = |test: &&TestResult| test.status.counts_against_the_run();
        for test in end.result.tests.iter().filter(failed) {
            let message = test.message.as_deref().unwrap_or("failed");
            let text = format!("{}: {message}", test.name);
            out.push_str(&annotation("error", path, test.line, &text));
        }
        if let Some(error) = file_failure(end) {
            let known = end
                .result
                .failure
                .as_deref()
                .and_then(|failure| failure.place.as_ref());
            let line = known
                .map(|place| place.line)
                .or_else(|| line_in(&error, &end.result.path));
            out.push_str(&annotation("error", path, line, &error));
        }
        out
    }
}

impl Sink for GithubReporter {
    fn event(&self, event: &Event) {
        if let Event::FileEnded(end) = event
            && end.selected
            && !end.shown_before
        {
            self.output.write(&self.annotations(end));
        }
    }
}

fn annotation(sort: &str, path: &Path, line: Option<u32>, message: &str) -> String {
    let file = escape(&path.to_string_lossy())
        .replace(':', "%3A")
        .replace(',', "%2C");
    let line = line.map(|line| format!(",line={line}")).unwrap_or_default();
    format!(
        "::{sort} file={file}{line}::{}\n",
        escape(text::clean(message).trim_end())
    )
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The line in a Lua message `path:LINE: what`.
fn line_in(message: &str, path: &str) -> Option<u32> {
    message
        .strip_prefix(path)?
        .strip_prefix(':')?
        .split(':')
        .next()?
        .parse()
        .ok()
}
