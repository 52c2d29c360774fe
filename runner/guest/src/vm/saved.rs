//! A VM and snapshots: saving it, starting it from one, resetting it to one.
//!
//! Input: a snapshot, or the folder for one. Output: the VM in the state of the snapshot, or the snapshot.
//! Not here: what is in the files, which the monitor knows; when a snapshot is still good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::events::VmStart;
use provium_vmm::MachineError;
use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;

use super::error::{VmError, VmState};
use super::life::{EndedConsole, EndedMachine, Life, Vm};
use crate::start::resume::{ResumeError, ResumeOptions, reset, resume_options_of, save_with};
use crate::start::warm_pool::WarmPool;

impl Vm {
    /// Writes it into `folder`; it goes on as it was. With `on_parent`, only what differs from the snapshot
    /// it came from. The digests are those of images below its disks, as far as anybody made them. Works in
    /// `booted` and `paused`.
    pub fn snapshot(
        &mut self,
        folder: &Path,
        on_parent: bool,
        on_resume: ResumeOptions,
        image_digests: BTreeMap<PathBuf, ImageDigest>,
    ) -> Result<Arc<Snapshot>, VmError> {
        let (guest, _) = self.running_as(&[VmState::Booted, VmState::Paused], "booted or paused")?;
        let saved = save_with(guest, folder, on_parent, on_resume, image_digests);
        let saved = saved.map_err(|error| self.resume_error(error))?;
        self.origin = Some(Arc::clone(&saved));
        self.timeline.save(saved.id());
        Ok(saved)
    }

    /// The snapshot it came from last, or was saved as.
    pub fn origin(&self) -> Option<&Arc<Snapshot>> {
        self.origin.as_ref()
    }

    /// The snapshot it is still equal to but for the time that has passed, if it came from one and nobody has
    /// asked anything of it since.
    pub fn untouched(&mut self) -> Option<&Arc<Snapshot>> {
        match self.state() {
            VmState::Booted if !self.touched.get() => self.origin.as_ref(),
            _ => None,
        }
    }

    /// Looks at the images below a snapshot's disks: one that was touched is good if `digest` finds its old
    /// content.
    ///
    /// # Errors
    /// When one is another.
    pub fn confirm_images(
        &self,
        snapshot: &Snapshot,
        digest: &dyn Fn(&Path) -> std::io::Result<ImageDigest>,
    ) -> Result<(), VmError> {
        let confirmed = snapshot.confirm_images(digest);
        confirmed.map_err(|error| self.resume_error(MachineError::from(error).into()))
    }

    /// Starts it from a snapshot. Works in `created`, `shutdown` and `dead`.
    pub fn restore(&mut self, snapshot: &Arc<Snapshot>, pool: &WarmPool) -> Result<(), VmError> {
        match self.state() {
            VmState::Created | VmState::Shutdown | VmState::Dead => self.restore_now(snapshot, pool),
            VmState::Booted | VmState::Paused => Err(self.wrong_state("created, shutdown or dead")),
        }
    }

    /// Puts it into the state of a snapshot, whatever it is now: in place where it runs.
    pub fn put_back(&mut self, snapshot: &Arc<Snapshot>, pool: &WarmPool) -> Result<(), VmError> {
        if matches!(self.state(), VmState::Booted | VmState::Paused)
            && let Life::Running { guest, paused } = &mut self.life
        {
            match reset(guest, snapshot, resume_options_of(snapshot)) {
                Ok(_) => {
                    *paused = false;
                    self.begin_log();
                    self.origin = Some(Arc::clone(snapshot));
                    self.take_machines_disks();
                    self.timeline.enter(snapshot.id());
                    self.note_resume();
                    self.touched.set(false);
                    self.tell_ended(VmState::Shutdown, "");
                    self.tell_began(snapshot.memory(), VmStart::Reset);
                    return Ok(());
                }
                Err(error) if guest.machine.ended().is_none() && !refused(&error) => {
                    return Err(self.resume_error(error));
                }
                // Of another shape, or dead: a new machine takes its place.
                Err(error) => tracing::debug!(vm = self.name, %error, "no reset in place"),
            }
        }
        self.restore_now(snapshot, pool)
    }

    fn restore_now(&mut self, snapshot: &Arc<Snapshot>, pool: &WarmPool) -> Result<(), VmError> {
        self.release(pool);
        let lease = self.admit(snapshot.memory(), snapshot.cpus())?;
        let guest = pool
            .resume(snapshot, resume_options_of(snapshot))
            .map_err(|error| self.resume_error(error))?;
        guest.machine.on_splat(self.splat_listener());
        self.note_resume();
        self.life = Life::Running { guest, paused: false };
        self.hold(lease);
        self.tell_began(snapshot.memory(), VmStart::Resume);
        self.begin_log();
        self.origin = Some(Arc::clone(snapshot));
        self.take_machines_disks();
        self.timeline.enter(snapshot.id());
        self.touched.set(false);
        Ok(())
    }

    /// Ends it without waiting for what it holds to be given back; one that came from a snapshot may serve
    /// again.
    pub fn release(&mut self, pool: &WarmPool) {
        self.disks.clear();
        self.notice_end();
        let Life::Running { guest, .. } = &self.life else {
            return;
        };
        let over = Life::Over(EndedMachine {
            state: VmState::Shutdown,
            why: "it was closed".to_owned(),
            console: EndedConsole::of(&guest.machine),
            places: Vec::new(),
        });
        if let Life::Running { guest, .. } = std::mem::replace(&mut self.life, over) {
            guest.machine.on_splat(None);
            self.tell_ended(VmState::Shutdown, "");
            self.lease = None;
            match self.origin.take() {
                Some(snapshot) => pool.give_back(&snapshot, guest),
                None => pool.end(guest),
            }
        }
    }
}

/// Whether a machine refused a snapshot before anything was done.
fn refused(error: &ResumeError) -> bool {
    matches!(error, ResumeError::Machine(MachineError::Shape { .. }))
}
