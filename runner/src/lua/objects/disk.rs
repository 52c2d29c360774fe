//! `Disk`: a disk of a VM as Lua sees it.
//!
//! Enters: calls of a test. Leaves: sectors, faults, disks attached and detached. A handle is a VM and a name: it means
//! the disk that has the name now, so it goes on after a reset or a restore that brings the disk back. Absent on
//! purpose: where the bytes are; what the guest does with a disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlua::{Table, Value};
use provium_vmm::disk::{self, DiskSpec, Fault, FaultMode, foreign_format};
use serde::{Deserialize, Serialize};

use crate::config::nearest;
use crate::fixture::Input;
use crate::lua::api::binding::{Kind, Method, type_name};
use crate::lua::api::call::{Answer, Call, Raise, integer, none, one};
use crate::lua::api::options::{Options, array};
use crate::lua::objects::vm::Vm;

/// A disk.
#[derive(Clone)]
pub(crate) struct Disk {
    vm: Vm,
    id: String,
}

/// A disk as options describe it; paths are as the test wrote them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiskOption {
    id: String,
    image: Option<PathBuf>,
    size: Option<u64>,
    readonly: bool,
    writable: bool,
}

impl DiskOption {
    /// Reads a table of options whose keys for image and size are these; `id` is the name where none is given.
    fn read(
        options: Options<'_>,
        image: &'static str,
        size: &'static str,
        id: String,
    ) -> Result<DiskOption, Raise> {
        let path = options.text(image)?.map(PathBuf::from);
        let bytes = options.size(size)?;
        if path.is_none() && bytes.is_none() {
            return Err(options.fail(image, format_args!("give `{image}`, or `{size}` for scratch")));
        }
        if let Some(format) = options.text("format")?.filter(|format| format != "raw") {
            let message = format!(
                "`{format}` is not supported, only `raw`; convert it: qemu-img convert -O raw IMAGE IMAGE.raw"
            );
            return Err(options.fail("format", message));
        }
        let read = DiskOption {
            id: options.text("id")?.unwrap_or(id),
            image: path,
            size: bytes,
            readonly: options.boolean("readonly")?.unwrap_or(false),
            writable: options.boolean("writable")?.unwrap_or(false),
        };
        if read.writable && (read.readonly || read.image.is_none()) {
            return Err(options.fail("writable", "it is for an image that the guest may write"));
        }
        options.finish()?;
        Ok(read)
    }

    /// Reads the boot option `disks`.
    pub(crate) fn read_all(options: &Options<'_>) -> Result<Option<Vec<DiskOption>>, Raise> {
        let Some(table) = options.table("disks")? else {
            return Ok(None);
        };
        let items = array(&table).ok_or_else(|| options.fail("disks", "expected an array of tables"))?;
        let read = items.iter().enumerate().map(|(at, item)| match item {
            Value::Table(item) => {
                DiskOption::read(options.item(item.clone()), "path", "scratch", format!("disk{at}"))
            }
            other => {
                let message = format!("item {}: expected a table, got {}", at + 1, type_name(other));
                Err(options.fail("disks", message))
            }
        });
        let read = read.collect::<Result<Vec<DiskOption>, Raise>>()?;
        for (at, disk) in read.iter().enumerate() {
            if read[..at].iter().any(|other| other.id == disk.id) {
                return Err(options.fail("disks", format_args!("two disks have the id `{}`", disk.id)));
            }
        }
        Ok(Some(read))
    }

    /// The disk's description; relative paths are `project`'s. Its image is looked at.
    pub(crate) fn spec(&self, project: &Path) -> Result<DiskSpec, String> {
        let image = self.image.as_ref().map(|path| project.join(path));
        if let Some(path) = &image
            && let Ok(Some(format)) = foreign_format(path)
        {
            return Err(format!(
                "disk `{}`: {} is a {format} image, and only raw ones are supported; convert it: qemu-img convert -O \
                 raw {0} {0}.raw",
                self.id,
                path.display()
            ));
        }
        Ok(DiskSpec {
            id: self.id.clone(),
            image,
            size: self.size,
            readonly: self.readonly,
            writable: self.writable,
        })
    }
}

/// Notes the image of a disk as an input of the fixture that is being built.
pub(crate) fn takes_in(call: &Call<'_>, spec: &DiskSpec) -> Result<(), Raise> {
    let Some(path) = &spec.image else { return Ok(()) };
    let input = Input::HostFile { path: path.clone() };
    call.file().takes_in(input).map_err(|message| call.fail(message))
}

/// `VM:disk` and `VM:attach_disk`.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "disk",
            signature: "(id: string): Disk",
            doc: "One of its disks, by name.",
            run: find,
        },
        Method {
            name: "attach_disk",
            signature: "(opts: {id?: string, size?: integer|string, image?: string, readonly?: boolean, \
                        writable?: boolean}): Disk",
            doc: "Gives it one more disk; returns when the guest has a device for it, if it runs.",
            run: attach,
        },
    ]
}

