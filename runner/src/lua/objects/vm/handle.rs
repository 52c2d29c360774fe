//! The VM behind a test's handle: its declaration, its machine, what it can be asked.
//!
//! Input: a profile and boot options. Output: a machine that is booted, saved, restored and closed; answers
//! of its agent. Not here: the life of a VM itself, which `provium_guest::Vm` has without Lua; and the
//! methods that Lua finds.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use provium_base::cancel::Cancel;
use provium_base::events::Stage;
use provium_base::failure::GuestSplat;
use provium_cache::Input;
use provium_guest::{
    AGENT_PORT, BootError, BootOptions, ConsoleMark, Epoch, GuestClient, GuestError, SaveMode, SetupError,
    VmError, VmHandle, VmState, ops,
};
use provium_symbols::Symbolizer;
use provium_vmm::snapshot::Snapshot;

use crate::config::Profile;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::objects::agent::{Agent, Question};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::places;
use crate::lua::state::scope::{Held, Witness};
use crate::lua::test::file::File;
use crate::stock::Fixtures;

/// How long a guest may take to answer for a failure's artifacts.
const WITNESS_LIMIT: Duration = Duration::from_secs(3);

/// A VM of a test. The handle is cheap to clone; the VM behind it is shared.
#[derive(Clone)]
pub(crate) struct Vm(Rc<DeclaredVm>);

