//! The machine's devices and where they are on its two buses.
//!
//! Input: the KVM machine, memory, the slot table. Output: a [`Platform`] that vCPU threads reach by port and
//! address, and the calls that concern all devices at once. Not here: what a single device does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use provium_devices::legacy::pci::PciHostBridge;
use provium_devices::legacy::power::{AcpiPower, KeyboardReset, PanicNotifier, PowerListener};
use provium_devices::legacy::serial::SerialPort;
use provium_devices::virtio::VirtioDevice;
use provium_devices::virtio::fs::Fs;
use provium_devices::virtio::mmio::{MMIO_SIZE, MmioTransport};
use provium_devices::virtio::page::RegisterPage;
use provium_devices::virtio::registers::reg;
use provium_devices::virtio::rng::Rng;
use provium_devices::virtio::vsock::Vsock;
use provium_devices::{Bus, GuestRam, IrqLine, StateError};

use vm_memory::{Bytes, MmapRegion, VolatileMemory};

use super::config::MachineConfig;
use super::console::{Console, ConsoleWriter};
use super::disks::DiskSlots;
use super::error::MachineError;
use super::lifecycle::Lifecycle;
use crate::kvm::vm::Vm;
use crate::layout;
use crate::share::ShareServer;
use crate::slots::{self, DeviceSlot, SlotUse};
use crate::snapshot::state::DevicesState;

/// The page that KVM shows the guest in place of a device's registers.
struct SharedPage(Arc<MmapRegion>);

impl RegisterPage for SharedPage {
    fn show(&self, offset: u64, value: u32) {
        let page = self.0.as_volatile_slice();
        let shown = page.store(value.to_le(), offset as usize, Ordering::Release);
        debug_assert!(shown.is_ok(), "register {offset:#x} is in the page");
    }
}

/// What a machine's devices are made of, besides what every machine has.
#[derive(Default)]
pub(super) struct DeviceOptions {
    /// Seed of the random numbers; `None` for the host's entropy.
    pub(super) rng_seed: Option<u64>,
    /// The shared folders.
    pub(super) shares: ShareServer,
}

impl DeviceOptions {
    /// What the configuration says.
    ///
    /// # Errors
    /// The shared folder that cannot be opened.
    pub(super) fn of(config: &MachineConfig) -> Result<DeviceOptions, MachineError> {
        Ok(DeviceOptions {
            rng_seed: config.rng_seed,
            shares: ShareServer::new(&config.shares)?,
        })
    }
}

/// Every device of a machine, on its buses.
pub(crate) struct Platform {
    pub(crate) ports: Bus,
    pub(crate) mmio: Bus,
    pub(crate) serial: Arc<Mutex<SerialPort<ConsoleWriter>>>,
    pci: Arc<Mutex<PciHostBridge>>,
    transports: Vec<Arc<Mutex<MmioTransport>>>,
    pub(crate) disks: DiskSlots,
    pub(crate) power_button: Arc<dyn IrqLine>,
    /// The slots whose devices the guest is told of.
    pub(crate) virtio: Vec<DeviceSlot>,
    /// Whether folders of the host are shared with the guest.
    has_shares: AtomicBool,
    /// Whether there are none, for good.
    without_shares: AtomicBool,
}

