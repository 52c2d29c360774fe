//! [`Disk`]: the medium behind a virtio-blk device.
//!
//! Input: the guest's requests through [`Backend`], the host's own reads and writes. Output: bytes. Not here:
//! where the bytes are (`store`).

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use provium_devices::virtio::block::{Access, Backend, FaultEffect, ID_BYTES, SECTOR};

use super::error::DiskError;
use super::fault::{Fault, Faults};
use super::image::ImageFile;
use super::overlay_files;
use super::spec::DiskSpec;
use super::store::Store;

/// A disk: the content, the faults and the power of one medium.
pub struct Disk {
    spec: DiskSpec,
    size: u64,
    content: Mutex<DiskContent>,
    faults: Mutex<Faults>,
}

/// What is under the disk's lock.
pub(super) struct DiskContent {
    pub(super) store: Store,
    /// Whether it has power; without, every request of the guest fails.
    pub(super) powered: bool,
    /// Whether somebody has been told that the host could not serve a request; once is enough.
    told: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Makes a disk of `spec`, powered.
    ///
    /// # Errors
    /// [`DiskError`] when its name, its image or its size cannot be.
    pub fn create(spec: DiskSpec) -> Result<Arc<Disk>, DiskError> {
        spec.check_id()?;
        let image = match &spec.image {
            Some(path) => Some(Arc::new(ImageFile::open(path, spec.writable)?)),
            None => None,
        };
        let size = spec.size_on(image.as_ref().map(|image| image.stamp.len))?;
        let store = Store::new(size, image, spec.writable);
        Ok(Self::of(spec, size, store, true))
    }

    /// A disk with its content made already.
    pub(super) fn of(spec: DiskSpec, size: u64, store: Store, powered: bool) -> Arc<Disk> {
        Arc::new(Disk {
            spec,
            size,
            content: Mutex::new(DiskContent {
                store,
                powered,
                told: false,
            }),
            faults: Mutex::default(),
        })
    }

    /// The spec it was made of.
    pub fn spec(&self) -> &DiskSpec {
        &self.spec
    }

    /// Whether `spec` would make the same disk.
    pub fn is_made_of(&self, spec: &DiskSpec) -> bool {
        let own = &self.spec;
        // What came out of a snapshot has its size written down, whatever it was made of.
        let size = spec.size.is_none_or(|size| size == self.size);
        size && (&own.id, &own.image, own.readonly, own.writable)
            == (&spec.id, &spec.image, spec.readonly, spec.writable)
    }

    /// The disk's name.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether writes go into the image itself.
    pub fn writes_image(&self) -> bool {
        self.spec.writable && self.spec.image.is_some()
    }

    /// The content, locked: whoever holds it holds up the guest's requests.
    pub(super) fn content(&self) -> MutexGuard<'_, DiskContent> {
        self.content.lock()
    }

    fn io(&self) -> impl Fn(io::Error) -> DiskError + '_ {
        |source| DiskError::Io {
            id: self.spec.id.clone(),
            source,
        }
    }

    fn check(&self, from: u64, wanted: u64) -> Result<(), DiskError> {
        let sectors = self.size / SECTOR;
        match from.checked_add(wanted) {
            Some(end) if end <= sectors => Ok(()),
            _ => Err(DiskError::Beyond {
                id: self.spec.id.clone(),
                sectors,
                from,
                wanted,
            }),
        }
    }

    /// Reads sectors from the host's side, as the guest would see them; faults and power do not matter.
    ///
    /// # Errors
    /// [`DiskError::Beyond`], [`DiskError::Io`].
    pub fn read_sectors(&self, from: u64, count: u64) -> Result<Vec<u8>, DiskError> {
        self.check(from, count)?;
        let mut data = vec![0; (count * SECTOR) as usize];
        self.content()
            .store
            .read(from * SECTOR, &mut data)
            .map_err(self.io())?;
        Ok(data)
    }

    /// Writes whole sectors from the host's side, for good: no power cut takes that back.
    ///
    /// # Errors
    /// [`DiskError::Beyond`], [`DiskError::ReadOnly`], [`DiskError::Size`] for a part of a sector,
    /// [`DiskError::Io`].
    pub fn write_sectors(&self, from: u64, data: &[u8]) -> Result<(), DiskError> {
        let len = data.len() as u64;
        if !len.is_multiple_of(SECTOR) {
            return Err(DiskError::Size {
                id: self.spec.id.clone(),
                why: format!("{len} bytes are not whole sectors of {SECTOR}"),
            });
        }
        self.check(from, len / SECTOR)?;
        if self.spec.readonly {
            return Err(DiskError::ReadOnly(self.spec.id.clone()));
        }
        self.content()
            .store
            .write_for_good(from * SECTOR, data)
            .map_err(self.io())
    }

    /// Adds a fault; those that are there stay.
    pub fn inject(&self, fault: Fault) {
        self.faults.lock().inject(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.faults.lock().clear();
    }

    /// The faults that are not over, with what is left of their counts.
    pub fn active_faults(&self) -> Vec<Fault> {
        self.faults.lock().active()
    }

    /// Cuts the power: what was not flushed is gone, and every request fails until
    /// [`power_on`](Self::power_on).
    ///
    /// # Errors
    /// [`DiskError::Io`]; the disk's content is not to be relied on then.
    pub fn power_cut(&self) -> Result<(), DiskError> {
        let mut content = self.content();
        content.powered = false;
        content.store.roll_back().map_err(self.io())
    }

    /// Gives the disk power again.
    pub fn power_on(&self) {
        self.content().powered = true;
    }
}

impl Backend for Disk {
    fn sectors(&self) -> u64 {
        self.size / SECTOR
    }

    fn is_readonly(&self) -> bool {
        self.spec.readonly
    }

    fn id(&self) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        let name = &self.spec.id.as_bytes()[..self.spec.id.len().min(ID_BYTES)];
        id[..name.len()].copy_from_slice(name);
        id
    }

    fn fault_effect(&self, access: Access) -> FaultEffect {
        self.faults.lock().fault_effect(access)
    }

    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()> {
        let mut content = self.powered()?;
        let done = content.store.read(sector * SECTOR, data);
        self.noted("read", &mut content, done)
    }

    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.powered()?;
        let done = content.store.write(sector * SECTOR, data);
        self.noted("write", &mut content, done)
    }

    fn flush(&self) -> io::Result<()> {
        let mut content = self.powered()?;
        let done = content.store.flush();
        self.noted("flush", &mut content, done)
    }
}

impl Disk {
    /// Has somebody told of the first request that the host could not serve, which no fault of a test's is.
    fn noted(&self, what: &str, content: &mut DiskContent, done: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &done
            && !std::mem::replace(&mut content.told, true)
        {
            overlay_files::failed(format!(
                "disk `{}`: a {what} of the guest's failed on the host, the guest sees an I/O error: {error}",
                self.spec.id
            ));
        }
        done
    }

    fn powered(&self) -> io::Result<MutexGuard<'_, DiskContent>> {
        let content = self.content();
        match content.powered {
            true => Ok(content),
            false => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
