//! Every virtio device goes through its whole life before a driver without a guest, and a wrapper around it
//! sees to it that the transport keeps the order it promises.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress};

use crate::irq::FakeLine;
use crate::virtio::block::{Access, Backend, Block, BlockHandle, FaultEffect, ID_BYTES, SECTOR};
use crate::virtio::fake::{FakeDriver, ram};
use crate::virtio::mmio::MmioTransport;
use crate::virtio::registers::reg;
use crate::virtio::rng::Rng;
use crate::virtio::saved::DeviceState;
use crate::virtio::vsock::Vsock;
use crate::virtio::{Activation, F_VERSION_1, VirtioDevice};
use crate::{QueueState, StateError};

/// A device whose every call is checked against the order in the documentation of [`VirtioDevice`].
struct Checked {
    device: Box<dyn VirtioDevice>,
    has_queues: bool,
}

impl VirtioDevice for Checked {
    fn device_id(&self) -> u32 {
        self.device.device_id()
    }
    fn features(&self) -> u64 {
        self.device.features()
    }
    fn queue_sizes(&self) -> &[u16] {
        self.device.queue_sizes()
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.device.read_config(offset, data);
    }
    fn activate(&mut self, activation: Activation) {
        assert!(!self.has_queues, "activated twice");
        assert_eq!(activation.queues.len(), self.queue_sizes().len());
        self.has_queues = true;
        self.device.activate(activation);
    }
    fn notify(&mut self, index: u16) -> bool {
        assert!(self.has_queues, "notified without queues");
        assert!(usize::from(index) < self.queue_sizes().len(), "no queue {index}");
        self.device.notify(index)
    }
    fn reset(&mut self) {
        self.has_queues = false;
        self.device.reset();
        assert!(self.device.queues().is_none(), "it keeps its queues over a reset");
    }
    fn queues(&self) -> Option<Vec<QueueState>> {
        let queues = self.device.queues();
        assert_eq!(queues.is_some(), self.has_queues);
        queues
    }
    fn save(&self) -> DeviceState {
        self.device.save()
    }
    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
        let has_queues = activation.is_some();
        self.device.restore(state, activation)?;
        self.has_queues = has_queues;
        Ok(())
    }
}

/// A medium of zeros.
struct Zeros;

impl Backend for Zeros {
    fn sectors(&self) -> u64 {
        8
    }
    fn is_readonly(&self) -> bool {
        false
    }
    fn id(&self) -> [u8; ID_BYTES] {
        [b'z'; ID_BYTES]
    }
    fn fault_effect(&self, _: Access) -> FaultEffect {
        FaultEffect::default()
    }
    fn read(&self, _: u64, data: &mut [u8]) -> io::Result<()> {
        data.fill(0);
        Ok(())
    }
    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The steps of a device that the monitor takes beside the transport.
trait MonitorSide {
    fn resume(&self) {}
    fn pause(&self) {}
    fn end(&mut self) {}
}

impl MonitorSide for () {}

impl MonitorSide for Vsock {
    fn end(&mut self) {
        Vsock::end(self);
    }
}

struct Worker {
    handle: BlockHandle,
    thread: Option<JoinHandle<()>>,
}

impl MonitorSide for Worker {
    fn resume(&self) {
        self.handle.resume();
    }
    fn pause(&self) {
        self.handle.pause();
    }
    fn end(&mut self) {
        self.handle.end();
        self.thread.take().expect("ended once").join().unwrap();
    }
}

/// A device and the monitor's side of it.
type Created = (Box<dyn VirtioDevice>, Box<dyn MonitorSide>);

/// One kind of device.
struct Subject {
    name: &'static str,
    create: fn() -> Created,
    /// Puts a request into its queues, without a notification.
    offer: fn(&mut FakeDriver),
    /// The queues to notify then, and the queue from which the answer is taken.
    notify: &'static [u16],
    answer: u16,
}

fn rng() -> Created {
    (Box::new(Rng::new(Some(1))), Box::new(()))
}

fn vsock() -> Created {
    let vsock = Vsock::new(3);
    (Box::new(vsock.clone()), Box::new(vsock))
}

fn block() -> Created {
    let (device, handle) = Block::new();
    handle.insert(Arc::new(Zeros));
    let serving = handle.clone();
    let thread = Some(std::thread::spawn(move || serving.serve()));
    (Box::new(device), Box::new(Worker { handle, thread }))
}

/// A vsock packet that asks for a connection to a port where nobody listens; it is refused.
fn call_nobody(driver: &mut FakeDriver) {
    let mut header = [0; 44];
    header[0] = 3; // from the guest
    header[8] = 2; // to the host
    header[16] = 9; // port 9
    header[20] = 9;
    header[28] = 1; // a stream
    header[30] = 1; // REQUEST
    driver.offer(0, 0, Err(4096));
    driver.offer(1, 0, Ok(&header));
}

fn read_sector(driver: &mut FakeDriver) {
    let header = [0; 16];
    let parts = [(0, Ok(&header[..])), (1, Err(SECTOR as u32)), (2, Err(1))];
    driver.offer_chain(0, &parts);
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "rng",
        create: rng,
        offer: |driver| driver.offer(0, 0, Err(64)),
        notify: &[0],
        answer: 0,
    },
    Subject {
        name: "vsock",
        create: vsock,
        offer: call_nobody,
        notify: &[0, 1],
        answer: 0,
    },
    Subject {
        name: "block",
        create: block,
        offer: read_sector,
        notify: &[0],
        answer: 0,
    },
];

