//! The project that is watched, as it is now: its configuration, its test files, where it runs.
//!
//! Input: the file system. Output: the state of a [`Watch`]. Not here: when to look again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::events::{HostEvent, Sink};

use super::Watch;
use super::rounds::Rounds;
use crate::cli::project::Project;
use crate::cli::run;
use crate::discover::TestFile;
use crate::doctor::{self, Way};
use crate::session::select::only;

impl Watch {
    /// Where the configuration is, or would be.
    pub(super) fn nearest_configuration(&self) -> Option<PathBuf> {
        let cwd = std::env::current_dir().ok()?;
        if let Some(given) = &self.args.choose.project.config {
            return Some(cwd.join(given));
        }
        let mut candidates = cwd.ancestors().map(|folder| folder.join("provium.toml"));
        candidates.find(|path| path.is_file())
    }

    pub(super) fn load(&mut self) -> anyhow::Result<()> {
        let project = Project::load(&self.args.choose.project, &self.args.choose.paths)?;
        if !project.build_profiles(self.args.show.verbose, &self.cancel, &*self.screen.sink)? {
            return Ok(());
        }
        let config = &project.config;
        let of_all = config.profiles.values().flat_map(|profile| {
            let guest = &profile.guest;
            let files = [Some(&guest.kernel), guest.initrd.as_ref(), guest.rootfs.as_ref()];
            files.into_iter().flatten().cloned().collect::<Vec<_>>()
        });
        self.uses
            .lock()
            .set_project(config.file.clone(), of_all.collect());
        self.project = Some(project);
        self.refresh();
        if let Some(project) = &self.project {
            project.config.check_files()?;
        }
        self.watch_more()?;
        self.choose_where()
    }

    /// Decides where rounds run, and starts the emulated host if it is there.
    pub(super) fn choose_where(&mut self) -> anyhow::Result<()> {
        let Some(project) = &self.project else {
            return Ok(());
        };
        self.rounds = None;
        let way = match project.config.profiles.is_empty() {
            true => Way::Kvm,
            false => doctor::choose(self.args.running.accel)?,
        };
        self.rounds = Some(match way {
            Way::Kvm => Rounds::here(&self.screen, &self.cancel, self.wake.clone())?,
            Way::EmulatedHost { because } => {
                self.sink.emit(HostEvent::Chosen { because });
                run::read_outside(&self.args, project, &self.screen, &self.cancel);
                let (artifacts, _) = run::artifacts(&self.args, project)?;
                let sink: Arc<dyn Sink> = self.sink.clone();
                let project = project.clone();
                Rounds::emulated(
                    project,
                    artifacts,
                    &self.screen,
                    sink,
                    &self.cancel,
                    self.wake.clone(),
                )?
            }
        });
        Ok(())
    }

    /// Looks which test files there are now; returns those that are new.
    pub(super) fn refresh(&mut self) -> BTreeSet<PathBuf> {
        let Some(project) = &self.project else {
            return BTreeSet::new();
        };
        // No file is no mistake here: one may come.
        let paths = self.args.choose.paths.iter();
        let paths: Vec<PathBuf> = paths.map(|path| only::split(path, &project.cwd).0).collect();
        let files: Vec<TestFile> = project.files(&paths).unwrap_or_default();
        let mut uses = self.uses.lock();
        let new = files.iter().map(|file| file.path.clone());
        let new = new.filter(|path| !uses.knows(path)).collect();
        uses.set_files(&files);
        new
    }

    /// Watches what has become known since.
    pub(super) fn watch_more(&mut self) -> anyhow::Result<()> {
        let cwd = std::env::current_dir()?;
        let mut roots: Vec<PathBuf> = Vec::new();
        if let Some(project) = &self.project {
            let given = self.args.choose.paths.iter().chain(&project.config.roots);
            // As events name them: without a dot in the middle.
            roots.extend(given.flat_map(|root| std::path::absolute(cwd.join(root))));
        }
        let files = self.uses.lock().watched();
        self.changes.watch(&roots, &files)
    }

    /// Whether the emulated host sees changes of these files while it runs.
    pub(super) fn seen_inside(&self, changed: &BTreeSet<PathBuf>) -> bool {
        let Some(project) = &self.project else {
            return false;
        };
        let shared = [&project.config.project, &project.cwd];
        let is_shared = |path: &Path| shared.iter().any(|folder| path.starts_with(folder));
        changed.iter().all(|path| is_shared(path))
    }
}
