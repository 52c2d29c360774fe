//! A VM's disks: what it boots with, and what is attached and detached while it runs.
//!
//! Input: descriptions of disks. Output: [`Disk`]s, which belong to the VM and not to a machine: what the
//! guest wrote is there at the next boot. A guest that runs learns of a disk through its agent, which has
//! Linux look at the slot again: it writes the name of the slot's platform device to the driver's `bind` or
//! `unbind`. Not here: where a disk's bytes are, which the monitor knows; Lua.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_base::cancel::Cancel;
use provium_vmm::Machine;
use provium_vmm::disk::{Disk, DiskError, DiskSpec};

use super::error::{VmError, VmState};
use super::life::{Life, Vm};
use crate::client::files::{read_file, stat, write_file};
use crate::client::session::GuestClient;
use crate::error::GuestError;

/// The driver of the slots in the guest.
const DRIVER: &str = "/sys/bus/platform/drivers/virtio-mmio";
/// How long the guest may take to have a device node for a disk.
const NODE_LIMIT: Duration = Duration::from_secs(5);
/// The name of the disk that becomes `/`.
pub const ROOTFS_DISK: &str = "rootfs";

impl Vm {
    /// Says which disks it boots with. One that is there and is made of the same keeps its content; one of
    /// the same name that is made of something else takes its place; others stay.
    ///
    /// # Errors
    /// [`VmError::Disk`]; its disks are as they were.
    pub fn set_disks(&mut self, specs: &[DiskSpec]) -> Result<(), VmError> {
        let mut disks = Vec::with_capacity(specs.len());
        for spec in specs {
            let known = self.disks.iter().find(|disk| disk.is_made_of(spec));
            disks.push(match known {
                Some(disk) => Arc::clone(disk),
                None => Disk::create(spec.clone()).map_err(|error| self.disk_error(error))?,
            });
        }
        let others = self
            .disks
            .iter()
            .filter(|disk| specs.iter().all(|spec| spec.id != disk.id()));
        disks.extend(others.cloned());
        self.disks = disks;
        Ok(())
    }

    /// Its disks, in the order of their slots.
    pub fn disks(&self) -> &[Arc<Disk>] {
        self.touched.set(true);
        &self.disks
    }

    /// The disk of that name.
    pub fn disk(&self, id: &str) -> Option<Arc<Disk>> {
        self.touched.set(true);
        self.disks.iter().find(|disk| disk.id() == id).cloned()
    }

    /// Gives it one more disk; returns when the guest has a device for it, if it runs. Works in every state
    /// but `paused`.
    ///
    /// # Errors
    /// [`VmError::Disk`], [`VmError::HotPlug`], and those of a call; it has no such disk then.
    pub fn attach_disk(&mut self, spec: DiskSpec, cancel: &Arc<Cancel>) -> Result<Arc<Disk>, VmError> {
        if self.state() == VmState::Paused {
            return Err(self.wrong_state("anything but paused"));
        }
        let disk = Disk::create(spec).map_err(|error| self.disk_error(error))?;
        if let Some(machine) = self.machine() {
            let attached = machine.attach_disk(Arc::clone(&disk));
            let slot = attached.map_err(|error| self.machine_error(error))?;
            let seen = self.call(cancel, |client| appear(client, slot, disk.id()));
            let seen = seen
                .and_then(|seen| seen.map_err(|why| self.hot_plug(&disk, "the guest does not take it", why)));
            if let Err(error) = seen {
                machine.detach_disk(slot);
                return Err(error);
            }
        }
        self.disks.push(Arc::clone(&disk));
        Ok(disk)
    }

