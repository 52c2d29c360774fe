//! Whole folders between host and guest.
//!
//! Input: a folder on one side. Output: the same on the other: folders, files and links with their permission
//! bits. Not here: other kinds of files, which are left out; a guest's names are not trusted.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use provium_base::cause::Cause;
use provium_guest::{EntryType, ops};
use provium_vmm::host_file;
use walkdir::WalkDir;

use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none};
use crate::lua::objects::files::pushed;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::handle::Vm;

/// Most folders in each other that are taken from a guest, which may say that it has any number.
const MAX_DEPTH: usize = 128;

/// `VM:push_dir` and `VM:pull_dir`.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "push_dir",
            signature: "(host: string, guest: string, opts?: {auto_dep?: boolean})",
            doc: "Copies a folder of the host into the guest; in a fixture it becomes one of its inputs.",
            run: push_dir,
        },
        Method {
            name: "pull_dir",
            signature: "(guest: string, host: string)",
            doc: "Copies a folder of the guest to the host, where there must be nothing of that name.",
            run: pull_dir,
        },
    ]
}

fn push_dir(call: &mut Call<'_>, vm: &Vm) -> Answer {
    let (host, guest) = pushed(call)?;
    if !host.is_dir() {
        return Err(call.fail(format_args!("{} is not a folder", host.display())));
    }
    for entry in WalkDir::new(&host).sort_by_file_name() {
        let entry = entry.map_err(|error| call.fail(error))?;
        let path = entry.path();
        let failed = |error: std::io::Error| call.fail(format_args!("{}: {}", path.display(), Cause(&error)));
        let mut to = guest.clone();
        let below = path.strip_prefix(&host).unwrap_or(path).as_os_str().as_bytes();
        if !below.is_empty() {
            to.push(b'/');
            to.extend_from_slice(below);
        }
        // The folder itself may be a link.
        let metadata = if below.is_empty() {
            fs::metadata(path)
        } else {
            entry.metadata().map_err(Into::into)
        };
        let metadata = metadata.map_err(failed)?;
        let perm = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            vm.ask(call, |client| {
                client.ask(ops::make_dir(&to, true, Some(perm)))?;
                client.ask(ops::chmod(&to, perm))
            })?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(failed)?;
            vm.ask(call, |client| {
                client.ask(ops::symlink(target.as_os_str().as_bytes(), &to))
            })?;
        } else if metadata.is_file() {
            let mut file = host_file::open(path).map_err(failed)?;
            vm.ask(call, |client| client.push_file(&to, Some(perm), &mut file))?;
        }
    }
    none()
}

fn pull_dir(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(2)?;
    let from = call.path(0)?;
    let name = call.name(1, "a string as path on the host")?;
    let to = call.file().project().join(name);
    let failed = |error: std::io::Error| call.fail(format_args!("{}: {}", to.display(), Cause(&error)));
    if to.symlink_metadata().is_ok() {
        return Err(call.fail(format_args!("{} is there already", to.display())));
    }
    // Nothing has the name until all of it is there.
    let folder = to.parent().unwrap_or(&to);
    let new = tempfile::Builder::new()
        .prefix(".provium-pull-")
        .tempdir_in(folder)
        .map_err(failed)?;
    let content = new.path().join("content");
    pull(call, vm, &from, &content, MAX_DEPTH)?;
    fs::rename(&content, &to).map_err(failed)?;
    none()
}

/// Copies a folder of the guest to `to`, which is made. Each name is made anew: one that a guest lists twice,
/// once as a link, is an error and not followed.
fn pull(call: &Call<'_>, vm: &Vm, from: &[u8], to: &Path, depth: usize) -> Result<(), Raise> {
    let shown = String::from_utf8_lossy(from).into_owned();
    let failed = |error: std::io::Error| call.fail(format_args!("{shown}: {}", Cause(&error)));
    let depth = depth.checked_sub(1).ok_or_else(|| {
        call.fail(format_args!(
            "{shown}: more than {MAX_DEPTH} folders in each other"
        ))
    })?;
    let entries = vm.ask(call, |client| client.ask(ops::list_dir(from)))?;
    fs::create_dir(to).map_err(failed)?;
    for entry in entries {
        let name = &entry.name[..];
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(call.fail(format_args!(
                "{shown}: the guest says a name that no file can have"
            )));
        }
        let source = [from, b"/", name].concat();
        let target = to.join(std::ffi::OsStr::from_bytes(name));
        match entry.entry_type {
            EntryType::Directory => pull(call, vm, &source, &target, depth)?,
            EntryType::Symlink => {
                let link = vm.ask(call, |client| client.ask(ops::read_link(&source)))?;
                symlink(std::ffi::OsStr::from_bytes(&link), &target).map_err(failed)?;
            }
            EntryType::File => {
                let mut file = fs::File::create_new(&target).map_err(failed)?;
                vm.ask(call, |client| client.pull_file(&source, &mut file))?;
                let perm = vm.ask(call, |client| client.ask(ops::stat(&source, false)))?.mode;
                // Files of a guest do not run as somebody here.
                file.set_permissions(fs::Permissions::from_mode(perm & 0o777))
                    .map_err(failed)?;
            }
            _ => {}
        }
    }
    Ok(())
}
