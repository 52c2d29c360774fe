//! A medium that holds the disk's device to its bounds, and the host's side of the slot.
//!
//! Input: requests that the device has let through. Output: panics for those that it may not ask.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use provium_devices::virtio::block::{Access, Backend, BlockHandle, FaultEffect, ID_BYTES, SECTOR};

use crate::device::{Driver, Host};
use crate::input::Input;

/// Most bytes that the device moves at once: its documentation says a quarter of a MiB.
const MOST: usize = 256 << 10;

/// The medium: no bytes of its own.
pub struct Medium {
    sectors: u64,
    readonly: bool,
    /// Whether its faults make the next request fail.
    fails: AtomicBool,
}

impl Medium {
    /// A medium of that many sectors.
    pub fn new(sectors: u64, readonly: bool) -> Medium {
        Medium {
            sectors,
            readonly,
            fails: AtomicBool::new(false),
        }
    }

    fn check(&self, sector: u64, len: usize) {
        assert!(len <= MOST, "{len} bytes at once");
        assert_eq!(len as u64 % SECTOR, 0, "a part of a sector");
        let end = sector.checked_add(len as u64 / SECTOR);
        assert!(
            end.is_some_and(|end| end <= self.sectors),
            "{len} bytes at sector {sector}"
        );
    }
}

impl Backend for Medium {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_readonly(&self) -> bool {
        self.readonly
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"fuzzed medium\0\0\0\0\0\0\0"
    }

    fn fault_effect(&self, _access: Access) -> FaultEffect {
        FaultEffect {
            delay: Duration::ZERO,
            fails: self.fails.swap(false, Ordering::Relaxed),
        }
    }

    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()> {
        self.check(sector, data.len());
        data.fill(sector as u8);
        Ok(())
    }

    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        assert!(!self.readonly, "a write to a medium that cannot be written");
        self.check(sector, data.len());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The host's side of a slot.
pub struct Slot {
    handle: BlockHandle,
    medium: Arc<Medium>,
}

impl Slot {
    /// The slot with its first medium in it.
    pub fn new(handle: BlockHandle) -> Slot {
        let medium = Arc::new(Medium::new(64, false));
        handle.insert(medium.clone());
        handle.resume();
        Slot { handle, medium }
    }

    /// Serves what is on the queue, as far as a ring has room: a driver may go on for ever.
    fn serve(&self) {
        for _ in 0..32 {
            if !self.handle.serve_next() {
                break;
            }
        }
    }

    /// Puts a request on the queue that is one, but for what the input has wrong.
    fn request(&self, driver: &mut Driver, input: &mut Input<'_>) {
        let mut request = Vec::from(u32::from(input.u8() & 15).to_le_bytes());
        request.extend([0; 4]);
        request.extend(input.small_or_any().to_le_bytes());
        request.extend(vec![7; usize::from(input.u8() & 3) * SECTOR as usize]);
        let room = u32::from(input.u8() & 3) * SECTOR as u32 + 1;
        driver.send(0, &request, room);
    }
}

impl Host for Slot {
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        match input.below(8) {
            0 => self.handle.pause(),
            1 => self.handle.resume(),
            2 => self.handle.eject(),
            3 => {
                let sectors = input.pick(&[0, 1, 64, 1 << 40, u64::MAX / SECTOR]);
                self.medium = Arc::new(Medium::new(sectors, input.u8() & 1 != 0));
                self.handle.insert(self.medium.clone());
            }
            4 => self.medium.fails.store(true, Ordering::Relaxed),
            _ => self.request(driver, input),
        }
        self.serve();
    }

    fn check(&mut self, _driver: &Driver) {
        self.serve();
    }
}
