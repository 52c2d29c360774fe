//! `Console`: a VM's serial console.
//!
//! Enters: calls of a test. Leaves: what the guest printed. Absent on purpose: interpreting it; bytes stay bytes.

use super::binding::{Kind, Method};
use super::call::{Call, one};
use super::stream::{ConsoleSource, ConsoleStream};
use super::vm::Vm;

/// The console of a VM.
#[derive(Clone)]
pub(crate) struct Console(Vm);

impl Console {
    /// The console of `vm`.
    pub(crate) fn new(vm: Vm) -> Console {
        Console(vm)
    }
}

impl Kind for Console {
    const NAME: &'static str = "Console";
    const PREFIX: &'static str = "console";

    fn methods() -> Vec<Method<Console>> {
        vec![
            Method {
                name: "read",
                signature: "(): ConsoleStream",
                doc: "A stream of what is printed, from the start on.",
                run: |call, console| {
                    call.at_most(0)?;
                    console.0.open(call)?;
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
                    let log = console.0.core().borrow().console_log();
                    one(call.lua(), call.lua().create_string(log)?)
                },
            },
        ]
    }

    fn describe(&self) -> String {
        format!("Console of VM `{}`", self.0.name())
    }

    fn same(&self, other: &Console) -> bool {
        self.0.same(&other.0)
    }
}
