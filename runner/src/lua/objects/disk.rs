//! `Disk`: a disk of a VM as Lua sees it.
//!
//! Input: calls of a test. Output: sectors, faults, disks attached and detached. A handle is a VM and a name:
//! it means the disk that has the name now, so it goes on after a reset or a restore that brings the disk
//! back. Not here: where the bytes are; what the guest does with a disk.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Table, Value};
use provium_base::nearest::nearest;
use provium_vmm::disk::{self, Fault, FaultMode};

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::integer;
use crate::lua::objects::boot_options as read;
use crate::lua::objects::vm::handle::Vm;

/// A disk as Lua has it.
#[derive(Clone)]
pub(crate) struct Disk {
    vm: Vm,
    id: String,
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
                        writable?: boolean, format?: \"raw\"}): Disk",
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
    let taken = |id: &str| vm.core().disk(id).is_some();
    let free = (0..)
        .map(|number| format!("disk{number}"))
        .find(|id| !taken(id))
        .unwrap_or_default();
    let option = read::disk(call, call.options(0)?, "image", "size", free)?;
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
    if let Some(image) = &spec.image {
        call.takes_in_file(image)?;
    }
    let cancel = call.file().cancel();
    let attached = vm.core().attach_disk(spec, &cancel);
    attached.map_err(|error| vm.failed(call, error))?;
    let disk = Disk {
        vm: vm.clone(),
        id: option.id,
    };
    one(call.lua(), disk.into_userdata(call.lua())?)
}

impl Disk {
    fn there(&self) -> Option<Arc<disk::Disk>> {
        self.vm.core().disk(&self.id)
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
                    let detached = disk.vm.core().detach_disk(&disk.id, &cancel);
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
        self.id == other.id && self.vm.is(&other.vm)
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

/// Time that `slow` adds to each request where nothing else is said.
const SLOW: Duration = Duration::from_millis(50);
/// Names of the modes of faults.
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
        ("slow", None) => FaultMode::Slow(SLOW),
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
