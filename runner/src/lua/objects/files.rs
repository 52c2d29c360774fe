//! Files and folders of the guest, by path.
//!
//! Input: paths and content. Output: content, metadata, entries as tables. What is read here from a call's
//! arguments a batch reads as well. Not here: open files; `open_file` has those.

use std::os::unix::fs::PermissionsExt;

use mlua::{Lua, Table};

use crate::guest::{BatchOp, DirEntry, EntryType, Stat};
use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::options::Options;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::handle::Vm;

/// `(path)`.
pub(crate) fn read_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(1)?;
    Ok(BatchOp::ReadFile(call.path(0)?))
}

/// `(path, data)`.
pub(crate) fn write_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let content = call.string(1, "a string as content")?;
    // The copy can go to another thread while this one reads the answer; Lua's memory cannot.
    let content = content.as_bytes().to_vec();
    Ok(BatchOp::WriteFile(path, content))
}

/// `(path, {follow=})`.
pub(crate) fn stat_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let follow = options.boolean("follow")?.unwrap_or(true);
    options.finish()?;
    Ok(BatchOp::Stat(path, follow))
}

/// `(path)`.
pub(crate) fn listdir_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(1)?;
    Ok(BatchOp::ListDir(call.path(0)?))
}

/// `(path, {parents=, perm=})`.
pub(crate) fn mkdir_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let parents = options.boolean("parents")?.unwrap_or(false);
    let perm = perm(&options)?;
    options.finish()?;
    Ok(BatchOp::MakeDir(path, parents, perm))
}

/// `(path)`.
pub(crate) fn unlink_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(1)?;
    Ok(BatchOp::Unlink(call.path(0)?))
}

/// `(from, to)`.
pub(crate) fn rename_op(call: &Call<'_>) -> Result<BatchOp, Raise> {
    call.at_most(2)?;
    Ok(BatchOp::Rename(call.path(0)?, call.path(1)?))
}

/// A file's metadata as Lua sees it.
pub(crate) fn stat_table(lua: &Lua, stat: &Stat) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("size", i64::try_from(stat.size).unwrap_or(i64::MAX))?;
    table.raw_set("mtime", stat.mtime)?;
    table.raw_set("mtime_ns", stat.mtime_ns)?;
    table.raw_set("perm", stat.perm)?;
    table.raw_set("entry_type", entry_type(stat.entry_type))?;
    Ok(table)
}

/// A folder's entries as Lua sees them.
pub(crate) fn entries(lua: &Lua, entries: &[DirEntry]) -> mlua::Result<Table> {
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
        Some(bits) => match u32::try_from(bits) {
            Ok(perm) if perm <= 0o7777 => Ok(Some(perm)),
            _ => Err(options.fail(
                "perm",
                format_args!("{bits} are no permission bits; write them as tonumber(\"644\", 8)"),
            )),
        },
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

fn push_file(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(3)?;
    let host = call.host_path(0)?;
    let guest = call.path(1)?;
    let options = call.options(2)?;
    let auto_dep = options.boolean("auto_dep")?.unwrap_or(true);
    options.finish()?;
    if auto_dep {
        call.takes_in_file(&host)?;
    }
    let unreadable = |error| call.fail(format_args!("{}: {error}", host.display()));
    let mut file = std::fs::File::open(&host).map_err(unreadable)?;
    let perm = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    vm.ask(call, |client| client.write_file(&guest, Some(perm), &mut file))?;
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
    let failed = |error: std::io::Error| call.fail(format_args!("{}: {error}", to.display()));
    // What is there stays until all of the new content is.
    let folder = to.parent().unwrap_or(&to);
    let mut new = tempfile::Builder::new()
        .prefix(".provium-pull-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed)?;
    remote.ask(call, |client| client.pull_file(&from, new.as_file_mut()))?;
    new.persist(&to).map_err(|error| failed(error.error))?;
    none()
}

/// `read_file(path)`, and the others that a batch can do as well.
pub(crate) fn answer<T: Remote>(call: &mut Call<'_>, remote: &T, op: BatchOp) -> Answer {
    let lua = call.lua();
    match op {
        BatchOp::ReadFile(path) => {
            let content = remote.ask(call, |client| client.read_file(&path))?;
            one(lua, lua.create_string(content)?)
        }
        BatchOp::WriteFile(path, content) => {
            let written = remote.ask(call, |client| {
                client.write_file(&path, None, &mut content.as_slice())
            })?;
            one(lua, i64::try_from(written).unwrap_or(i64::MAX))
        }
        BatchOp::Stat(path, follow) => {
            let stat = remote.ask(call, |client| client.stat(&path, follow))?;
            one(lua, stat_table(lua, &stat)?)
        }
        BatchOp::ListDir(path) => {
            let listed = remote.ask(call, |client| client.list_dir(&path))?;
            one(lua, entries(lua, &listed)?)
        }
        BatchOp::MakeDir(path, parents, perm) => {
            remote.ask(call, |client| client.make_dir(&path, parents, perm))?;
            none()
        }
        BatchOp::Unlink(path) => {
            remote.ask(call, |client| client.unlink(&path))?;
            none()
        }
        BatchOp::Rename(from, to) => {
            remote.ask(call, |client| client.rename(&from, &to))?;
            none()
        }
        // These two have callers of their own.
        BatchOp::Run(_) | BatchOp::Syscall(_) => Err(call.fail("not about a file")),
    }
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
