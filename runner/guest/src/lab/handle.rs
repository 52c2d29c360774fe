//! A VM that several hold: what it boots, with which options, and the VM itself behind a lock.
//!
//! Input: a name, a [`GuestSpec`] and [`BootOptions`]. Output: a [`VmHandle`], which is cheap to clone. Not
//! here: the life of the VM, which is `vm`'s; who closes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use provium_base::cancel::Cancel;
use provium_vmm::disk::DiskSpec;
use provium_vmm::snapshot::Snapshot;

use super::store::HostStore;
use crate::client::op::Op;
use crate::options::boot::BootOptions;
use crate::options::error::OptionsError;
use crate::options::spec::GuestSpec;
use crate::start::resume::resume_options_of;
use crate::vm::error::{VmError, VmState};
use crate::vm::life::Vm;

/// A VM, shared.
#[derive(Debug, Clone)]
pub struct VmHandle(Arc<SharedVm>);

#[derive(Debug)]
struct SharedVm {
    name: String,
    spec: GuestSpec,
    /// The options of its declaration and of its last boot.
    options: Mutex<BootOptions>,
    vm: Mutex<Vm>,
    closed: AtomicBool,
}

/// Why a VM was not made ready or booted.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Its options cannot be had here.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The VM could not.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// What a saved VM is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveMode {
    /// Only what differs from the snapshot it came from is written, if that one stays.
    pub on_parent: bool,
    /// It can be used when an image below a disk was copied or touched since.
    pub lasting: bool,
}

impl VmHandle {
    /// Declares a VM; nothing is made yet.
    ///
    /// # Errors
    /// A file for the guest that cannot be read.
    pub fn declare(
        name: impl Into<String>,
        spec: GuestSpec,
        options: BootOptions,
    ) -> Result<VmHandle, OptionsError> {
        let name = name.into();
        let mut vm = Vm::new(name.clone(), options.machine(&spec)?, options.time_limit());
        vm.set_initial_time(options.initial_time);
        vm.set_kernel_check(options.kernel_check(&spec));
        Ok(VmHandle(Arc::new(SharedVm {
            name,
            spec,
            options: Mutex::new(options),
            vm: Mutex::new(vm),
            closed: AtomicBool::new(false),
        })))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it boots where its options say nothing.
    pub fn spec(&self) -> &GuestSpec {
        &self.0.spec
    }

    /// The options of its declaration and of its last boot.
    pub fn options(&self) -> BootOptions {
        self.0.options.lock().clone()
    }

    /// The VM, which nobody else uses meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Vm> {
        self.0.vm.lock()
    }

    /// Where it is in its life, looked up now.
    pub fn state(&self) -> VmState {
        self.lock().state()
    }

    /// Whether it was closed for good.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Whether both are the same VM.
    pub fn same(&self, other: &VmHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends it for good; returns false where that was done before. One that came from a snapshot may serve
    /// again.
    pub fn close(&self, store: &dyn HostStore) -> bool {
        let first = !self.0.closed.swap(true, Ordering::Relaxed);
        if first {
            self.lock().release(store.pool());
        }
        first
    }

    /// Gives it the disks of its spec and of `options`; returns them.
    ///
    /// # Errors
    /// [`SetupError`]; its disks are as they were.
    pub fn prepare(&self, options: &BootOptions, store: &dyn HostStore) -> Result<Vec<DiskSpec>, SetupError> {
        let root = self.0.spec.rootfs.as_deref().map(|path| store.rootfs_image(path));
        let root = root.transpose().map_err(OptionsError::Rootfs)?;
        let specs = options.disk_specs(&self.0.spec, root.as_deref(), store.folder())?;
        self.lock().set_disks(&specs)?;
        Ok(specs)
    }

    /// Gives a VM that was never booted the disks it was declared with; returns them.
    ///
    /// # Errors
    /// [`SetupError`]; its disks are as they were.
    pub fn prepare_declared(&self, store: &dyn HostStore) -> Result<Vec<DiskSpec>, SetupError> {
        match self.state() {
            VmState::Created => self.prepare(&self.options(), store),
            _ => Ok(Vec::new()),
        }
    }

    /// Boots it, once it is prepared, with these options, which it keeps if it boots; returns when its agent
    /// has answered.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn boot(&self, options: BootOptions, cancel: &Arc<Cancel>) -> Result<(), SetupError> {
        let mut vm = self.lock();
        vm.set_config(options.machine(&self.0.spec)?, options.time_limit());
        vm.set_initial_time(options.initial_time);
        vm.set_kernel_check(options.kernel_check(&self.0.spec));
        vm.boot(cancel)?;
        *self.0.options.lock() = options;
        Ok(())
    }

