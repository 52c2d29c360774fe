//! A paused machine, written into a folder.
//!
//! Input: a machine and a folder. Output: a [`Snapshot`], and a machine that tracks what it changes from then
//! on. Not here: keeping others from writing to the machine's streams or console meanwhile, which whoever
//! calls sees to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use provium_devices::GuestRam;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::baseline::Baseline;
use super::error::MachineError;
use super::handle::Machine;
use super::hardware::Hardware;
use crate::disk::ImageDigest;
use crate::kvm::{chips_state, host, tsc, vcpu_state};
use crate::layer::{LayerError, LayerWriter, PAGE, PageIndex, io_error, is_zero};
use crate::snapshot::pages::read_page;
use crate::snapshot::state::{MachineState, MemoryState, Parent};
use crate::snapshot::{MEMORY_FILE, Snapshot, SnapshotError, SnapshotId, write_state};

/// How a snapshot is written.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// Store only the pages that differ from the snapshot the machine came from, if it came from one on which
    /// another may lie. Such a snapshot needs its parent.
    pub on_parent: bool,
    /// Bytes that the caller wants to find again with [`Snapshot::note`].
    pub note: Vec<u8>,
    /// Digests of the content of images below disks, by their paths. With its digest, an image that was
    /// touched after the save can be found to be the same still.
    pub image_digests: BTreeMap<PathBuf, ImageDigest>,
}

impl Machine {
    /// Writes the machine, which has to be paused, into `folder`, an existing one without a snapshot in it.
    /// From then on the machine tracks what differs from it, so that [`load`](Self::load)ing it again is
    /// quick.
    ///
    /// # Errors
    /// [`MachineError::NotPaused`], [`MachineError::WritableDisk`], and what goes wrong on the way; half a
    /// snapshot may be left then.
    pub fn save(&self, folder: &Path, options: SaveOptions) -> Result<Arc<Snapshot>, MachineError> {
        let mut slot = self.paused_hardware()?;
        let hardware = slot.as_mut().ok_or_else(|| self.ended_error())?;
        let disks = hardware.platform.disks.disks();
        if let Some((_, disk)) = disks.iter().find(|(_, disk)| disk.writes_image()) {
            return Err(MachineError::WritableDisk {
                disk: disk.id().to_owned(),
                image: disk.spec().image.clone().unwrap_or_default(),
            });
        }

        // Interrupts that devices owe the guest are part of its state.
        hardware.platform.settle();
        let host_tsc = tsc::host_tsc();
        let vcpus = hardware.vcpus.iter().map(|vcpu| {
            let vcpu = vcpu.lock();
            vcpu_state::save(&hardware.vm.kvm, &vcpu.fd, host_tsc)
        });
        let vcpus = vcpus.collect::<Result<_, _>>()?;
        let chips = chips_state::save(&hardware.vm.fd)?;
        let devices = hardware.platform.save();
        let disks = disks.iter().map(|(slot, disk)| {
            let image = disk.spec().image.as_ref();
            let digest = image.and_then(|path| options.image_digests.get(path).copied());
            disk.save(folder, *slot, digest)
        });
        let disks = disks
            .collect::<Result<_, LayerError>>()
            .map_err(SnapshotError::from)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();

        if let Some(baseline) = &mut hardware.baseline {
            baseline.dirty.collect(&hardware.vm, &hardware.ram)?;
        }
        let (parent, index) = match &hardware.baseline {
            Some(baseline) if options.on_parent && baseline.snapshot.can_be_parent() => (
                Some(Arc::clone(&baseline.snapshot)),
                write_changes(folder, hardware, baseline)?,
            ),
            _ => (None, write_all(folder, hardware)?),
        };
        if let Some(lost) = self.ends.life.memory_lost() {
            return Err(MachineError::Ended(lost));
        }
        let state = MachineState {
            id: SnapshotId::fresh()?,
            host: host::offer(&hardware.vm.kvm)?.1.clone(),
            saved_at_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            shape: hardware.shape,
            memory: MemoryState {
                parent: parent.as_ref().map(|parent| Parent {
                    folder: parent.folder().to_owned(),
                    id: parent.id(),
                }),
                index,
            },
            vcpus,
            chips,
            devices,
            disks,
            note: options.note,
        };
        write_state(folder, &state)?;
        let snapshot = Snapshot::assemble(folder, state, parent.map(|parent| Arc::clone(parent.image())))?;

        let baseline = Baseline::start(&mut hardware.vm, &hardware.ram, &snapshot)?;
        hardware.baseline = Some(baseline);
        Ok(snapshot)
    }
}

/// Writes the pages that have been written since the baseline and are not what they were.
fn write_changes(
    folder: &Path,
    hardware: &Hardware,
    baseline: &Baseline,
) -> Result<PageIndex, SnapshotError> {
    let pages = baseline.snapshot.pages()?;
    let mut writer = LayerWriter::create(folder, MEMORY_FILE, hardware.shape.memory)?;
    let mut content = [0; PAGE as usize];
    for page in baseline.dirty.iter(&hardware.ram) {
        read_page(&hardware.ram, page, &mut content);
        if pages.differs(page, &content) {
            writer.push(page, &content)?;
        }
    }
    match pages.are_lost() {
        false => Ok(writer.finish()?),
        true => Err(baseline.snapshot.image().loss()),
    }
}

/// Writes all pages that are not zero.
fn write_all(folder: &Path, hardware: &Hardware) -> Result<PageIndex, SnapshotError> {
    let candidates = match &hardware.baseline {
        Some(baseline) => {
            let mut pages = baseline.snapshot.image().pages_of_all_layers();
            pages.extend(baseline.dirty.iter(&hardware.ram));
            pages
        }
        None => touched(&hardware.ram)?,
    };
    let mut writer = LayerWriter::create(folder, MEMORY_FILE, hardware.shape.memory)?;
    let mut content = [0; PAGE as usize];
    for page in candidates {
        read_page(&hardware.ram, page, &mut content);
        if !is_zero(&content) {
            writer.push(page, &content)?;
        }
    }
    Ok(writer.finish()?)
}

/// The numbers of the pages of anonymous memory that anybody has ever touched. The others are zero, and
/// reading them just to see that costs a page fault each.
fn touched(ram: &GuestRam) -> Result<BTreeSet<u64>, SnapshotError> {
    // Eight bytes a page (`Documentation/admin-guide/mm/pagemap.rst`); bit 63: present, bit 62: swapped.
    let path = Path::new("/proc/self/pagemap");
    let file = File::open(path).map_err(io_error(path))?;
    let mut pages = BTreeSet::new();
    let mut first = 0;
    for region in ram.iter() {
        let mut entries = vec![0; (region.len() / PAGE * 8) as usize];
        file.read_exact_at(&mut entries, region.as_ptr() as u64 / PAGE * 8)
            .map_err(io_error(path))?;
        let (entries, _) = entries.as_chunks::<8>();
        let known = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry[7] & 0b1100_0000 != 0);
        pages.extend(known.map(|(page, _)| first + page as u64));
        first += region.len() / PAGE;
    }
    Ok(pages)
}
