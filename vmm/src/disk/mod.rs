//! Disks: the media behind virtio-blk.
//!
//! Enters: a [`DiskSpec`], the guest's requests (through [`Backend`]), the host's own reads and writes. Leaves: bytes,
//! and files on the host that have no name. A disk outlives the machine it is in: a guest that boots again finds what
//! it wrote. Absent on purpose: slots and how a guest learns of a disk, which is the machine's; formats other than raw.
//!
//! ```text
//! store    where the bytes are: overlay, snapshot's layer, image; what a power cut takes back
//! blocks   sets of blocks
//! image    an image file, and whether it is as it was
//! fault    requests that fail or take their time
//! saved    a disk in a snapshot's folder
//! ```

mod blocks;
mod fault;
mod image;
pub(crate) mod saved;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provium_devices::virtio::block::{Access, Backend, ID_BYTES, SECTOR, Verdict};

pub use fault::{Fault, FaultMode};
pub use image::ImageStamp;
pub use saved::{DiskState, ImageDigest, ImageState};

use fault::Faults;
use image::ImageFile;
use store::Store;

/// Most bytes of a disk.
pub const MAX_DISK: u64 = 8 << 40;

/// What a disk is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Its name, which the guest sees as its serial number: 1 to 20 printable ASCII characters.
    pub id: String,
    /// A raw image; scratch without.
    pub image: Option<PathBuf>,
    /// Bytes; the image's without, which is also the least.
    pub size: Option<u64>,
    /// The guest cannot write.
    pub readonly: bool,
    /// Writes go into the image itself.
    pub writable: bool,
}

/// Why there is no such disk, or why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The name does not fit into the place that virtio has for it.
    #[error("`{0}` is no name of a disk: it takes 1 to 20 letters, digits, dots, dashes and underscores")]
    Id(String),
    /// The image cannot be used.
    #[error("disk image {}: {why}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The size is impossible.
    #[error("disk `{id}`: {why}")]
    Size {
        /// The disk.
        id: String,
        /// Why.
        why: String,
    },
    /// Sectors that it does not have.
    #[error("disk `{id}` has {sectors} sectors; {wanted} sectors from sector {from} on are beyond its end")]
    Beyond {
        /// The disk.
        id: String,
        /// As many as it has.
        sectors: u64,
        /// The first wanted.
        from: u64,
        /// How many were wanted.
        wanted: u64,
    },
    /// It cannot be written.
    #[error("disk `{0}` is read-only")]
    ReadOnly(String),
    /// The host cannot keep its bytes.
    #[error("disk `{id}`: {source}")]
    Io {
        /// The disk.
        id: String,
        /// Why.
        source: io::Error,
    },
}

/// A disk.
pub struct Disk {
    spec: DiskSpec,
    size: u64,
    content: Mutex<Content>,
    faults: Mutex<Faults>,
}

struct Content {
    store: Store,
    /// Without, every request of the guest fails.
    powered: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Makes the disk.
    ///
    /// # Errors
    /// [`DiskError`]: its name, its image or its size cannot be.
    pub fn create(spec: DiskSpec) -> Result<Arc<Disk>, DiskError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !(1..=ID_BYTES).contains(&spec.id.len()) || !spec.id.chars().all(fits) {
            return Err(DiskError::Id(spec.id));
        }
        let image = match &spec.image {
            Some(path) => Some(Arc::new(ImageFile::open(path, spec.writable)?)),
            None => None,
        };
        let size =
            size_of(&spec, image.as_ref().map(|image| image.stamp.len)).map_err(|why| DiskError::Size {
                id: spec.id.clone(),
                why,
            })?;
        let store = Store::new(size, image, spec.writable);
        Ok(Self::of(spec, size, store, true))
    }

    fn of(spec: DiskSpec, size: u64, store: Store, powered: bool) -> Arc<Disk> {
        Arc::new(Disk {
            spec,
            size,
            content: Mutex::new(Content { store, powered }),
            faults: Mutex::default(),
        })
    }

    /// What it was made of.
    pub fn spec(&self) -> &DiskSpec {
        &self.spec
    }

    /// Whether it is what `spec` makes.
    pub fn is_made_of(&self, spec: &DiskSpec) -> bool {
        let own = &self.spec;
        // What came out of a snapshot has its size written down, whatever it was made of.
        let size = spec.size.is_none_or(|size| size == self.size);
        size && (&own.id, &own.image, own.readonly, own.writable)
            == (&spec.id, &spec.image, spec.readonly, spec.writable)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether writes go into the image itself.
    pub fn writes_image(&self) -> bool {
        self.spec.writable && self.spec.image.is_some()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// [`DiskError::Beyond`], [`DiskError::ReadOnly`], [`DiskError::Size`] for a part of a sector, [`DiskError::Io`].
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

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.faults().inject(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.faults().clear();
    }

    /// The faults that are not over.
    pub fn active_faults(&self) -> Vec<Fault> {
        self.faults().active()
    }

    /// Pulls the plug: what was not flushed is gone, and every request fails until [`power_on`](Self::power_on).
    ///
    /// # Errors
    /// [`DiskError::Io`]; the disk's content is not to be relied on then.
    pub fn power_cut(&self) -> Result<(), DiskError> {
        let mut content = self.content();
        content.powered = false;
        content.store.roll_back().map_err(self.io())
    }

    /// Puts the plug back.
    pub fn power_on(&self) {
        self.content().powered = true;
    }
}

/// The size of a disk with an image of `image` bytes.
fn size_of(spec: &DiskSpec, image: Option<u64>) -> Result<u64, String> {
    let size = match (spec.size, image) {
        (None, None) => return Err("it needs an image or a size".to_owned()),
        (Some(size), Some(image)) if size < image => {
            return Err(format!("{size} bytes are less than its image has, {image}"));
        }
        (Some(size), Some(image)) if spec.writable && size != image => {
            return Err("an image that is written keeps its own size".to_owned());
        }
        (None, Some(image)) if !spec.writable => image.next_multiple_of(SECTOR),
        (Some(size), _) | (None, Some(size)) => size,
    };
    match size {
        0 => Err("0 bytes are no disk".to_owned()),
        size if size > MAX_DISK => Err(format!(
            "{size} bytes are more than {MAX_DISK}, the most there is"
        )),
        size if !size.is_multiple_of(SECTOR) => {
            Err(format!("{size} bytes are not whole sectors of {SECTOR}"))
        }
        size => Ok(size),
    }
}

/// Whether the file begins like an image of another format than raw; its name if so.
///
/// # Errors
/// When it cannot be read.
pub fn foreign_format(path: &Path) -> io::Result<Option<&'static str>> {
    use std::io::Read;
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(8).read_to_end(&mut start)?;
    let known: [(&[u8], &str); 4] = [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "vmdk"),
        (b"conectix", "vhd"),
        (b"vhdxfile", "vhdx"),
    ];
    let found = known.into_iter().find(|(magic, _)| start.starts_with(magic));
    Ok(found.map(|(_, name)| name))
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

    fn arrive(&self, access: Access) -> Verdict {
        self.faults().arrive(access)
    }

    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()> {
        self.powered()?.store.read(sector * SECTOR, data)
    }

    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        self.powered()?.store.write(sector * SECTOR, data)
    }

    fn flush(&self) -> io::Result<()> {
        self.powered()?.store.flush()
    }
}

impl Disk {
    fn powered(&self) -> io::Result<MutexGuard<'_, Content>> {
        let content = self.content();
        match content.powered {
            true => Ok(content),
            false => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
mod tests;