    /// Makes an operation of the agent. Works in `booted`.
    ///
    /// # Errors
    /// As [`Vm::call`].
    pub fn ask<T>(&self, op: Op<T>, cancel: &Arc<Cancel>) -> Result<T, VmError> {
        self.lock().call(cancel, |client| client.ask(op))
    }

    /// Saves it into a folder that is there; it goes on as it was. Works in `booted` and `paused`.
    ///
    /// # Errors
    /// [`VmError`].
    pub fn save(
        &self,
        folder: &Path,
        mode: SaveMode,
        store: &dyn HostStore,
    ) -> Result<Arc<Snapshot>, VmError> {
        self.save_locked(&mut self.lock(), folder, mode, store)
    }

    /// A snapshot of what it is now, to be put back to: the one it came from where it is still equal to that,
    /// or one that is saved into `folder`, which is made. Works in `booted` and `paused`.
    ///
    /// # Errors
    /// [`VmError`], or why there is no folder.
    pub(super) fn baseline(
        &self,
        folder: &Path,
        store: &dyn HostStore,
    ) -> Result<std::io::Result<Arc<Snapshot>>, VmError> {
        let on_resume = self.0.options.lock().resume_options(&self.0.spec);
        let mut vm = self.lock();
        if let Some(origin) = vm.untouched()
            && resume_options_of(origin) == on_resume
        {
            return Ok(Ok(Arc::clone(origin)));
        }
        if let Err(error) = std::fs::create_dir(folder) {
            return Ok(Err(error));
        }
        let mode = SaveMode {
            on_parent: true,
            lasting: false,
        };
        self.save_locked(&mut vm, folder, mode, store).map(Ok)
    }

    /// [`save`](Self::save) for whoever has the lock.
    pub(super) fn save_locked(
        &self,
        vm: &mut Vm,
        folder: &Path,
        mode: SaveMode,
        store: &dyn HostStore,
    ) -> Result<Arc<Snapshot>, VmError> {
        let on_resume = self.0.options.lock().resume_options(&self.0.spec);
        // Only what stays can have something on top of it.
        let stays = vm.origin().is_some_and(|origin| store.keeps(origin));
        let images = vm.disks().iter().filter_map(|disk| disk.spec().image.clone());
        let digests: BTreeMap<_, _> = images
            .filter(|_| mode.lasting)
            // Without a digest, it is good for as long as the image is not touched.
            .filter_map(|path| store.image_digest(&path).ok().map(|digest| (path, digest)))
            .collect();
        vm.snapshot(folder, mode.on_parent && stays, on_resume, digests)
    }

    /// Starts it from a snapshot. Works in `created`, `shutdown` and `dead`.
    ///
    /// # Errors
    /// [`VmError`].
    pub fn restore(&self, snapshot: &Arc<Snapshot>, store: &dyn HostStore) -> Result<(), VmError> {
        let mut vm = self.confirmed(snapshot, store)?;
        vm.restore(snapshot, store.pool())
    }

    /// Puts it into the state of a snapshot, whatever it is now: in place where it runs.
    ///
    /// # Errors
    /// [`VmError`].
    pub fn put_back(&self, snapshot: &Arc<Snapshot>, store: &dyn HostStore) -> Result<(), VmError> {
        let mut vm = self.confirmed(snapshot, store)?;
        vm.put_back(snapshot, store.pool())
    }

    /// The VM, once the images below the snapshot's disks are known to be as they were.
    fn confirmed(&self, snapshot: &Snapshot, store: &dyn HostStore) -> Result<MutexGuard<'_, Vm>, VmError> {
        let vm = self.lock();
        vm.confirm_images(snapshot, &|path| store.image_digest(path))?;
        Ok(vm)
    }
}

/// The locks of different VMs, in the order given. They are taken in the order of their addresses, so that
/// two threads which want the same ones do not wait for each other.
pub(super) fn lock_all(vms: &[VmHandle]) -> Vec<MutexGuard<'_, Vm>> {
    let mut order: Vec<usize> = (0..vms.len()).collect();
    order.sort_by_key(|at| Arc::as_ptr(&vms[*at].0));
    let mut locked: Vec<_> = order.into_iter().map(|at| (at, vms[at].lock())).collect();
    locked.sort_by_key(|(at, _)| *at);
    locked.into_iter().map(|(_, vm)| vm).collect()
}

/// Does `action` to several VMs at once, each on a thread of its own; returns when all are done. The first
/// failure, in the order given, is returned.
pub fn all_at_once(
    vms: &[VmHandle],
    action: impl Fn(&mut Vm) -> Result<(), VmError> + Sync,
) -> Result<(), VmError> {
    let action = &action;
    std::thread::scope(|scope| {
        let threads: Vec<_> = vms
            .iter()
            .map(|vm| scope.spawn(move || action(&mut vm.lock())))
            .collect();
        let results: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect();
        results.into_iter().collect()
    })
}