fn find(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    let id = call.name(0, "a string as the disk's id")?;
    vm.prepare_declared(call)?;
    let known: Vec<String> = vm
        .core()
        .borrow()
        .disks()
        .iter()
        .map(|disk| disk.id().to_owned())
        .collect();
    if !known.contains(&id) {
        let hint = match nearest(&id, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => {
                "it has none; give it one with vm:attach_disk or the boot option `disks`".to_owned()
            }
            None => format!("it has {}", known.join(", ")),
        };
        return Err(call.fail(format_args!("VM `{}` has no disk `{id}`; {hint}", vm.name())));
    }
    one(call.lua(), Disk { vm: vm.clone(), id }.into_userdata(call.lua())?)
}

fn attach(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    vm.open(call)?;
    vm.prepare_declared(call)?;
    let taken = |id: &str| vm.core().borrow().disk(id).is_some();
    let free = (0..)
        .map(|number| format!("disk{number}"))
        .find(|id| !taken(id))
        .unwrap_or_default();
    let option = DiskOption::read(call.options(0)?, "image", "size", free)?;
    if taken(&option.id) {
        return Err(call.fail(format_args!(
            "VM `{}` has a disk `{}` already",
            vm.name(),
            option.id
        )));
    }
    let spec = option
        .spec(call.file().project())
        .map_err(|message| call.fail(message))?;
    takes_in(call, &spec)?;
    let cancel = call.file().cancel();
    let attached = vm.core().borrow_mut().attach_disk(spec, &cancel);
    attached.map_err(|error| vm.failed(call, error))?;
    let disk = Disk {
        vm: vm.clone(),
        id: option.id,
    };
    one(call.lua(), disk.into_userdata(call.lua())?)
}

impl Disk {
    fn there(&self) -> Option<Arc<disk::Disk>> {
        self.vm.core().borrow().disk(&self.id)
    }

    /// The disk itself.
    fn open(&self, call: &Call<'_>) -> Result<Arc<disk::Disk>, Raise> {
        self.vm.open(call)?;
        self.there().ok_or_else(|| {
            call.fail(format_args!(
                "disk `{}` of VM `{}` is detached",
                self.id,
                self.vm.name()
            ))
        })
    }
}

impl Kind for Disk {
    const NAME: &'static str = "Disk";
    const PREFIX: &'static str = "disk";

    fn methods() -> Vec<Method<Disk>> {
        vec![
            Method {
                name: "id",
                signature: "(): string",
                doc: "Its name, which the guest sees as its serial number.",
                run: |call, disk| one(call.lua(), disk.id.as_str()),
            },
            Method {
                name: "size",
                signature: "(): integer",
                doc: "Its bytes.",
                run: |call, disk| one(call.lua(), disk.open(call)?.size()),
            },
            Method {
                name: "read_sectors",
                signature: "(first: integer, count: integer): string",
                doc: "Sectors of 512 bytes as they are now, flushed or not.",
                run: read_sectors,
            },
            Method {
                name: "write_sectors",
                signature: "(first: integer, data: string)",
                doc: "Writes whole sectors of 512 bytes, for good.",
                run: write_sectors,
            },
            Method {
                name: "fault_inject",
                signature: "(mode: \"eio_read\"|\"eio_write\"|\"slow\", opts?: {sectors: {from: integer, to: integer}, \
                            after: integer, count: integer, delay: number|string})",
                doc: "Makes requests of the guest fail, or take longer.",
                run: fault_inject,
            },
            Method {
                name: "clear_faults",
                signature: "()",
                doc: "Takes all faults away.",
                run: |call, disk| {
                    call.at_most(0)?;
                    disk.open(call)?.clear_faults();
                    none()
                },
            },
            Method {
                name: "active_faults",
                signature: "(): table[]",
                doc: "The faults that are not over, with what is left of `after` and `count`.",
                run: active_faults,
            },
            Method {
                name: "power_cut",
                signature: "()",
                doc: "Pulls its plug: what was not flushed is gone, and it fails until the next boot.",
                run: |call, disk| {
                    call.at_most(0)?;
                    disk.open(call)?.power_cut().map_err(|error| call.fail(error))?;
                    none()
                },
            },
            Method {
                name: "detach",
                signature: "()",
                doc: "Takes it away from its VM; calling it again does nothing.",
                run: |call, disk| {
                    call.at_most(0)?;
                    let cancel = call.file().cancel();
                    let detached = disk.vm.core().borrow_mut().detach_disk(&disk.id, &cancel);
                    detached.map_err(|error| disk.vm.failed(call, error))?;
                    none()
                },
            },
            Method {
                name: "is_detached",
                signature: "(): boolean",
                doc: "Whether its VM has it no more.",
                run: |call, disk| one(call.lua(), disk.there().is_none()),
            },
        ]
    }

    fn describe(&self) -> String {
        format!("Disk `{}` of VM `{}`", self.id, self.vm.name())
    }

