//! `Console`: a VM's serial console.
//!
//! Enters: calls of a test. Leaves: what the guest printed. Absent on purpose: interpreting it; bytes stay bytes.

use std::cell::Cell;
use std::rc::Rc;

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::{Call, Raise, one};
use crate::lua::objects::stream::{ConsoleSource, ConsoleStream};
use crate::lua::objects::vm::Vm;

/// The console of a VM.
#[derive(Clone)]
pub(crate) struct Console(Vm, Rc<Cell<bool>>);

impl Console {
    /// The console of `vm`.
    pub(crate) fn new(vm: Vm) -> Console {
        Console(vm, Rc::default())
    }

    /// Its VM, unless that or the handle was closed.
    pub(crate) fn open(&self, call: &Call<'_>) -> Result<&Vm, Raise> {
        self.live(call)?;
        self.0.open(call)?;
        Ok(&self.0)
    }

    /// Refuses a handle that was closed; what a VM has printed outlives the VM.
    fn live(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.1.get() {
            false => Ok(()),
            true => Err(call.fail(format_args!("this console of VM `{}` is closed", self.0.name()))),
        }
    }

    /// Ends what can be done through this handle.
    pub(crate) fn close(&self) {
        self.1.set(true);
    }
}

impl Kind for Console {
    const NAME: &'static str = "Console";
    const PREFIX: &'static str = "console";

    fn methods() -> Vec<Method<Console>> {
        let mut methods: Vec<Method<Console>> = vec![
            Method {
                name: "read",
                signature: "(): ConsoleStream",
                doc: "A stream of what is printed, from the start or from what `expect` found last.",
                run: |call, console| {
                    call.at_most(0)?;
                    console.open(call)?;
                    let source = Box::new(ConsoleSource::new(&console.0));
                    let stream = ConsoleStream::open(call, source);
                    one(call.lua(), stream.into_userdata(call.lua())?)
                },
            },
            Method {
                name: "read_log",
                signature: "(): string",
                doc: "Everything printed since the VM's last boot.",
                run: |call: &mut Call<'_>, console| {
                    call.at_most(0)?;
                    console.live(call)?;
                    let log = console.0.core().borrow().console_log();
                    one(call.lua(), call.lua().create_string(log)?)
                },
            },
        ];
        methods.extend(crate::lua::objects::console_talk::methods());
        methods
    }

    fn describe(&self) -> String {
        format!("Console of VM `{}`", self.0.name())
    }

    fn same(&self, other: &Console) -> bool {
        self.0.same(&other.0)
    }
}
