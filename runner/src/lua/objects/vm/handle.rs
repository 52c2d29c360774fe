//! The VM behind a test's handle: its declaration, its machine, what it can be asked.
//!
//! Input: a profile and boot options. Output: a machine that is booted, saved, restored and closed; answers
//! of its agent. Not here: the life of a VM itself, which `guest::Vm` has without Lua; and the methods that
//! Lua finds.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use provium_vmm::disk::DiskSpec;
use provium_vmm::snapshot::Snapshot;

use crate::cancel::Cancel;
use crate::config::Profile;
use crate::fixture::Input;
use crate::guest::{self, AGENT_PORT, Fixtures, GuestClient, Moment, ROOTFS_DISK, VmError, VmState};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::objects::agent::{Agent, Question};
use crate::lua::objects::boot::options::BootOptions;
use crate::lua::objects::remote::Remote;
use crate::lua::state::scope::Held;

/// A VM of a test. The handle is cheap to clone; the VM behind it is shared.
#[derive(Clone)]
pub(crate) struct Vm(Rc<DeclaredVm>);

/// A VM that was declared, which its handles share.
struct DeclaredVm {
    name: String,
    profile: Profile,
    options: RefCell<BootOptions>,
    core: RefCell<guest::Vm>,
    fixtures: Arc<Fixtures>,
    /// Called once it is closed for good.
    on_close: Box<dyn Fn()>,
    closed: Cell<bool>,
    classic: Cell<bool>,
    console_mark: Cell<u64>,
    /// Whether it is about to be closed, so that what is in it need not be.
    ending: Cell<bool>,
}

impl Vm {
    /// Declares a VM; `on_close` is called once it is closed for good.
    pub(crate) fn new(
        name: String,
        profile: Profile,
        options: BootOptions,
        fixtures: Arc<Fixtures>,
        on_close: Box<dyn Fn()>,
    ) -> Result<Vm, String> {
        let mut core = guest::Vm::new(name.clone(), options.machine(&profile)?, options.boot_timeout());
        core.set_initial_time(options.initial_time());
        Ok(Vm(Rc::new(DeclaredVm {
            name,
            profile,
            options: RefCell::new(options),
            core: RefCell::new(core),
            fixtures,
            on_close,
            closed: Cell::default(),
            classic: Cell::default(),
            console_mark: Cell::default(),
            ending: Cell::default(),
        })))
    }

    /// Whether the VM was closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// The place in its console behind what was expected last.
    pub(crate) fn console_mark(&self) -> &Cell<u64> {
        &self.0.console_mark
    }

    /// Makes it one of the classic dialect.
    pub(crate) fn set_classic(&self) {
        self.0.classic.set(true);
    }

    /// Whether it and `other` are the same VM.
    pub(crate) fn is(&self, other: &Vm) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Notes what it was booted with.
    pub(super) fn set_options(&self, options: BootOptions) {
        *self.0.options.borrow_mut() = options;
    }

    /// Profile of the VM.
    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    /// Options of its declaration and of its last boot.
    pub(crate) fn options(&self) -> BootOptions {
        self.0.options.borrow().clone()
    }

    /// Saves it into `folder`; with `on_parent`, on top of the fixture it came from, if it did. A snapshot
    /// that is `lasting` can be used when an image below a disk was copied or touched since.
    pub(crate) fn save(
        &self,
        folder: &Path,
        on_parent: bool,
        lasting: bool,
    ) -> Result<Arc<Snapshot>, VmError> {
        let arrival = self.0.options.borrow().arrival(&self.0.profile);
        let mut core = self.0.core.borrow_mut();
        // Only what is in the cache is sure to stay.
        let cached = core.origin().is_some_and(|origin| self.0.fixtures.holds(origin));
        let images = core.disks().iter().filter_map(|disk| disk.spec().image.clone());
        let digests = images.filter(|_| lasting).filter_map(|path| {
            // Without a digest, it is good for as long as the image is not touched.
            let digest = self.0.fixtures.image_digest(&path).ok()?;
            Some((path, digest))
        });
        let digests = digests.collect();
        core.snapshot(folder, on_parent && cached, arrival, digests)
    }

    /// Restores it from a snapshot into a machine of its own or, with `in_place`, resets the machine it has
    /// to the snapshot.
    pub(crate) fn enter(&self, snapshot: &Arc<Snapshot>, in_place: bool) -> Result<(), VmError> {
        let ready = self.0.fixtures.ready();
        let mut core = self.0.core.borrow_mut();
        self.0.console_mark.set(0);
        core.confirm_images(snapshot, &|path| self.0.fixtures.image_digest(path))?;
        match in_place {
            true => core.put_back(snapshot, ready),
            false => core.restore(snapshot, ready),
        }
    }

    /// Name of the VM.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The VM as the guest side has it, without Lua.
    pub(crate) fn core(&self) -> &RefCell<guest::Vm> {
        &self.0.core
    }

    /// An error in the words of a call.
    pub(crate) fn failed(&self, call: &Call<'_>, error: VmError) -> Raise {
        match error {
            VmError::Guest(error) => call.fail(format_args!("VM `{}`: {error}", self.0.name)),
            error => call.fail(error),
        }
    }

