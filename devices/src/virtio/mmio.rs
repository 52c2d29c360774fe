//! The MMIO transport, virtio 1.2 section 4.2: registers, negotiation, queue set-up.
//!
//! Input: register accesses of a driver that is not trusted. Output: a device activated with queues that lie
//! in guest memory. Not here: legacy (version 1) registers, shared memory regions.
//!
//! A driver that breaks the order of section 3.1 is ignored where that is harmless and told
//! DEVICE_NEEDS_RESET where it is not.

use std::sync::Arc;

use virtio_queue::{Queue, QueueT};

use super::device::{Activation, F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, VirtioDevice};
use super::interrupt::Interrupt;
use super::page::{RegisterPage, show};
use super::registers::{reg, status};
use super::saved::TransportState;
use crate::{BusDevice, GuestRam, IrqLine, QueueState, StateError};

/// Bytes of register space of one transport.
pub const MMIO_SIZE: u64 = 0x1000;

const MAGIC: u32 = 0x7472_6976; // "virt"
const VERSION: u32 = 2;
const VENDOR: u32 = 0x5650_5250; // "PRPV"

/// One device on the bus, behind its registers.
pub struct MmioTransport {
    device: Box<dyn VirtioDevice>,
    ram: GuestRam,
    interrupt: Arc<Interrupt>,
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<Queue>,
    active: bool,
    /// One bit for each queue that the device has not finished with.
    unfinished: u32,
    page: Option<Box<dyn RegisterPage>>,
}

impl MmioTransport {
    /// The state of the transport and its device.
    pub fn save(&self) -> TransportState {
        let own = || self.queues.iter().map(QueueState::of).collect();
        TransportState {
            device_id: self.device.device_id(),
            status: self.status,
            device_features_sel: self.device_features_sel,
            driver_features_sel: self.driver_features_sel,
            driver_features: self.driver_features,
            queue_sel: self.queue_sel,
            active: self.active,
            interrupt: self.interrupt.status(),
            queues: self.device.queues().unwrap_or_else(own),
            device: self.device.save(),
        }
    }

    /// Puts transport and device into a saved state, whatever they are doing. The guest's memory has to be
    /// the one that belongs to it; [`kick`](Self::kick) follows when all else is in place.
    ///
    /// # Errors
    /// [`StateError`] when this transport cannot have been in that state; nothing has changed then.
    pub fn restore(&mut self, state: &TransportState) -> Result<(), StateError> {
        const WHO: &str = "virtio transport";
        let id = self.device.device_id();
        if state.device_id != id {
            let what = format!("it belongs to device {}, and this is {id}", state.device_id);
            return Err(StateError::new(WHO, what));
        }
        let foreign = state.driver_features & !self.offered();
        if state.status & status::FEATURES_OK != 0 && foreign != 0 {
            let what = format!("features {foreign:#x} of device {id} were never offered");
            return Err(StateError::new(WHO, what));
        }
        let sizes = self.device.queue_sizes();
        if state.queues.len() != sizes.len() {
            let what = format!(
                "device {id} has {} queues, not {}",
                sizes.len(),
                state.queues.len()
            );
            return Err(StateError::new(WHO, what));
        }
        let restored = state.queues.iter().zip(sizes);
        let restored = restored.map(|(queue, &size)| queue.queue(size, &self.ram, WHO));
        let restored: Vec<Queue> = restored.collect::<Result<_, _>>()?;
        let (queues, activation) = if state.active {
            let mut queues = fresh_queues(&*self.device);
            for (mine, theirs) in queues.iter_mut().zip(&restored) {
                mine.set_ready(theirs.ready());
            }
            let activation = Activation {
                ram: self.ram.clone(),
                queues: restored,
                interrupt: Arc::clone(&self.interrupt),
                features: state.driver_features,
            };
            (queues, Some(activation))
        } else {
            (restored, None)
        };
        self.device.restore(&state.device, activation)?;
        self.queues = queues;
        self.active = state.active;
        self.status = state.status;
        self.device_features_sel = state.device_features_sel;
        self.driver_features_sel = state.driver_features_sel;
        self.driver_features = state.driver_features;
        self.queue_sel = state.queue_sel;
        self.unfinished = 0;
        self.interrupt.restore(state.interrupt);
        self.show();
        Ok(())
    }

