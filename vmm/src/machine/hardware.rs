//! What a machine is made of once it is created: memory, vCPUs, devices, the KVM machine.
//!
//! Input: memory and a shape. Output: [`Hardware`], which goes when the machine ends, and [`HostEnds`], which
//! stay with the handle. Not here: loading a kernel or a snapshot into it.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use provium_devices::GuestRam;
use provium_devices::virtio::vsock::Vsock;

use super::baseline::Baseline;
use super::console::Console;
use super::error::MachineError;
use super::lifecycle::Lifecycle;
use super::platform::{DeviceOptions, Platform};
use crate::kvm::vcpu::Vcpu;
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, host};
use crate::snapshot::state::Shape;

/// What a machine gives back when it ends.
pub(super) struct Hardware {
    pub(super) vcpus: Vec<Arc<Mutex<Vcpu>>>,
    pub(super) platform: Arc<Platform>,
    pub(super) ram: GuestRam,
    /// The supervisor's thread; `None` until the machine is started.
    pub(super) supervisor: Option<JoinHandle<()>>,
    /// Bytes of memory and number of vCPUs.
    pub(super) shape: Shape,
    /// The snapshot the machine was equal to, and what has changed since.
    pub(super) baseline: Option<Baseline>,
    // Last: the machine goes after its vCPUs.
    pub(super) vm: Vm,
}

/// The parts of a machine that outlive its end.
pub(super) struct HostEnds {
    pub(super) life: Arc<Lifecycle>,
    pub(super) console: Arc<Console>,
    pub(super) vsock: Vsock,
}

impl Hardware {
    /// Creates vCPUs and devices around `ram`, all at rest, for a guest with context id `cid`. With
    /// `log_dirty`, KVM notes from the start which pages vCPUs write.
    pub(super) fn create(
        ram: GuestRam,
        shape: Shape,
        cid: u32,
        devices: DeviceOptions,
        log_dirty: bool,
    ) -> Result<(Hardware, HostEnds), MachineError> {
        let vm = Vm::create(&ram, shape.cpus, log_dirty)?;
        let vsock = Vsock::new(cid);
        let life = Arc::new(Lifecycle::new(vsock.clone())?);
        let console = Console::new({
            let life = Arc::clone(&life);
            Box::new(move |sign| life.panic_sign(sign))
        });
        let platform = Platform::new(&vm, &ram, &life, &console, vsock.clone(), devices)?;
        let (offer, _) = host::offer(&vm.kvm)?;
        let vcpus = (0..shape.cpus).map(|index| {
            let vcpu = Vcpu::create(&vm, offer, index, shape.cpus)?;
            Ok(Arc::new(Mutex::new(vcpu)))
        });
        let vcpus = vcpus.collect::<Result<_, KvmError>>()?;
        let hardware = Hardware {
            vcpus,
            platform: Arc::new(platform),
            ram,
            supervisor: None,
            shape,
            baseline: None,
            vm,
        };
        Ok((hardware, HostEnds { life, console, vsock }))
    }
}