    /// Runs `action` on the VM; the call returns its object.
    pub(super) fn act(
        &self,
        call: &Call<'_>,
        action: impl FnOnce(&mut guest::Vm) -> Result<(), VmError>,
    ) -> Answer {
        call.at_most(0)?;
        self.open(call)?;
        action(&mut self.0.core.borrow_mut()).map_err(|error| self.failed(call, error))?;
        call.this()
    }

    /// Gives the VM the disks of its profile and of `options`. In a fixture's source, profile and images
    /// become input.
    pub(super) fn prepare(&self, call: &Call<'_>, options: &BootOptions) -> Result<(), Raise> {
        let profile = &self.0.profile;
        call.takes_in(Input::Profile {
            name: profile.name.clone(),
        })?;
        let mut specs = Vec::new();
        if let Some(path) = &profile.rootfs {
            let image = self.0.fixtures.rootfs_image(path);
            specs.push(DiskSpec {
                id: ROOTFS_DISK.to_owned(),
                image: Some(image.map_err(|message| call.fail(message))?),
                size: None,
                readonly: false,
                writable: false,
            });
        }
        for disk in options.disks() {
            let spec = disk
                .spec(call.file().project())
                .map_err(|message| call.fail(message))?;
            if specs.iter().any(|other| other.id == spec.id) {
                return Err(call.fail(format_args!("disk `{}` is the profile's `rootfs`", spec.id)));
            }
            if let Some(image) = &spec.image {
                call.takes_in_file(image)?;
            }
            specs.push(spec);
        }
        let set = self.0.core.borrow_mut().set_disks(&specs);
        set.map_err(|error| self.failed(call, error))
    }

    /// Gives a VM that was never booted the disks it was declared with.
    pub(crate) fn prepare_declared(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.0.core.borrow_mut().state() {
            VmState::Created => {}
            _ => return Ok(()),
        }
        self.prepare(call, &self.options())
    }

    /// Refuses a VM that was closed for good.
    pub(crate) fn open(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.0.closed.get() {
            false => Ok(()),
            true => Err(call.fail(format_args!("VM `{}` is closed", self.0.name))),
        }
    }

    /// A further session with the process of the agent's that listens on a port.
    pub(crate) fn session_on(&self, call: &Call<'_>, port: u32) -> Result<GuestClient, Raise> {
        self.open(call)?;
        let cancel = call.file().cancel();
        let session = self.0.core.borrow_mut().session(port, &cancel);
        session.map_err(|error| self.failed(call, error))
    }

    /// Does something in a guest at the end of a scope: not in one that has ended, and one that is paused
    /// runs meanwhile.
    pub(crate) fn at_rest(&self, action: impl FnOnce(&mut guest::Vm)) {
        let mut core = self.0.core.borrow_mut();
        match core.state() {
            VmState::Booted => action(&mut core),
            VmState::Paused if core.resume().is_ok() => {
                action(&mut core);
                // It ended meanwhile, if it cannot be paused again.
                let _ = core.pause();
            }
            _ => {}
        }
    }

    /// Ends the VM for good and frees its name.
    pub(super) fn close_for_good(&self) {
        if !self.0.closed.replace(true) {
            self.0.core.borrow_mut().give_up(self.0.fixtures.ready());
            (self.0.on_close)();
        }
    }
}

impl Held for Vm {
    fn begin_close(&self) {
        self.0.ending.set(true);
    }

    fn close(&self) {
        self.close_for_good();
    }

    fn console_tail(&self) -> Option<(String, String)> {
        let mut core = self.0.core.borrow_mut();
        let shown = match core.state() {
            VmState::Booted | VmState::Paused | VmState::Dead => !self.0.closed.get(),
            VmState::Created | VmState::Shutdown => false,
        };
        let tail = shown.then(|| core.console_tail())?;
        (!tail.trim().is_empty()).then(|| (self.0.name.clone(), tail))
    }
}

impl Agent for Vm {
    fn question(&self, call: &Call<'_>, question: Question<'_>) -> Result<(), Raise> {
        self.open(call)?;
        let cancel = call.file().cancel();
        let answer = self.0.core.borrow_mut().call(&cancel, question);
        answer.map_err(|error| self.failed(call, error))
    }

    fn settle(&self, cancel: &Arc<Cancel>, question: Question<'_>) {
        self.at_rest(|core| {
            // Nobody is left who could do better.
            if let Err(error) = core.call(cancel, question) {
                tracing::debug!(%error, "a thing in a guest could not be ended");
            }
        });
    }

    fn session(&self, call: &Call<'_>) -> Result<GuestClient, Raise> {
        self.session_on(call, AGENT_PORT)
    }

    fn now(&self) -> Moment {
        self.0.core.borrow().timeline().now()
    }

    fn holds(&self, moment: Moment) -> bool {
        self.0.core.borrow().timeline().holds(moment)
    }

    fn vm(&self) -> String {
        self.0.name.clone()
    }

    fn shown(&self) -> String {
        format!("VM `{}`", self.0.name)
    }

    fn is_gone(&self) -> bool {
        self.0.closed.get() || self.0.ending.get()
    }
}

impl Remote for Vm {
    fn is_classic(&self) -> bool {
        self.0.classic.get()
    }

    fn agent(&self) -> Rc<dyn Agent> {
        Rc::new(self.clone())
    }
}
