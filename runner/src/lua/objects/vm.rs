//! `VM`: a guest as Lua sees it.
//!
//! Enters: calls of a test. Leaves: what the VM behind the handle did; the handle is cheap and the VM is shared.
//! Absent on purpose: the life of a VM itself, which `guest::Vm` has without Lua.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use mlua::Value;
use provium_protocol::AGENT_PORT;
use provium_vmm::disk::DiskSpec;
use provium_vmm::snapshot::Snapshot;

use crate::cancel::Cancel;
use crate::config::Profile;
use crate::fixture::Input;
use crate::guest::{self, Fixtures, GuestClient, Moment, ROOTFS_DISK, VmError, VmState};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::{Answer, Call, Raise, none, one};
use crate::lua::objects::agent::{Agent, Question};
use crate::lua::objects::boot_options::BootOptions;
use crate::lua::objects::clock::Clock;
use crate::lua::objects::console::Console;
use crate::lua::objects::disk;
use crate::lua::objects::lab::WeakLab;
use crate::lua::objects::remote::{self, Remote};
use crate::lua::state::scope::Resource;
use crate::lua::test::file::Sort;

/// A VM.
#[derive(Clone)]
pub(crate) struct Vm(Rc<Shared>);

struct Shared {
    name: String,
    profile: Profile,
    options: RefCell<BootOptions>,
    core: RefCell<guest::Vm>,
    lab: WeakLab,
    fixtures: Arc<Fixtures>,
    closed: Cell<bool>,
    classic: Cell<bool>,
    console_mark: Cell<u64>,
    /// It is about to be closed: what is in it need not be.
    ending: Cell<bool>,
}

impl Vm {
    /// Declares a VM of `lab`.
    pub(crate) fn new(
        name: String,
        profile: Profile,
        options: BootOptions,
        lab: WeakLab,
        fixtures: Arc<Fixtures>,
    ) -> Result<Vm, String> {
        let mut core = guest::Vm::new(name.clone(), options.machine(&profile)?, options.boot_timeout());
        core.set_initial_time(options.initial_time());
        Ok(Vm(Rc::new(Shared {
            name,
            profile,
            options: RefCell::new(options),
            core: RefCell::new(core),
            lab,
            fixtures,
            closed: Cell::default(),
            classic: Cell::default(),
            console_mark: Cell::default(),
            ending: Cell::default(),
        })))
    }

    /// Whether it was closed for good.
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

    /// Its profile.
    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    /// What it was declared and booted with.
    pub(crate) fn options(&self) -> BootOptions {
        self.0.options.borrow().clone()
    }

    /// Saves it into `folder`; with `on_parent`, on top of the fixture it came from, if it did. One that is `lasting`
    /// can be used when an image below a disk was copied or touched since.
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

    /// Starts it from a snapshot, or puts it back to one with `in_place`.
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

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The VM without Lua.
    pub(crate) fn core(&self) -> &RefCell<guest::Vm> {
        &self.0.core
    }

    /// A failure in the words of this call.
    pub(crate) fn failed(&self, call: &Call<'_>, error: VmError) -> Raise {
        match error {
            VmError::Guest(error) => call.fail(format_args!("VM `{}`: {error}", self.0.name)),
            error => call.fail(error),
        }
    }

    /// Runs `action` on the VM; the call returns its object.
    fn act(&self, call: &Call<'_>, action: impl FnOnce(&mut guest::Vm) -> Result<(), VmError>) -> Answer {
        call.at_most(0)?;
        self.open(call)?;
        action(&mut self.0.core.borrow_mut()).map_err(|error| self.failed(call, error))?;
        call.this()
    }

    /// Gives it what it boots with: the disks of its profile and of `options`. In a fixture, all that becomes input.
    fn prepare(&self, call: &Call<'_>, options: &BootOptions) -> Result<(), Raise> {
        let profile = &self.0.profile;
        let input = Input::Profile {
            name: profile.name.clone(),
        };
        call.file()
            .takes_in(input)
            .map_err(|message| call.fail(message))?;
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
            disk::takes_in(call, &spec)?;
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

    /// Does something in a guest at the end of a scope: not in one that has ended, and one that is paused runs
    /// meanwhile.
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

    /// Ends it for good and gives its name back.
    fn close_for_good(&self) {
        if !self.0.closed.replace(true) {
            self.0.core.borrow_mut().give_up(self.0.fixtures.ready());
            self.0.lab.forget_closed();
        }
    }
}

impl Resource for Vm {
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

impl Kind for Vm {
    const NAME: &'static str = "VM";
    const PREFIX: &'static str = "vm";

