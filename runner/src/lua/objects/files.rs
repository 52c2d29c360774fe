//! Files and folders of the guest, by path.
//!
//! Input: paths and content. Output: content, metadata, entries as tables. What is read here from a call's
//! arguments is asked alone or in a batch. Not here: open files; `open_file` has those.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mlua::{Lua, Table};
use provium_base::cause::Cause;
use provium_guest::{DirEntry, EntryType, Stat, ops};
use provium_vmm::host_file;

use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::options::Options;
use crate::lua::api::raise::{Answer, Raise, none};
use crate::lua::api::value::{integer, size};
use crate::lua::objects::operation::{LuaOp, Outcome};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::handle::Vm;

/// `(path)`.
pub(crate) fn read(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(1)?;
    let op = ops::read_file(&call.path(0)?);
    Ok(op.map(|content| Outcome::of(move |lua| lua.create_string(content))))
}

/// `(path, data)`.
pub(crate) fn write(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let content = call.string(1, "a string as content")?;
    // The copy can go to another thread while this one reads the answer; Lua's memory cannot.
    let content = content.as_bytes().to_vec();
    let op = ops::write_file(&path, None, content);
    Ok(op.map(|written| Outcome::of(move |_| Ok(i64::try_from(written).unwrap_or(i64::MAX)))))
}

/// `(path, {follow=})`.
pub(crate) fn stat(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let follow = options.boolean("follow")?.unwrap_or(true);
    options.finish()?;
    let op = ops::stat(&path, follow);
    Ok(op.map(|stat| Outcome::of(move |lua| stat_table(lua, &stat))))
}

/// `(path)`.
pub(crate) fn listdir(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(1)?;
    let op = ops::list_dir(&call.path(0)?);
    Ok(op.map(|listed| Outcome::of(move |lua| entries(lua, &listed))))
}

/// `(path, {parents=, perm=})`.
pub(crate) fn mkdir(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let parents = options.boolean("parents")?.unwrap_or(false);
    let perm = perm(&options)?;
    options.finish()?;
    Ok(ops::make_dir(&path, parents, perm).map(Outcome::done))
}

/// `(path)`.
pub(crate) fn unlink(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(1)?;
    Ok(ops::unlink(&call.path(0)?).map(Outcome::done))
}

/// `(from, to)`.
pub(crate) fn rename(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    Ok(ops::rename(&call.path(0)?, &call.path(1)?).map(Outcome::done))
}

/// `(path, {recursive=})`.
pub(crate) fn rmdir(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let recursive = options.boolean("recursive")?.unwrap_or(false);
    options.finish()?;
    Ok(ops::remove_dir(&path, recursive).map(Outcome::done))
}

/// `(path, mode)`.
pub(crate) fn chmod(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let bits = integer(call.arg(1)).map_err(|message| call.fail(format_args!("mode: {message}")))?;
    let perm = permission_bits(bits).map_err(|message| call.fail(format_args!("mode: {message}")))?;
    Ok(ops::chmod(&path, perm).map(Outcome::done))
}

/// `(path, uid, gid, {follow=})`.
pub(crate) fn chown(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(4)?;
    let path = call.path(0)?;
    let (uid, gid) = (id(call, 1, "uid")?, id(call, 2, "gid")?);
    let options = call.options(3)?;
    let follow = options.boolean("follow")?.unwrap_or(true);
    options.finish()?;
    if uid.is_none() && gid.is_none() {
        return Err(call.fail("give a uid, a gid or both; nil leaves one as it is"));
    }
    Ok(ops::chown(&path, uid, gid, follow).map(Outcome::done))
}

/// `(target, path)`.
pub(crate) fn symlink(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    Ok(ops::symlink(&call.path(0)?, &call.path(1)?).map(Outcome::done))
}

/// `(path)`.
pub(crate) fn readlink(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(1)?;
    let op = ops::read_link(&call.path(0)?);
    Ok(op.map(|target| Outcome::of(move |lua| lua.create_string(target))))
}

/// `(path, size)`.
pub(crate) fn truncate(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let size = size(call.arg(1)).map_err(|message| call.fail(format_args!("size: {message}")))?;
    Ok(ops::truncate(&path, size).map(Outcome::done))
}

/// `(path)`.
pub(crate) fn exists(call: &Call<'_>) -> Result<LuaOp, Raise> {
    call.at_most(1)?;
    let op = ops::exists(&call.path(0)?);
    Ok(op.map(|exists| Outcome::of(move |_| Ok(exists))))
}

/// A user or group as argument; none where it is nil.
fn id(call: &Call<'_>, at: usize, what: &str) -> Result<Option<u32>, Raise> {
    if call.arg(at).is_nil() {
        return Ok(None);
    }
    let number = integer(call.arg(at)).map_err(|message| call.fail(format_args!("{what}: {message}")))?;
    match u32::try_from(number) {
        // The kernel takes the last one for "as it is".
        Ok(id) if id < u32::MAX => Ok(Some(id)),
        _ => Err(call.fail(format_args!(
            "{what}: {number} is no id; ids are 0 to {}, and nil leaves it as it is",
            u32::MAX - 1
        ))),
    }
}