impl Platform {
    /// Creates every device.
    pub(crate) fn new(
        vm: &Vm,
        ram: &GuestRam,
        life: &Arc<Lifecycle>,
        console: &Arc<Console>,
        vsock: Vsock,
        devices: DeviceOptions,
    ) -> Result<Self, MachineError> {
        let mut ports = Bus::default();
        let serial = SerialPort::new(vm.line(layout::SERIAL_GSI), ConsoleWriter(Arc::clone(console)));
        let serial = Arc::new(Mutex::new(serial));
        ports.insert(
            u64::from(layout::SERIAL_PORT),
            SerialPort::<ConsoleWriter>::SIZE,
            serial.clone(),
        )?;

        let listener: PowerListener = {
            let life = Arc::clone(life);
            Arc::new(move |event| life.power_event(event))
        };
        let keyboard = Arc::new(Mutex::new(KeyboardReset::new(listener.clone())));
        ports.insert(u64::from(layout::I8042_PORT), KeyboardReset::SIZE, keyboard)?;
        let power = Arc::new(Mutex::new(AcpiPower::new(listener.clone())));
        ports.insert(u64::from(layout::ACPI_POWER_PORT), AcpiPower::SIZE, power)?;
        let panic = Arc::new(Mutex::new(PanicNotifier::new(listener)));
        ports.insert(u64::from(layout::PVPANIC_PORT), 1, panic)?;

        let pci = Arc::new(Mutex::new(PciHostBridge::default()));
        ports.insert(u64::from(layout::PCI_PORT), PciHostBridge::SIZE, pci.clone())?;

        let mut mmio = Bus::default();
        let mut virtio = Vec::new();
        let mut transports = Vec::new();
        let (disks, slots) = DiskSlots::new(Arc::clone(life));
        let mut slots = slots.into_iter();
        let has_shares = !devices.shares.is_empty();
        let mut shares = Some(devices.shares);
        for slot in slots::TABLE {
            let device: Box<dyn VirtioDevice> = match slot.used_for {
                SlotUse::Vsock => Box::new(vsock.clone()),
                SlotUse::Rng => Box::new(Rng::new(devices.rng_seed)),
                SlotUse::Disk(_) => Box::new(slots.next().expect("a device for each slot of a disk")),
                SlotUse::Nic(_) => continue,
                SlotUse::Fs => Box::new(Fs::new(Box::new(shares.take().unwrap_or_default()))),
            };
            let mut transport = MmioTransport::new(device, ram.clone(), vm.line(slot.gsi));
            if let Some(page) = vm.register_page(slot.base, reg::INTERRUPT_ACK)? {
                transport = transport.on_page(Box::new(SharedPage(page)));
            }
            let transport = Arc::new(Mutex::new(transport));
            mmio.insert(slot.base, MMIO_SIZE, transport.clone())?;
            if slot.used_for != SlotUse::Fs || has_shares {
                virtio.push(slot);
            }
            transports.push(transport);
        }
        Ok(Self {
            ports,
            mmio,
            serial,
            pci,
            transports,
            disks,
            power_button: vm.line(layout::POWER_BUTTON_GSI),
            virtio,
            has_shares: AtomicBool::new(has_shares),
            without_shares: AtomicBool::new(false),
        })
    }

    /// Whether the guest, which runs for the first time, has no shared folders; if so, it never will.
    pub(crate) fn runs_without_shares(&self) -> bool {
        let without = !self.has_shares.load(Ordering::Acquire);
        self.without_shares.fetch_or(without, Ordering::AcqRel);
        without
    }

    /// Whether the guest can have no shared folders any more.
    pub(crate) fn is_without_shares(&self) -> bool {
        self.without_shares.load(Ordering::Acquire)
    }

    /// Has every device tell its driver what it has kept back; the machine is paused.
    pub(crate) fn settle(&self) {
        for transport in &self.transports {
            transport.lock().settle();
        }
    }

    /// The state of every device that has one; the machine is paused.
    pub(crate) fn save(&self) -> DevicesState {
        DevicesState {
            serial: self.serial.lock().save(),
            pci_address: self.pci.lock().save(),
            virtio: self
                .transports
                .iter()
                .map(|transport| transport.lock().save())
                .collect(),
        }
    }

    /// Puts every device into a saved state and drives the interrupt lines accordingly; guest memory has to
    /// be in place.
    pub(crate) fn restore(&self, state: &DevicesState) -> Result<(), StateError> {
        if state.virtio.len() != self.transports.len() {
            let what = format!(
                "{} virtio devices, not {}",
                self.transports.len(),
                state.virtio.len()
            );
            return Err(StateError::new("machine", what));
        }
        for (transport, state) in self.transports.iter().zip(&state.virtio) {
            transport.lock().restore(state)?;
        }
        self.has_shares.store(state.has_shares(), Ordering::Release);
        self.pci.lock().restore(state.pci_address);
        self.serial.lock().restore(&state.serial)
    }

    /// Detaches every device from its queues, so that none touches guest memory; a [`restore`](Self::restore)
    /// follows.
    pub(crate) fn detach_queues(&self) {
        for transport in &self.transports {
            transport.lock().detach_queues();
        }
    }

    /// Makes every device look at its queues.
    pub(crate) fn kick(&self) {
        for transport in &self.transports {
            transport.lock().kick();
        }
    }
}
