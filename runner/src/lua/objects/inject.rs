//! The boot option `files`: what a guest finds in its file system when it starts.
//!
//! Enters: `{{path=, content=}, {path=, host=}, …}` or `{["/in/the/guest"] = "on/the/host"}`. Leaves: archives for the kernel
//! to unpack. Parents come before the user's initrd, so that a folder or a link it has under that name wins; the files
//! come behind it, so that they win. A guest whose root is a disk finds them below a folder of the agent's, which copies
//! them. Files of the host are read at each boot. Absent on purpose: folders, links and devices.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlua::{Table, Value};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::agent_archive::{self, InitramfsFile};
use crate::fixture::Input;
use crate::lua::api::binding::type_name;
use crate::lua::api::call::{Call, Raise};
use crate::lua::api::options::{Options, array};

/// Permissions where nothing else is said.
const MODE: u32 = 0o644;
/// Where the agent looks for files that belong below another root.
const BELOW_ROOTFS: &str = "/.provium/files";

/// A file for the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InjectedFile {
    /// Its path in the guest.
    path: String,
    /// Its permissions; those of the host's file, or 0644, when absent.
    mode: Option<u32>,
    content: Content,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Content {
    Bytes(ByteBuf),
    Host(PathBuf),
}

/// The archives before and behind the user's initrd.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    /// Folders.
    pub(crate) early: Vec<u8>,
    /// Files.
    pub(crate) late: Vec<u8>,
}

impl InjectedFile {
    /// Reads the option, and makes files of the host inputs of the fixture that is being built.
    pub(crate) fn read_all(
        call: &Call<'_>,
        options: &Options<'_>,
    ) -> Result<Option<Vec<InjectedFile>>, Raise> {
        const KEY: &str = "files";
        let Some(table) = options.table(KEY)? else {
            return Ok(None);
        };
        let files = match array(&table) {
            Some(items) => {
                let files = items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| entry(call, at + 1, item));
                files.collect::<Result<Vec<_>, _>>()?
            }
            None => map(call, &table).map_err(|message| options.fail(KEY, message))?,
        };
        for file in &files {
            file.check().map_err(|message| options.fail(KEY, message))?;
            if let Content::Host(path) = &file.content {
                let input = Input::HostFile { path: path.clone() };
                call.file()
                    .takes_in(input)
                    .map_err(|message| options.fail(KEY, message))?;
            }
        }
        Ok(Some(files))
    }

    /// Refuses a path or a mode that no archive can hold, and a file that the host does not have.
    fn check(&self) -> Result<(), String> {
        let probe = InitramfsFile {
            path: &self.path,
            mode: self.mode.unwrap_or(MODE),
            content: &[],
        };
        agent_archive::archive(&[probe]).map_err(|error| error.to_string())?;
        match &self.content {
            Content::Host(path) if !path.is_file() => match path.exists() {
                true => Err(format!("{} is not a file", path.display())),
                false => Err(format!("{}: no such file on the host", path.display())),
            },
            _ => Ok(()),
        }
    }
}

/// One `{path=, content= or host=, mode=}`.
fn entry(call: &Call<'_>, at: usize, item: &Value) -> Result<InjectedFile, Raise> {
    let what = format!("{}: option `files`, entry {at}", call.what());
    let Value::Table(table) = item else {
        return Err(Raise::text(format!(
            "{what}: expected a table {{path=, content=}} or {{path=, host=}}, got {}",
            type_name(item)
        )));
    };
    let entry = Options::new(call.lua(), &what, table.clone())?;
    let path = entry
        .text("path")?
        .ok_or_else(|| entry.fail("path", "is missing"))?;
    let mode = match entry.integer("mode")? {
        None => None,
        Some(mode) => Some(
            u32::try_from(mode)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| {
                    entry.fail(
                        "mode",
                        format_args!("{mode} has more than permission bits (0 to 0o7777)"),
                    )
                })?,
        ),
    };
    let content = match (entry.bytes("content")?, entry.text("host")?) {
        (Some(bytes), None) => Content::Bytes(bytes.into()),
        (None, Some(host)) => Content::Host(call.file().project().join(host)),
        (Some(_), Some(_)) => return Err(entry.fail("content", "give `content` or `host`, not both")),
        (None, None) => return Err(entry.fail("content", "is missing; give `content` or `host`")),
    };
    entry.finish()?;
    Ok(InjectedFile { path, mode, content })
}

/// Guest path → host path.
fn map(call: &Call<'_>, table: &Table) -> Result<Vec<InjectedFile>, String> {
    let text = |value: &Value, what: &str| match value {
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(format!("{what} is not UTF-8")),
        },
        other => Err(format!(
            "expected an array of files, or paths of the guest with paths of the host; {what} is a {}",
            type_name(other)
        )),
    };
    let mut files = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (guest, host) = pair.map_err(|error| error.to_string())?;
        let path = text(&guest, "a key")?;
        let host = text(&host, &format!("the value of `{path}`"))?;
        files.push(InjectedFile {
            content: Content::Host(call.file().project().join(host)),
            path,
            mode: None,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The archives that hold the files, for a guest whose root is its initramfs or, with `rootfs`, a disk.
///
/// # Errors
/// The file that cannot be read or is too large.
pub(crate) fn archives(files: &[InjectedFile], rootfs: bool) -> Result<Archives, String> {
    if files.is_empty() {
        return Ok(Archives::default());
    }
    let mut read: Vec<(String, u32, Vec<u8>)> = Vec::with_capacity(files.len());
    for file in files {
        let path = match rootfs {
            true => format!("{BELOW_ROOTFS}{}", file.path),
            false => file.path.clone(),
        };
        let (mode, content) = match &file.content {
            Content::Bytes(bytes) => (MODE, bytes.to_vec()),
            Content::Host(host) => from_host(host).map_err(|error| format!("{}: {error}", host.display()))?,
        };
        read.push((path, file.mode.unwrap_or(mode), content));
    }
    let entries: Vec<_> = read
        .iter()
        .map(|(path, mode, content)| InitramfsFile {
            path,
            mode: *mode,
            content,
        })
        .collect();
    let made = agent_archive::folders(&entries).and_then(|early| {
        Ok(Archives {
            early,
            late: agent_archive::files(&entries)?,
        })
    });
    made.map_err(|error| error.to_string())
}

fn from_host(path: &Path) -> std::io::Result<(u32, Vec<u8>)> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok((mode, std::fs::read(path)?))
}