    /// Takes a disk away; a guest that runs is told first, and gets errors if it goes on using it. Works in
    /// every state but `paused`.
    ///
    /// # Errors
    /// Those of a call to the guest; the disk is gone all the same.
    pub fn detach_disk(&mut self, id: &str, cancel: &Arc<Cancel>) -> Result<(), VmError> {
        if self.state() == VmState::Paused {
            return Err(self.wrong_state("anything but paused"));
        }
        let Some(at) = self.disks.iter().position(|disk| disk.id() == id) else {
            return Ok(());
        };
        let disk = self.disks.remove(at);
        let Some(machine) = self.machine() else {
            return Ok(());
        };
        let Some((slot, _)) = machine
            .disks()
            .into_iter()
            .find(|(_, held)| Arc::ptr_eq(held, &disk))
        else {
            return Ok(());
        };
        let told = self.call(cancel, |client| disappear(client, slot));
        machine.detach_disk(slot);
        told?.map_err(|why| self.hot_plug(&disk, "the guest does not let go of it", why))
    }

    /// Its disks are those of its machine now.
    pub(super) fn take_machines_disks(&mut self) {
        if let Life::Running { guest, .. } = &self.life {
            self.disks = guest.machine.disks().into_iter().map(|(_, disk)| disk).collect();
        }
    }

    fn disk_error(&self, error: DiskError) -> VmError {
        VmError::Disk {
            name: self.name().to_owned(),
            error: Box::new(error),
        }
    }

    fn hot_plug(&self, disk: &Disk, what: &'static str, why: String) -> VmError {
        VmError::HotPlug {
            name: self.name().to_owned(),
            disk: disk.id().to_owned(),
            what,
            why,
        }
    }
}

/// Has the guest look at `slot` again, and waits for its device node. The inner error is what the guest said.
fn appear(client: &mut GuestClient, slot: u8, id: &str) -> Result<Result<(), String>, GuestError> {
    let mut device = None;
    for name in Machine::disk_slot_names(slot) {
        if exists(client, &format!("/sys/bus/platform/devices/{name}"))? {
            device = Some(name);
        }
    }
    let Some(device) = device else {
        return Ok(Err(
            "it has no platform device for the slot; is sysfs mounted at /sys?".to_owned(),
        ));
    };
    if let Err(why) = write(client, &format!("{DRIVER}/bind"), &device)? {
        return Ok(Err(why));
    }
    let deadline = Instant::now() + NODE_LIMIT;
    loop {
        for letter in 'a'..='z' {
            // The name is what virtio-blk calls a serial number.
            let serial = match client.ask(read_file(format!("/sys/block/vd{letter}/serial").as_bytes())) {
                Ok(serial) => serial,
                Err(GuestError::Op(_)) => continue,
                Err(error) => return Err(error),
            };
            if serial.trim_ascii_end() == id.as_bytes() && exists(client, &format!("/dev/vd{letter}"))? {
                return Ok(Ok(()));
            }
        }
        if Instant::now() > deadline {
            let why = format!(
                "no /dev/vd? within {} s; has its kernel virtio_blk?",
                NODE_LIMIT.as_secs()
            );
            // The slot must be free for another attempt.
            let _ = disappear(client, slot)?;
            return Ok(Err(why));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Has the guest's driver let go of `slot`.
fn disappear(client: &mut GuestClient, slot: u8) -> Result<Result<(), String>, GuestError> {
    for name in Machine::disk_slot_names(slot) {
        if exists(client, &format!("{DRIVER}/{name}"))? {
            return write(client, &format!("{DRIVER}/unbind"), &name);
        }
    }
    Ok(Ok(()))
}

fn exists(client: &mut GuestClient, path: &str) -> Result<bool, GuestError> {
    match client.ask(stat(path.as_bytes(), true)) {
        Ok(_) => Ok(true),
        Err(GuestError::Op(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(client: &mut GuestClient, path: &str, text: &str) -> Result<Result<(), String>, GuestError> {
    match client.ask(write_file(path.as_bytes(), None, text.into())) {
        Ok(_) => Ok(Ok(())),
        Err(GuestError::Op(error)) => Ok(Err(error.message)),
        Err(error) => Err(error),
    }
}