/// A device behind its transport, and who uses it.
struct Machine {
    driver: FakeDriver,
    line: Arc<FakeLine>,
    monitor: Box<dyn MonitorSide>,
}

impl Subject {
    /// A device of this kind, at rest, before the driver and the memory of `of`, if there is one.
    fn machine(&self, of: Option<&Machine>) -> Machine {
        let (device, monitor) = (self.create)();
        let checked = Checked {
            device,
            has_queues: false,
        };
        let line = Arc::new(FakeLine::default());
        let transport = MmioTransport::new(Box::new(checked), ram(), line.clone());
        let driver = match of {
            Some(other) => other.driver.onto(transport),
            None => FakeDriver::new(transport),
        };
        Machine {
            driver,
            line,
            monitor,
        }
    }

    /// The driver asks for something and is answered; the machine runs before and after it.
    fn work(&self, machine: &mut Machine) {
        (self.offer)(&mut machine.driver);
        self.notify.iter().for_each(|queue| machine.driver.kick(*queue));
        self.wait(machine);
        assert!(machine.line.is_high(), "{}", self.name);
        machine.driver.write(reg::INTERRUPT_ACK, 3);
    }

    /// Waits for the answer, and for the device to be done with it.
    fn wait(&self, machine: &mut Machine) {
        while machine.driver.take_used_head(self.answer).is_none() {
            std::thread::yield_now();
        }
        machine.monitor.pause();
        machine.monitor.resume();
        // What else came back.
        for queue in self.notify {
            while machine.driver.take_used_head(*queue).is_some() {}
        }
    }
}

#[test]
fn every_device_goes_through_its_whole_life() {
    for subject in SUBJECTS {
        let name = subject.name;
        let mut machine = subject.machine(None);
        assert!(!machine.line.is_high(), "{name}");
        assert!(!machine.driver.transport().save().active, "{name}");
        machine.monitor.resume();
        machine.driver.set_up(F_VERSION_1);
        subject.work(&mut machine);

        machine.monitor.pause();
        (subject.offer)(&mut machine.driver);
        let saved = machine.driver.transport().save();
        assert!(saved.active, "{name}");
        assert_eq!(
            machine.driver.transport().save(),
            saved,
            "{name}: a save changes nothing"
        );

        // In a machine made for it, with a request that waits: the kick takes it up.
        let mut other = subject.machine(Some(&machine));
        other.driver.transport().detach_queues();
        other.driver.transport().restore(&saved).unwrap();
        assert_eq!(other.driver.transport().save(), saved, "{name}");
        other.driver.transport().kick();
        other.monitor.resume();
        subject.wait(&mut other);
        assert!(other.line.is_high(), "{name}");

        // In place, with nothing that waits; and again.
        for _ in 0..2 {
            other.monitor.pause();
            let state = other.driver.transport().save();
            other.driver.transport().detach_queues();
            other.driver.transport().restore(&state).unwrap();
            assert_eq!(other.driver.transport().save(), state, "{name}");
            assert_eq!(other.line.is_high(), state.interrupt != 0, "{name}");
            other.driver.transport().kick();
            other.monitor.resume();
            subject.work(&mut other);
        }

        // The driver's own reset, and a new beginning.
        other.driver.write(reg::STATUS, 0);
        assert!(!other.line.is_high(), "{name}");
        assert!(!other.driver.transport().save().active, "{name}");
        other.driver.set_up(F_VERSION_1);
        subject.work(&mut other);
        machine.monitor.end();
        other.monitor.end();
    }
}

#[test]
fn a_device_without_its_queues_touches_no_memory() {
    for subject in SUBJECTS {
        let mut machine = subject.machine(None);
        machine.monitor.resume();
        machine.driver.set_up(F_VERSION_1);
        subject.work(&mut machine);
        machine.monitor.pause();
        (subject.offer)(&mut machine.driver);
        machine.driver.transport().detach_queues();
        let memory = |machine: &Machine| {
            let mut memory = vec![0; 4 << 20];
            machine
                .driver
                .ram()
                .read_slice(&mut memory, GuestAddress(0))
                .unwrap();
            memory
        };
        let before = memory(&machine);
        // Sooner than it may: should it still have the queue, it would serve it now.
        machine.monitor.resume();
        std::thread::sleep(Duration::from_millis(5));
        machine.monitor.end();
        assert!(memory(&machine) == before, "{}", subject.name);
        assert!(!machine.line.is_high(), "{}", subject.name);
    }
}

#[test]
#[should_panic(expected = "notified without queues")]
fn a_kick_between_detach_and_restore_is_noticed() {
    let mut machine = SUBJECTS[0].machine(None);
    machine.driver.set_up(F_VERSION_1);
    machine.driver.transport().detach_queues();
    machine.driver.transport().kick();
}
