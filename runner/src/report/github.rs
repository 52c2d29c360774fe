//! Annotations for GitHub Actions: a failure is shown at its line of the change.
//!
//! The runner of GitHub Actions reads these commands from either stream; stderr keeps them out of reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Event, FileEnd, Output, Reporter, text};
use crate::outcome::{TestStatus, Timeliness};

/// Writes an `::error` command per failure.
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
        for test in end
            .result
            .tests
            .iter()
            .filter(|test| test.status == TestStatus::Failed)
        {
            let message = test.message.as_deref().unwrap_or("failed");
            out.push_str(&annotation(path, test.line, &format!("{}: {message}", test.name)));
        }
        if let Some(error) = &end.result.chunk_error {
            out.push_str(&annotation(path, line_in(error, &end.result.path), error));
        } else if out.is_empty() && end.result.timeout == Timeliness::TimedOut {
            out.push_str(&annotation(path, None, "the file's time limit has passed"));
        }
        out
    }
}

impl Reporter for GithubReporter {
    fn event(&self, event: Event<'_>) {
        if let Event::FileEnded(end) = event
            && end.failed()
            && !end.shown_before
        {
            self.output.write(&self.annotations(end));
        }
    }
}

fn annotation(path: &Path, line: Option<u32>, message: &str) -> String {
    let file = escape(&path.to_string_lossy())
        .replace(':', "%3A")
        .replace(',', "%2C");
    let line = line.map(|line| format!(",line={line}")).unwrap_or_default();
    format!(
        "::error file={file}{line}::{}\n",
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
