//! Boot options out of the Lua tables they are written in.
//!
//! Input: the table of a call. Output: [`BootOptions`], [`DiskOption`] and [`InjectedFile`]. Files of the
//! host become inputs of the fixture that is being built. Not here: what a boot makes of them.

use std::path::Path;

use mlua::{Table, Value};
use provium_cache::Input;
use provium_guest::{BootOptions, DiskOption, FileContent, InjectedFile, ShareMode, ShareOption};

use crate::config::{check_cpus, check_memory};
use crate::lua::api::call::Call;
use crate::lua::api::options::{Options, array};
use crate::lua::api::raise::Raise;
use crate::lua::api::value::{time, type_name};

/// Reads a table of boot options, and notes the files of the host that it names as inputs of the fixture
/// being built.
pub(crate) fn boot_options(call: &Call<'_>, options: Options<'_>) -> Result<BootOptions, Raise> {
    let memory = match options.size("memory")? {
        None => None,
        Some(bytes) => Some(check_memory(bytes).map_err(|message| options.fail("memory", message))?),
    };
    let cpus = match options.integer("cpus")? {
        None => None,
        Some(count) => Some(check_cpus(count).map_err(|message| options.fail("cpus", message))?),
    };
    let read = BootOptions {
        memory,
        cpus,
        cmdline: options.text("kernel_cmdline")?,
        cmdline_append: options.text("kernel_cmdline_append")?,
        boot_timeout: options.duration("boot_timeout")?,
        rng_seed: options.integer("rng_seed")?.map(i64::cast_unsigned),
        disks: disks(call, &options)?,
        initial_time: match options.value("initial_time")? {
            Value::Nil => None,
            value => Some(time(&value).map_err(|message| options.fail("initial_time", message))?),
        },
        files: files(call, &options)?,
        shares: shares(call, &options)?,
    };
    options.finish()?;
    Ok(read)
}

/// Reads a table of options of one disk, whose keys for image and size are these; `id` is the name where none
/// is given.
pub(crate) fn disk(
    call: &Call<'_>,
    options: Options<'_>,
    image: &'static str,
    size: &'static str,
    id: String,
) -> Result<DiskOption, Raise> {
    let path = options.text(image)?;
    let bytes = options.size(size)?;
    if path.is_none() && bytes.is_none() {
        return Err(options.fail(image, format_args!("give `{image}`, or `{size}` for scratch")));
    }
    let format = options.text("format")?;
    let raw = format.is_some();
    if let Some(format) = format.filter(|format| format != "raw") {
        let message = format!(
            "`{format}` is not supported, only `raw`; convert it: qemu-img convert -O raw IMAGE IMAGE.raw"
        );
        return Err(options.fail("format", message));
    }
    let path = match path {
        None => None,
        Some(path) => {
            let found = call.find_host_file(&path);
            let found = found.map_err(|message| options.fail(image, message))?;
            // A fixture that holds it goes along when the project is moved.
            let relative = found.strip_prefix(call.file().project()).map(Path::to_owned);
            Some(relative.unwrap_or(found))
        }
    };
    let read = DiskOption {
        id: options.text("id")?.unwrap_or(id),
        image: path,
        raw,
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
fn disks(call: &Call<'_>, options: &Options<'_>) -> Result<Option<Vec<DiskOption>>, Raise> {
    let Some(table) = options.table("disks")? else {
        return Ok(None);
    };
    let items = array(&table).ok_or_else(|| options.fail("disks", "expected an array of tables"))?;
    let read = items.iter().enumerate().map(|(at, item)| match item {
        Value::Table(item) => disk(
            call,
            options.item(item.clone()),
            "path",
            "scratch",
            format!("disk{at}"),
        ),
        other => {
            let message = format!("item {}: expected a table, got {}", at + 1, type_name(other));
            Err(options.fail("disks", message))
        }
    });
    let read = read.collect::<Result<Vec<DiskOption>, Raise>>()?;
    for (at, option) in read.iter().enumerate() {
        if read[..at].iter().any(|other| other.id == option.id) {
            return Err(options.fail("disks", format_args!("two disks have the id `{}`", option.id)));
        }
    }
    Ok(Some(read))
}

/// Reads the boot option `shares`: `{{host=, guest=, mode=}, …}`.
fn shares(call: &Call<'_>, options: &Options<'_>) -> Result<Option<Vec<ShareOption>>, Raise> {
    const KEY: &str = "shares";
    let Some(table) = options.table(KEY)? else {
        return Ok(None);
    };
    let items = array(&table).ok_or_else(|| options.fail(KEY, "expected an array of tables"))?;
    let read = items.iter().enumerate().map(|(at, item)| {
        let Value::Table(item) = item else {
            let message = format!("item {}: expected a table, got {}", at + 1, type_name(item));
            return Err(options.fail(KEY, message));
        };
        let item = options.item(item.clone());
        let host = item
            .text("host")?
            .ok_or_else(|| item.fail("host", "is missing"))?;
        let found = call
            .find_host_file(&host)
            .map_err(|message| item.fail("host", message))?;
        let mode = match item.text("mode")? {
            None => ShareMode::default(),
            Some(word) => word
                .parse()
                .map_err(|message: String| item.fail("mode", message))?,
        };
        let share = ShareOption {
            guest: item
                .text("guest")?
                .ok_or_else(|| item.fail("guest", "is missing"))?,
            host: found,
            mode,
        };
        item.finish()?;
        share.check().map_err(|message| options.fail(KEY, message))?;
        Ok(share)
    });
    read.collect::<Result<Vec<_>, Raise>>().map(Some)
}

/// Reads the boot option `files`: `{{path=, content=}, {path=, host=}, …}` or `{["/in/the/guest"] =
/// "on/the/host"}`. It makes files of the host inputs of the fixture that is being built.
fn files(call: &Call<'_>, options: &Options<'_>) -> Result<Option<Vec<InjectedFile>>, Raise> {
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
        if let FileContent::Host(path) = &file.content {
            let input = Input::HostFile { path: path.clone() };
            call.file()
                .takes_in(input)
                .map_err(|message| options.fail(KEY, message))?;
        }
    }
    Ok(Some(files))
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
        (Some(bytes), None) => FileContent::Bytes(bytes.into()),
        (None, Some(host)) => {
            let found = call.find_host_file(&host);
            FileContent::Host(found.map_err(|message| entry.fail("host", message))?)
        }
        (Some(_), Some(_)) => return Err(entry.fail("content", "give `content` or `host`, not both")),
        (None, None) => {
            let missing = entry.fail("content", "is missing; give `content` or `host`");
            return Err(entry.unknown().unwrap_or(missing));
        }
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
            content: FileContent::Host(call.find_host_file(&host)?),
            path,
            mode: None,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