    fn same(&self, other: &Disk) -> bool {
        self.id == other.id && self.vm.same(&other.vm)
    }
}

/// An argument that is a number of sectors.
fn sectors(call: &Call<'_>, at: usize, what: &str) -> Result<u64, Raise> {
    let number = integer(call.arg(at)).map_err(|message| call.fail(format_args!("{what}: {message}")))?;
    u64::try_from(number).map_err(|_| call.fail(format_args!("{what}: {number} is less than 0")))
}

fn read_sectors(call: &mut Call<'_>, disk: &Disk) -> Answer {
    const MOST: u64 = 1 << 21;
    call.at_most(2)?;
    let disk = disk.open(call)?;
    let (first, count) = (
        sectors(call, 0, "first sector")?,
        sectors(call, 1, "number of sectors")?,
    );
    if count > MOST {
        return Err(call.fail(format_args!(
            "{count} sectors at once, the most is {MOST} (1 GiB)"
        )));
    }
    let data = disk
        .read_sectors(first, count)
        .map_err(|error| call.fail(error))?;
    one(call.lua(), call.lua().create_string(data)?)
}

fn write_sectors(call: &mut Call<'_>, disk: &Disk) -> Answer {
    call.at_most(2)?;
    let disk = disk.open(call)?;
    let first = sectors(call, 0, "first sector")?;
    let data = call.string(1, "a string as data")?;
    disk.write_sectors(first, &data.as_bytes())
        .map_err(|error| call.fail(error))?;
    none()
}

const MODES: [&str; 3] = ["eio_read", "eio_write", "slow"];

fn fault_inject(call: &mut Call<'_>, disk: &Disk) -> Answer {
    call.at_most(2)?;
    let disk = disk.open(call)?;
    let name = call.name(0, "a string as mode")?;
    if !MODES.contains(&name.as_str()) {
        let hint = match nearest(&name, MODES.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", MODES.join(", ")),
        };
        return Err(call.fail(format_args!("unknown mode `{name}`; {hint}")));
    }
    let options = call.options(1)?;
    let count = |key| match options.integer(key)? {
        None => Ok(None),
        Some(number) => match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(options.fail(key, format_args!("{number} is less than 0"))),
        },
    };
    let delay = options.duration("delay")?;
    let mode = match (name.as_str(), delay) {
        ("slow", Some(delay)) => FaultMode::Slow(delay),
        ("slow", None) => {
            return Err(options.fail("delay", "`slow` needs it: how much longer each request takes"));
        }
        (_, Some(_)) => return Err(options.fail("delay", "it is for `slow`")),
        ("eio_read", None) => FaultMode::EioRead,
        _ => FaultMode::EioWrite,
    };
    let fault = Fault {
        mode,
        sectors: match options.table("sectors")? {
            None => None,
            Some(table) => Some(range(&table).map_err(|message| options.fail("sectors", message))?),
        },
        after: count("after")?.unwrap_or(0),
        count: count("count")?,
    };
    if fault.count == Some(0) {
        return Err(options.fail("count", "0 requests are no fault"));
    }
    options.finish()?;
    disk.inject(fault);
    none()
}

/// `{from, to}` or `{from=, to=}`.
fn range(table: &Table) -> Result<(u64, u64), String> {
    let value = |at: i64, key: &str| -> Result<u64, String> {
        let value: Value = table.raw_get(at).map_err(|error| error.to_string())?;
        let value = match value {
            Value::Nil => table.raw_get(key).map_err(|error| error.to_string())?,
            value => value,
        };
        let number = integer(&value).map_err(|message| format!("`{key}`: {message}"))?;
        u64::try_from(number).map_err(|_| format!("`{key}`: {number} is less than 0"))
    };
    match (value(1, "from")?, value(2, "to")?) {
        (from, to) if from <= to => Ok((from, to)),
        (from, to) => Err(format!(
            "from {from} to {to} is no range; give the first and the last sector"
        )),
    }
}

fn active_faults(call: &mut Call<'_>, disk: &Disk) -> Answer {
    call.at_most(0)?;
    let list = call.lua().create_table()?;
    for fault in disk.open(call)?.active_faults() {
        let entry = call.lua().create_table()?;
        let mode = match fault.mode {
            FaultMode::EioRead => "eio_read",
            FaultMode::EioWrite => "eio_write",
            FaultMode::Slow(delay) => {
                entry.raw_set("delay", delay.as_secs_f64())?;
                "slow"
            }
        };
        entry.raw_set("mode", mode)?;
        if let Some((from, to)) = fault.sectors {
            let range = call.lua().create_table()?;
            range.raw_set("from", from)?;
            range.raw_set("to", to)?;
            entry.raw_set("sectors", range)?;
        }
        entry.raw_set("after", fault.after)?;
        entry.raw_set("count", fault.count)?;
        list.raw_push(entry)?;
    }
    one(call.lua(), list)
}
