//! The reports for machines that a command line and a CI job ask for.
//!
//! Input: flags, and what this process is attached to. Output: a sink for each, and the files they become.
//! Not here: what each report says.

use std::path::Path;

use provium_base::events::Sink;

use super::args::ReportArgs;
use super::settings::Surroundings;
use crate::report::{JunitReporter, ReportFile, StepSummaryReporter};

/// The reports that are files.
#[derive(Debug, Default)]
pub(super) struct Reports {
    files: Vec<ReportFile>,
}

impl Reports {
    /// The reports, whose sinks are put with the others; paths are relative to `cwd`.
    ///
    /// # Errors
    /// When one of them can never be written.
    pub(super) fn new(
        args: &ReportArgs,
        around: &Surroundings,
        cwd: &Path,
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
        Ok(reports)
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<ReportFile> {
        let file = ReportFile::new(path.to_owned())?;
        self.files.push(file.clone());
        Ok(file)
    }

    /// Whether all of them were written.
    ///
    /// # Errors
    /// When one was not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.files.iter().try_for_each(|file| Ok(file.check()?))
    }
}