    /// Takes the queues from the device, which touches guest memory no more: that is about to become another.
    /// A
    /// [`restore`](Self::restore) follows.
    pub fn detach_queues(&mut self) {
        self.device.reset();
    }

    /// Notifies the device of every queue, as after a restore: a notification that was under way is not lost.
    pub fn kick(&mut self) {
        for index in 0..self.queues.len() {
            if self.active && self.queues[index].ready() {
                self.notify(index);
            }
        }
    }

    fn notify(&mut self, index: usize) {
        let bit = 1 << index;
        match self.device.notify(index as u16) {
            true => self.unfinished |= bit,
            false => self.unfinished &= !bit,
        }
    }

    /// A transport before `device`, in `ram`, whose interrupt is the level of `line`.
    pub fn new(device: Box<dyn VirtioDevice>, ram: GuestRam, line: Arc<dyn IrqLine>) -> Self {
        let queues = fresh_queues(&*device);
        Self {
            device,
            ram,
            interrupt: Arc::new(Interrupt::new(line)),
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            queues,
            active: false,
            unfinished: 0,
            page: None,
        }
    }

    /// The same with registers that the guest reads from `page`.
    pub fn on_page(self, page: Box<dyn RegisterPage>) -> Self {
        let line = self.interrupt.line();
        let transport = Self {
            interrupt: Arc::new(Interrupt::pulsed(line)),
            page: Some(page),
            ..self
        };
        transport.show();
        transport
    }

    /// Makes the device tell its driver all that it has kept back, before the machine's state is read.
    pub fn settle(&mut self) {
        self.device.settle();
    }

    /// Shows the registers as they are now where the guest reads them.
    fn show(&self) {
        let Some(page) = &self.page else {
            return;
        };
        show(&**page, |offset, word| match offset {
            reg::CONFIG.. => self.device.read_config(offset - reg::CONFIG, word),
            _ => word.copy_from_slice(&self.read_register(offset).to_le_bytes()),
        });
    }

    #[cfg(any(test, feature = "fake-driver"))]
    pub(crate) fn ram(&self) -> &GuestRam {
        &self.ram
    }

    fn offered(&self) -> u64 {
        self.device.features() | F_VERSION_1 | F_EVENT_IDX | F_INDIRECT_DESC
    }