/// A file's metadata as Lua sees it.
fn stat_table(lua: &Lua, stat: &Stat) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("size", i64::try_from(stat.size).unwrap_or(i64::MAX))?;
    for (seconds, whole, time) in [
        ("atime", "atime_ns", stat.atime_ns),
        ("mtime", "mtime_ns", stat.mtime_ns),
        ("ctime", "ctime_ns", stat.ctime_ns),
    ] {
        let (full, rest) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        table.raw_set(seconds, full as f64 + rest as f64 / 1e9)?;
        table.raw_set(whole, time)?;
    }
    table.raw_set("mode", stat.mode)?;
    table.raw_set("perm", stat.mode & 0o7777)?;
    table.raw_set("uid", stat.uid)?;
    table.raw_set("gid", stat.gid)?;
    table.raw_set("nlink", i64::try_from(stat.nlink).unwrap_or(i64::MAX))?;
    // Lua's integers have 64 bits and a sign.
    table.raw_set("ino", stat.ino.cast_signed())?;
    table.raw_set("entry_type", entry_type(stat.entry_type))?;
    if let Some(target) = &stat.target {
        table.raw_set("target", lua.create_string(target)?)?;
    }
    Ok(table)
}

/// A folder's entries as Lua sees them.
fn entries(lua: &Lua, entries: &[DirEntry]) -> mlua::Result<Table> {
    let list = lua.create_table_with_capacity(entries.len(), 0)?;
    for entry in entries {
        let table = lua.create_table()?;
        table.raw_set("name", lua.create_string(&*entry.name)?)?;
        table.raw_set("entry_type", entry_type(entry.entry_type))?;
        list.raw_push(table)?;
    }
    Ok(list)
}

/// Option `perm`: permission bits.
pub(crate) fn perm(options: &Options<'_>) -> Result<Option<u32>, Raise> {
    match options.integer("perm")? {
        None => Ok(None),
        Some(bits) => permission_bits(bits)
            .map(Some)
            .map_err(|message| options.fail("perm", message)),
    }
}

/// A number as permission bits.
fn permission_bits(bits: i64) -> Result<u32, String> {
    match u32::try_from(bits) {
        Ok(perm) if perm <= 0o7777 => Ok(perm),
        _ => Err(format!(
            "{bits} are no permission bits; write them as tonumber(\"644\", 8)"
        )),
    }
}

/// `VM:push_file`.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![Method {
        name: "push_file",
        signature: "(host: string, guest: string, opts?: {auto_dep?: boolean})",
        doc: "Copies a file of the host into the guest; in a fixture the file becomes one of its inputs.",
        run: push_file,
    }]
}

/// The arguments of what is pushed: a path on the host, which becomes an input of a fixture unless `auto_dep`
/// is false, and one in the guest.
pub(super) fn pushed(call: &mut Call<'_>) -> Result<(PathBuf, Vec<u8>), Raise> {
    call.at_most(3)?;
    let host = call.host_file(0)?;
    let guest = call.path(1)?;
    let options = call.options(2)?;
    let auto_dep = options.boolean("auto_dep")?.unwrap_or(true);
    options.finish()?;
    if auto_dep {
        call.takes_in_file(&host)?;
    }
    Ok((host, guest))
}

fn push_file(call: &mut Call<'_>, vm: &Vm) -> Answer {
    let (host, guest) = pushed(call)?;
    if host.is_dir() {
        return Err(call.fail(format_args!(
            "{} is a folder, and only files are copied",
            host.display()
        )));
    }
    let unreadable = |error| call.fail(format_args!("{}: {}", host.display(), Cause(&error)));
    let mut file = host_file::open(&host).map_err(unreadable)?;
    let perm = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    vm.ask(call, |client| client.push_file(&guest, Some(perm), &mut file))?;
    none()
}

/// `pull_file(guest, host)`.
pub(crate) fn pull_file<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(2)?;
    let from = call.path(0)?;
    let to = call
        .file()
        .project()
        .join(call.name(1, "a string as path on the host")?);
    let failed = |error: std::io::Error| call.fail(format_args!("{}: {}", to.display(), Cause(&error)));
    // What is there stays until all of the new content is.
    let folder = to.parent().unwrap_or(&to);
    if !folder.exists() {
        return Err(call.fail(format_args!(
            "folder {} does not exist on the host",
            folder.display()
        )));
    }
    let mut new = tempfile::Builder::new()
        .prefix(".provium-pull-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed)?;
    remote.ask(call, |client| client.pull_file(&from, new.as_file_mut()))?;
    new.persist(&to).map_err(|error| failed(error.error))?;
    none()
}

/// An entry type as Lua sees it.
fn entry_type(entry: EntryType) -> &'static str {
    match entry {
        EntryType::File => "file",
        EntryType::Directory => "directory",
        EntryType::Symlink => "symlink",
        EntryType::Fifo => "fifo",
        EntryType::Socket => "socket",
        EntryType::BlockDevice => "block_device",
        EntryType::CharDevice => "char_device",
        EntryType::Other => "other",
    }
}