    fn methods() -> Vec<Method<Vm>> {
        let mut methods = vec![
            Method {
                name: "boot",
                signature: "(opts?: table): VM",
                doc: "Boots it; returns when its agent answers.",
                run: boot,
            },
            Method {
                name: "pause",
                signature: "(): VM",
                doc: "Stops its vCPUs.",
                run: |call, vm| vm.act(call, guest::Vm::pause),
            },
            Method {
                name: "resume",
                signature: "(): VM",
                doc: "Lets its vCPUs go on.",
                run: |call, vm| vm.act(call, guest::Vm::resume),
            },
            Method {
                name: "shutdown",
                signature: "(): VM",
                doc: "Shuts it down in order; kills it after 10 seconds.",
                run: |call, vm| {
                    let cancel = call.file().cancel();
                    vm.act(call, |core| core.shutdown(&cancel))
                },
            },
            Method {
                name: "reset",
                signature: "(): VM",
                doc: "Ends it at once and boots it again, as the reset line of a board does.",
                run: |call, vm| {
                    let cancel = call.file().cancel();
                    vm.0.console_mark.set(0);
                    vm.act(call, |core| core.reset(&cancel))
                },
            },
            Method {
                name: "power_button",
                signature: "(): VM",
                doc: "Presses its power button; the guest may shut down.",
                run: |call, vm| vm.act(call, guest::Vm::power_button),
            },
            Method {
                name: "kill",
                signature: "(): VM",
                doc: "Ends it at once.",
                run: |call, vm| {
                    vm.act(call, |core| {
                        core.kill();
                        Ok(())
                    })
                },
            },
            Method {
                name: "close",
                signature: "()",
                doc: "Ends it for good and frees its name; calling it again does nothing.",
                run: |_, vm| {
                    vm.close_for_good();
                    none()
                },
            },
            Method {
                name: "name",
                signature: "(): string",
                doc: "Its name.",
                run: |call, vm| one(call.lua(), vm.name()),
            },
            Method {
                name: "profile",
                signature: "(): string",
                doc: "Name of its profile.",
                run: |call, vm| one(call.lua(), vm.0.profile.name.as_str()),
            },
            Method {
                name: "state",
                signature: "(): \"created\"|\"booted\"|\"paused\"|\"shutdown\"|\"dead\"",
                doc: "Where it is in its life.",
                run: |call, vm| one(call.lua(), vm.0.core.borrow_mut().state().to_string()),
            },
            Method {
                name: "cid",
                signature: "(): integer?",
                doc: "Its vsock context id; nil while it does not run.",
                run: |call, vm| one(call.lua(), vm.0.core.borrow().cid()),
            },
            Method {
                name: "uptime",
                signature: "(): number",
                doc: "Seconds since its kernel started, by its own clock.",
                run: uptime,
            },
            Method {
                name: "console",
                signature: "(): Console",
                doc: "Its serial console.",
                run: |call, vm| one(call.lua(), Console::new(vm.clone()).into_userdata(call.lua())?),
            },
            Method {
                name: "clock",
                signature: "(): Clock",
                doc: "Its wall clock.",
                run: |call, vm| {
                    call.at_most(0)?;
                    one(call.lua(), Clock::new(vm.clone()).into_userdata(call.lua())?)
                },
            },
        ];
        methods.push(Method {
            name: "spawn_worker",
            signature: "(opts?: {thread: boolean}): Worker",
            doc: "Makes a worker: a process of the agent's, or with `thread` a thread of it.",
            run: crate::lua::objects::worker::spawn_worker,
        });
        methods.push(Method {
            name: "spawn",
            signature: "(opts?: {thread: boolean}): Worker",
            doc: "The same as `spawn_worker`, by its classic name.",
            run: crate::lua::objects::worker::spawn_worker,
        });
        methods.push(Method {
            name: "is_quiescent",
            signature: "(): boolean",
            doc: "Whether nothing that was made in it is open or running.",
            run: |call, vm| {
                let sorts = [Sort::Stream, Sort::Worker, Sort::File, Sort::Process];
                let open: usize = sorts
                    .iter()
                    .map(|sort| call.file().open_count(vm.name(), *sort))
                    .sum();
                one(call.lua(), open == 0)
            },
        });
        methods.push(Method {
            name: "open_file_count",
            signature: "(): integer",
            doc: "How many Files are open in it.",
            run: |call, vm| one(call.lua(), call.file().open_count(vm.name(), Sort::File)),
        });
        methods.push(Method {
            name: "open_stream_count",
            signature: "(): integer",
            doc: "How many streams of it are open.",
            run: |call, vm| one(call.lua(), call.file().open_count(vm.name(), Sort::Stream)),
        });
        methods.extend(crate::lua::objects::snapshot::vm_methods());
        methods.extend(disk::vm_methods());
        methods.extend(remote::methods());
        methods
    }

    fn describe(&self) -> String {
        format!("VM `{}` ({})", self.0.name, self.0.core.borrow_mut().state())
    }

    fn same(&self, other: &Vm) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn boot(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    let asked = match call.arg(0) {
        Value::Nil => BootOptions::default(),
        _ => BootOptions::read(call, call.options(0)?)?,
    };
    let options = asked.over(&vm.0.options.borrow());
    let cancel = call.file().cancel();
    vm.prepare(call, &options)?;
    let mut core = vm.0.core.borrow_mut();
    let machine = options
        .machine(&vm.0.profile)
        .map_err(|message| call.fail(message))?;
    core.set_config(machine, options.boot_timeout());
    core.set_initial_time(options.initial_time());
    vm.0.console_mark.set(0);
    core.boot(&cancel).map_err(|error| vm.failed(call, error))?;
    *vm.0.options.borrow_mut() = options;
    call.this()
}

fn uptime(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(0)?;
    vm.open(call)?;
    let cancel = call.file().cancel();
    let seconds =
        vm.0.core
            .borrow_mut()
            .uptime(&cancel)
            .map_err(|error| vm.failed(call, error))?;
    one(call.lua(), seconds)
}