    fn read_register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.queue_sel as usize);
        match offset {
            reg::MAGIC_VALUE => MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => self.device.device_id(),
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => half(self.offered(), self.device_features_sel),
            reg::QUEUE_NUM_MAX => queue.map_or(0, |q| u32::from(q.max_size())),
            reg::QUEUE_READY => queue.map_or(0, |q| u32::from(q.ready())),
            reg::INTERRUPT_STATUS => self.interrupt.status(),
            reg::STATUS => self.status,
            // A length of all ones says that there is no such shared memory region.
            reg::SHM_LEN_LOW | reg::SHM_LEN_HIGH => u32::MAX,
            // Config spaces here never change while a driver is bound.
            reg::CONFIG_GENERATION => 0,
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            reg::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::DRIVER_FEATURES if self.status & status::FEATURES_OK == 0 => {
                match self.driver_features_sel {
                    0 => self.driver_features = (self.driver_features & !0xffff_ffff) | u64::from(value),
                    1 => {
                        self.driver_features =
                            (self.driver_features & 0xffff_ffff) | (u64::from(value) << 32);
                    }
                    _ => {}
                }
            }
            reg::QUEUE_SEL => self.queue_sel = value,
            reg::QUEUE_NOTIFY => {
                if self.active && (value as usize) < self.queues.len() {
                    self.notify(value as usize);
                }
            }
            reg::INTERRUPT_ACK => self.interrupt.acknowledge(value),
            reg::STATUS => self.write_status(value),
            _ => self.write_queue_register(offset, value),
        }
    }

    fn write_queue_register(&mut self, offset: u64, value: u32) {
        // Queues are set up between FEATURES_OK and DRIVER_OK, section 3.1.1 step 7.
        if self.active || self.status & status::FEATURES_OK == 0 {
            return;
        }
        let Some(queue) = self.queues.get_mut(self.queue_sel as usize) else {
            return;
        };
        if offset == reg::QUEUE_READY {
            queue.set_ready(value == 1);
            return;
        }
        if queue.ready() {
            return;
        }
        match offset {
            // A size that is no power of two or too large is ignored by the queue itself.
            reg::QUEUE_NUM => queue.set_size(u16::try_from(value).unwrap_or(0)),
            reg::QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            reg::QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            reg::QUEUE_DRIVER_LOW => queue.set_avail_ring_address(Some(value), None),
            reg::QUEUE_DRIVER_HIGH => queue.set_avail_ring_address(None, Some(value)),
            reg::QUEUE_DEVICE_LOW => queue.set_used_ring_address(Some(value), None),
            reg::QUEUE_DEVICE_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    fn write_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        // A driver adds bits; it cannot take any back but by a reset.
        if value & self.status & !status::NEEDS_RESET != self.status & !status::NEEDS_RESET {
            return;
        }
        let added = value & !self.status;
        if added & status::FEATURES_OK != 0 {
            let legal =
                self.driver_features & !self.offered() == 0 && self.driver_features & F_VERSION_1 != 0;
            if !legal {
                // The bit stays clear: that is how the driver learns that its choice is refused.
                self.status = (value & !status::FEATURES_OK) | (self.status & status::NEEDS_RESET);
                return;
            }
        }
        self.status = value | (self.status & status::NEEDS_RESET);
        if added & status::DRIVER_OK != 0 && self.status & status::FEATURES_OK != 0 {
            self.activate();
        }
    }

    fn activate(&mut self) {
        let event_idx = self.driver_features & F_EVENT_IDX != 0;
        for queue in &mut self.queues {
            queue.set_event_idx(event_idx);
        }
        if let Some(index) = self
            .queues
            .iter()
            .position(|q| q.ready() && !q.is_valid(&self.ram))
        {
            tracing::warn!(
                index,
                device = self.device.device_id(),
                "virtqueue lies outside guest memory"
            );
            self.status |= status::NEEDS_RESET;
            self.interrupt.config_change();
            return;
        }
        let replacement = fresh_queues(&*self.device);
        let queues = std::mem::replace(&mut self.queues, replacement);
        // What the driver may read back of a queue that is now the device's.
        for (mine, theirs) in self.queues.iter_mut().zip(&queues) {
            mine.set_ready(theirs.ready());
        }
        self.active = true;
        self.device.activate(Activation {
            ram: self.ram.clone(),
            queues,
            interrupt: Arc::clone(&self.interrupt),
            features: self.driver_features,
        });
    }

    fn reset(&mut self) {
        if self.active {
            self.device.reset();
        }
        self.active = false;
        self.unfinished = 0;
        self.interrupt.clear();
        self.status = 0;
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.driver_features = 0;
        self.queue_sel = 0;
        self.queues = fresh_queues(&*self.device);
    }
}

impl BusDevice for MmioTransport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset >= reg::CONFIG {
            self.device.read_config(offset - reg::CONFIG, data);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset).to_le_bytes());
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        // No device here has a writable config space.
        if offset < reg::CONFIG
            && offset.is_multiple_of(4)
            && let Ok(bytes) = <[u8; 4]>::try_from(data)
        {
            self.write_register(offset, u32::from_le_bytes(bytes));
            // A notification changes no register.
            if offset != reg::QUEUE_NOTIFY {
                self.show();
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.unfinished != 0
    }

    fn go_on(&mut self) {
        for index in 0..self.queues.len() {
            if self.unfinished & (1 << index) != 0 {
                self.notify(index);
            }
        }
    }
}

