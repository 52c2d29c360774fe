//! What Lua finds in a `VM`.

use super::remote;
use crate::lua::api::binding::{Kind, Method};
use crate::lua::objects::vm::handle::Vm;
use crate::lua::objects::vm::{methods, wait};
use crate::lua::objects::{clock, console, disk, files, folders, snapshot, worker};

impl Kind for Vm {
    const NAME: &'static str = "VM";
    const PREFIX: &'static str = "vm";

    fn methods() -> Vec<Method<Vm>> {
        let mut all = methods::life();
        all.extend(console::vm_methods());
        all.extend(clock::vm_methods());
        all.extend(worker::vm_methods());
        all.extend(methods::open_things());
        all.extend(snapshot::calls::vm_methods());
        all.extend(files::vm_methods());
        all.extend(folders::vm_methods());
        all.extend(disk::vm_methods());
        all.extend(wait::methods());
        all.extend(remote::methods());
        all
    }

    fn describe(&self) -> String {
        format!("VM `{}` ({})", self.name(), self.core().state())
    }

    fn same(&self, other: &Vm) -> bool {
        self.is(other)
    }
}