/// A VM that was declared, which its handles share.
struct DeclaredVm {
    handle: VmHandle,
    profile: Profile,
    fixtures: Arc<Fixtures>,
    /// Called once it is closed for good.
    on_close: Box<dyn Fn()>,
    classic: Cell<bool>,
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
        let handle =
            VmHandle::declare(name, profile.guest.clone(), options).map_err(|error| error.to_string())?;
        Ok(Vm(Rc::new(DeclaredVm {
            handle,
            profile,
            fixtures,
            on_close,
            classic: Cell::default(),
            ending: Cell::default(),
        })))
    }

    /// The VM as the guest side has it, without Lua.
    pub(crate) fn handle(&self) -> &VmHandle {
        &self.0.handle
    }

    /// Whether the VM was closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.handle.is_closed()
    }

    /// Makes it one of the classic dialect.
    pub(crate) fn set_classic(&self) {
        self.0.classic.set(true);
    }

    /// Whether it and `other` are the same VM.
    pub(crate) fn is(&self, other: &Vm) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Profile of the VM.
    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    /// Saves it into `folder`.
    pub(crate) fn save(&self, file: &File, folder: &Path, mode: SaveMode) -> Result<Arc<Snapshot>, VmError> {
        let store = self.0.fixtures.until(&file.cancel());
        self.0.handle.save(folder, mode, &store)
    }

    /// Starts it from a snapshot.
    pub(crate) fn restore(&self, call: &Call<'_>, snapshot: &Arc<Snapshot>) -> Result<(), VmError> {
        let file = call.file();
        let store = self.0.fixtures.until(&file.cancel());
        let vm = self.name().to_owned();
        file.at_stage(Stage::Resumes { vm }, || self.0.handle.restore(snapshot, &store))
    }

    /// Name of the VM.
    pub(crate) fn name(&self) -> &str {
        self.0.handle.name()
    }

    /// The VM itself, which nobody else uses meanwhile.
    pub(crate) fn core(&self) -> MutexGuard<'_, provium_guest::Vm> {
        self.0.handle.lock()
    }

    /// A failure to prepare or boot it, in the words of a call.
    fn not_set_up(&self, call: &Call<'_>, error: SetupError) -> Raise {
        match error {
            SetupError::Options(error) => call.fail(error),
            SetupError::Vm(error) => self.failed(call, error),
        }
    }

    /// Symbols of its kernel.
    fn symbols(&self) -> Arc<Symbolizer> {
        self.0.fixtures.symbols(&self.0.profile)
    }

    /// An error in the words of a call.
    pub(crate) fn failed(&self, call: &Call<'_>, error: VmError) -> Raise {
        match error {
            VmError::Guest(error) => {
                let why = self.without_programs(&error).unwrap_or_default();
                call.fail(format_args!("VM `{}`: {error}{why}", self.name()))
            }
            VmError::Boot { error: ref boot, .. } => {
                let places = match &**boot {
                    BootError::TimedOut { places, .. } => places.as_slice(),
                    // The failure of the test that was ended has them.
                    _ => &[],
                };
                let symbols = self.symbols();
                let mut text = symbols.annotate(&error.to_string());
                for line in places::shown(self.name(), places, &symbols) {
                    text = format!("{text}\n{line}");
                }
                call.fail(text)
            }
            error => call.fail(error),
        }
    }

    /// Why a program cannot be there, if nothing brings any.
    fn without_programs(&self, error: &GuestError) -> Option<String> {
        let profile = &self.0.profile;
        let none =
            profile.guest.initrd.is_none() && profile.guest.rootfs.is_none() && !profile.guest.host_root;
        let missing = error.errno() == Some(libc::ENOENT) && error.to_string().starts_with("exec ");
        (none && missing).then(|| {
            let root = match profile
                .guest
                .cmdline
                .split_whitespace()
                .any(|word| word.starts_with("root="))
            {
                true => ", and `root=` has no effect: use `rootfs`",
                false => "",
            };
            format!(
                "; profile `{}` has neither `initrd` nor `rootfs`, so the guest has no programs{root}",
                profile.name
            )
        })
    }

    /// Runs `action` on the VM; the call returns its object.
    pub(super) fn act(
        &self,
        call: &Call<'_>,
        action: impl FnOnce(&mut provium_guest::Vm) -> Result<(), VmError>,
    ) -> Answer {
        call.at_most(0)?;
        self.open(call)?;
        action(&mut self.core()).map_err(|error| self.failed(call, error))?;
        call.this()
    }

    /// Gives the VM the disks of its profile and of `options`. In a fixture's source, profile and images
    /// become input.
    pub(super) fn prepare(&self, call: &Call<'_>, options: &BootOptions) -> Result<(), Raise> {
        let profile = &self.0.profile;
        call.takes_in(Input::Profile {
            name: profile.name.clone(),
        })?;
        let store = self.0.fixtures.until(&call.file().cancel());
        let specs = self.0.handle.prepare(options, &store);
        let specs = specs.map_err(|error| self.not_set_up(call, error))?;
        // The image of the root is the profile's, which is an input as a whole.
        let named = specs.iter().skip(usize::from(profile.guest.rootfs.is_some()));
        for image in named.filter_map(|spec| spec.image.as_deref()) {
            call.takes_in_file(image)?;
        }
        Ok(())
    }

    /// Gives a VM that was never booted the disks it was declared with.
    pub(crate) fn prepare_declared(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.0.handle.state() {
            VmState::Created => self.prepare(call, &self.0.handle.options()),
            _ => Ok(()),
        }
    }

    /// Boots it with these changes to what it was declared with; they stay if it boots.
    pub(super) fn boot(&self, call: &Call<'_>, changes: BootOptions) -> Result<(), Raise> {
        let options = changes.over(&self.0.handle.options());
        self.prepare(call, &options)?;
        let (file, vm) = (call.file(), self.name().to_owned());
        let booted = file.at_stage(Stage::Boots { vm }, || {
            self.0.handle.boot(options, &file.cancel())
        });
        booted.map_err(|error| self.not_set_up(call, error))
    }

    /// Refuses a VM that was closed for good.
    pub(crate) fn open(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.is_closed() {
            false => Ok(()),
            true => Err(call.fail(format_args!("VM `{}` is closed", self.name()))),
        }
    }

    /// A further session with the process of the agent's that listens on a port.
    pub(crate) fn session_on(&self, call: &Call<'_>, port: u32) -> Result<GuestClient, Raise> {
        self.open(call)?;
        let cancel = call.file().cancel();
        let session = self.core().session(port, &cancel);
        session.map_err(|error| self.failed(call, error))
    }

    /// Does something in a guest at the end of a scope: not in one that has ended, and one that is paused
    /// runs meanwhile.
    pub(crate) fn at_rest(&self, action: impl FnOnce(&mut provium_guest::Vm)) {
        let mut core = self.core();
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
        if self.0.handle.close(&self.0.fixtures.until(&Cancel::new())) {
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

    fn unseen_splats(&self, cancel: &Arc<Cancel>) -> Vec<GuestSplat> {
        if self.is_closed() {
            return Vec::new();
        }
        let unseen = self.core().unseen_splats(cancel);
        // A VM that cannot be asked has ended, which the test's next call of it will say.
        let unseen = unseen.unwrap_or_default().into_iter();
        unseen
            .map(|found| GuestSplat {
                vm: self.name().to_owned(),
                kind: found.kind.to_string(),
                head: found.head,
                text: found.text,
            })
            .collect()
    }

    fn witness(&self) -> Option<&dyn Witness> {
        let shown = match self.core().state() {
            VmState::Booted | VmState::Paused | VmState::Dead => !self.is_closed(),
            VmState::Created | VmState::Shutdown => false,
        };
        shown.then_some(self)
    }
}

impl Witness for Vm {
    fn vm(&self) -> String {
        self.name().to_owned()
    }

    fn console_mark(&self) -> ConsoleMark {
        self.core().console_mark()
    }

    fn console_after(&self, mark: Option<ConsoleMark>) -> Vec<u8> {
        let core = self.core();
        mark.map_or_else(|| core.console_log(), |mark| core.console_after(mark))
    }

    fn death(&self) -> Option<String> {
        let mut core = self.core();
        (core.state() == VmState::Dead).then(|| core.why().unwrap_or_default())
    }

    fn annotated(&self, text: &str) -> String {
        self.symbols().annotate(text)
    }

    fn vcpu_places(&self) -> Vec<String> {
        let places = self.core().vcpu_places();
        places::shown(self.name(), &places, &self.symbols())
    }

    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self
            .core()
            .ask_aside(WITNESS_LIMIT, |client| client.ask(ops::read_file(path)));
        answer.map_err(|error| error.to_string())
    }

    fn kernel_log(&self) -> Result<Vec<u8>, String> {
        let answer = self.core().ask_aside(WITNESS_LIMIT, GuestClient::kernel_log);
        let log = answer.map_err(|error| error.to_string())?;
        log.map_err(|error| error.to_string())
    }
}

impl Agent for Vm {
    fn question(&self, call: &Call<'_>, question: Question<'_>) -> Result<(), Raise> {
        self.open(call)?;
        let cancel = call.file().cancel();
        let answer = self.core().call(&cancel, question);
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

    fn now(&self) -> Epoch {
        self.core().timeline().now()
    }

    fn holds(&self, epoch: Epoch) -> bool {
        self.core().timeline().holds(epoch)
    }

    fn vm(&self) -> String {
        self.name().to_owned()
    }

    fn shown(&self) -> String {
        format!("VM `{}`", self.name())
    }

    fn is_gone(&self) -> bool {
        self.is_closed() || self.0.ending.get()
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