fn half(value: u64, sel: u32) -> u32 {
    match sel {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn fresh_queues(device: &dyn VirtioDevice) -> Vec<Queue> {
    let sizes = device.queue_sizes();
    sizes
        .iter()
        .map(|&size| Queue::new(size).expect("queue sizes are powers of two up to 32768"))
        .collect()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::irq::FakeLine;
    use crate::virtio::fake::{FakeDriver, ram};
    use crate::virtio::saved::DeviceState;

    #[derive(Default)]
    struct Log {
        notified: Vec<u16>,
        /// How often a notification is not finished with.
        busy: usize,
        activations: usize,
        resets: usize,
        features: u64,
    }

    struct Probe(Arc<Mutex<Log>>);

    impl VirtioDevice for Probe {
        fn device_id(&self) -> u32 {
            42
        }
        fn features(&self) -> u64 {
            0b101
        }
        fn queue_sizes(&self) -> &[u16] {
            &[8, 16]
        }
        fn read_config(&self, offset: u64, data: &mut [u8]) {
            crate::virtio::device::read_config_bytes(&[1, 2, 3], offset, data);
        }
        fn activate(&mut self, activation: Activation) {
            let mut log = self.0.lock();
            log.activations += 1;
            log.features = activation.features;
            assert_eq!(activation.queues.len(), 2);
        }
        fn notify(&mut self, index: u16) -> bool {
            let mut log = self.0.lock();
            log.notified.push(index);
            log.busy > 0 && {
                log.busy -= 1;
                true
            }
        }
        fn reset(&mut self) {
            self.0.lock().resets += 1;
        }
        fn queues(&self) -> Option<Vec<QueueState>> {
            None
        }
        fn save(&self) -> DeviceState {
            DeviceState::Rng(crate::virtio::saved::RngState { stream: None })
        }
        fn restore(&mut self, _: &DeviceState, activation: Option<Activation>) -> Result<(), StateError> {
            self.0.lock().activations += usize::from(activation.is_some());
            Ok(())
        }
    }

    fn probe() -> (Arc<Mutex<Log>>, FakeDriver) {
        let log = Arc::new(Mutex::new(Log::default()));
        let transport =
            MmioTransport::new(Box::new(Probe(log.clone())), ram(), Arc::new(FakeLine::default()));
        (log, FakeDriver::new(transport))
    }

    #[test]
    fn a_driver_finds_the_device_negotiates_and_kicks() {
        let (log, mut driver) = probe();
        assert_eq!(driver.read(reg::MAGIC_VALUE).to_le_bytes(), *b"virt");
        assert_eq!(driver.read(reg::VERSION), 2);
        assert_eq!(driver.read(reg::DEVICE_ID), 42);
        driver.write(reg::QUEUE_NOTIFY, 0);
        driver.set_up(0b101 | F_VERSION_1);
        driver.write(reg::QUEUE_NOTIFY, 1);
        driver.write(reg::QUEUE_NOTIFY, 2);
        driver.write(reg::QUEUE_NOTIFY, 0x1_0001);
        let log = log.lock();
        assert_eq!(log.activations, 1);
        assert_eq!(log.features, 0b101 | F_VERSION_1);
        assert_eq!(
            log.notified,
            [1],
            "kicks before activation or of absent queues reach nobody"
        );
    }

    #[test]
    fn features_that_were_not_offered_and_legacy_drivers_are_refused() {
        for features in [0b111 | F_VERSION_1, 0b101, F_VERSION_1 | 1 << 40] {
            let (log, mut driver) = probe();
            assert!(!driver.negotiate(features), "{features:#x}");
            driver.write(reg::STATUS, driver.read(reg::STATUS) | status::DRIVER_OK);
            assert_eq!(log.lock().activations, 0);
        }
    }

    #[test]
    fn a_queue_outside_memory_is_answered_with_needs_reset_and_a_reset_heals() {
        let (log, mut driver) = probe();
        assert!(driver.negotiate(F_VERSION_1));
        driver.write(reg::QUEUE_SEL, 0);
        driver.write(reg::QUEUE_NUM, 8);
        driver.write(reg::QUEUE_DESC_HIGH, 0xffff_ffff);
        driver.write(reg::QUEUE_DESC_LOW, 0xffff_fff0);
        driver.write(reg::QUEUE_READY, 1);
        driver.write(reg::STATUS, driver.read(reg::STATUS) | status::DRIVER_OK);
        assert_ne!(driver.read(reg::STATUS) & status::NEEDS_RESET, 0);
        assert_eq!(driver.read(reg::INTERRUPT_STATUS), 2);
        assert_eq!(log.lock().activations, 0);
        driver.write(reg::STATUS, 0);
        assert_eq!(
            (driver.read(reg::STATUS), driver.read(reg::INTERRUPT_STATUS)),
            (0, 0)
        );
        driver.set_up(F_VERSION_1);
        assert_eq!(log.lock().activations, 1);
    }

    #[test]
    fn a_reset_takes_the_queues_from_the_device() {
        let (log, mut driver) = probe();
        driver.set_up(F_VERSION_1);
        driver.write(reg::STATUS, 0);
        driver.write(reg::QUEUE_NOTIFY, 0);
        let log = log.lock();
        assert_eq!((log.resets, log.notified.len()), (1, 0));
    }

    #[test]
    fn a_queue_that_is_not_finished_with_is_gone_on_with() {
        let (log, mut driver) = probe();
        driver.set_up(F_VERSION_1);
        driver.write(reg::QUEUE_NOTIFY, 0);
        assert!(!driver.transport().is_busy());
        log.lock().busy = 2;
        driver.write(reg::QUEUE_NOTIFY, 1);
        assert!(driver.transport().is_busy());
        driver.transport().go_on();
        assert!(driver.transport().is_busy());
        driver.transport().go_on();
        assert!(!driver.transport().is_busy());
        driver.transport().go_on();
        assert_eq!(log.lock().notified, [0, 1, 1, 1]);
        log.lock().busy = 1;
        driver.write(reg::QUEUE_NOTIFY, 1);
        driver.write(reg::STATUS, 0);
        assert!(!driver.transport().is_busy(), "a reset forgets it");
    }

    #[test]
    fn status_bits_are_not_taken_back() {
        let (_log, mut driver) = probe();
        driver.set_up(F_VERSION_1);
        let before = driver.read(reg::STATUS);
        driver.write(reg::STATUS, status::ACKNOWLEDGE);
        assert_eq!(driver.read(reg::STATUS), before);
    }

    #[test]
    fn states_no_driver_could_have_made_are_refused_and_change_nothing() {
        let (log, mut driver) = probe();
        driver.set_up(F_VERSION_1);
        let good = driver.transport().save();
        assert!(good.active);
        type Spoil = fn(&mut TransportState);
        let spoils: [(&str, Spoil); 6] = [
            ("belongs to device 4", |state| state.device_id = 4),
            ("never offered", |state| state.driver_features |= 1 << 50),
            ("has 2 queues, not 1", |state| state.queues.truncate(1)),
            ("at most 4 descriptors", |state| state.queues[0].max_size = 4),
            ("outside of guest memory", |state| {
                state.queues[1].desc_table = 1 << 40
            }),
            ("queue:", |state| state.queues[0].size = 3),
        ];
        for (expected, spoil) in spoils {
            let mut state = good.clone();
            spoil(&mut state);
            let error = driver.transport().restore(&state).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(driver.transport().save(), good, "{expected}");
        }
        driver.transport().restore(&good).unwrap();
        driver.transport().kick();
        let log = log.lock();
        assert_eq!((log.activations, &log.notified[..]), (2, &[0, 1][..]));
    }

    #[test]
    fn pending_interrupts_and_half_made_negotiations_survive() {
        let (_log, mut driver) = probe();
        assert!(driver.negotiate(F_VERSION_1));
        driver.write(reg::QUEUE_SEL, 1);
        driver.write(reg::QUEUE_NUM, 8);
        let state = driver.transport().save();
        let line = Arc::new(FakeLine::default());
        let log = Arc::new(Mutex::new(Log::default()));
        let other = MmioTransport::new(Box::new(Probe(log)), ram(), line.clone());
        let other = driver.onto(other);
        let pending = TransportState {
            interrupt: 1,
            ..state
        };
        other.transport().restore(&pending).unwrap();
        assert!(line.is_high());
        assert_eq!(other.transport().save(), pending);
        other.write(reg::INTERRUPT_ACK, 1);
        assert!(!line.is_high());
    }

    #[test]
    fn config_space_ends_where_the_device_says() {
        let (_log, driver) = probe();
        assert_eq!(driver.read(reg::CONFIG), u32::from_le_bytes([1, 2, 3, 0]));
        assert_eq!(driver.read(reg::CONFIG + 0xef0), 0);
    }

    #[test]
    fn odd_accesses_are_harmless() {
        let (_log, driver) = probe();
        let mut transport = driver.transport();
        let mut byte = [9];
        transport.read(reg::MAGIC_VALUE + 1, &mut byte);
        assert_eq!(byte, [0]);
        transport.write(reg::STATUS, &[1]);
        transport.write(reg::STATUS + 2, &[1, 0, 0, 0]);
        drop(transport);
        assert_eq!(driver.read(reg::STATUS), 0);
    }
}
