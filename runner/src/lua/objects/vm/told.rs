//! Events about the machines of a file's VMs, for whoever follows the run.
//!
//! Input: machines that begin and end. Output: [`VmEvent`]s. Not here: who follows.

use std::fmt;
use std::sync::Arc;

use provium_base::events::{Event, Sink, VmChange, VmEvent, VmStart};
use provium_guest::LifeWatch;

/// Tells a sink of a VM's machines.
pub(crate) struct Told {
    /// The file.
    pub(crate) path: String,
    /// The VM's profile.
    pub(crate) profile: String,
    /// Who hears.
    pub(crate) sink: Arc<dyn Sink>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Told {
    fn tell(&self, vm: &str, what: VmChange) {
        let (path, vm) = (self.path.clone(), vm.to_owned());
        self.sink.emit(Event::Vm(VmEvent { path, vm, what }));
    }
}

impl LifeWatch for Told {
    fn began(&self, vm: &str, memory: u64, cid: u32, how: VmStart) {
        let profile = self.profile.clone();
        self.tell(
            vm,
            VmChange::Began {
                profile,
                memory,
                cid,
                how,
            },
        );
    }

    fn ended(&self, vm: &str, died: Option<&str>) {
        let died = died.map(str::to_owned);
        self.tell(vm, VmChange::Ended { died });
    }
}
