//! The disks of a profile: `[[profiles.NAME.disks]]`.
//!
//! Input: the tables. Output: a [`RawDisk`] for each, under the rules that a VM's option `disks` has. Not
//! here: which of both a VM gets, and whether the images are there.

use std::path::PathBuf;

use provium_guest::DiskOption;

use super::ConfigError;
use super::table::{Located, Section};

/// Every key of a disk.
const KEYS: &[&str] = &["format", "id", "path", "readonly", "scratch"];

/// A disk whose image may begin with `{out}`.
#[derive(Debug, Clone)]
pub(super) struct RawDisk {
    /// The disk without its image.
    pub(super) option: DiskOption,
    /// Its image.
    pub(super) image: Option<Located<PathBuf>>,
    /// Where it is written.
    pub(super) line: usize,
}

/// Reads the disks of a profile, if it has the key.
pub(super) fn read(profile: &Section<'_, '_>) -> Result<Option<Vec<RawDisk>>, ConfigError> {
    let Some(sections) = profile.sections("disks")? else {
        return Ok(None);
    };
    let mut disks: Vec<RawDisk> = Vec::new();
    for section in sections {
        let disk = disk(&section, disks.len())?;
        if disks.iter().any(|other| other.option.id == disk.option.id) {
            let what = format!("two disks have the id `{}`", disk.option.id);
            return Err(section.mistake_at(disk.line, "id", &what));
        }
        disks.push(disk);
    }
    Ok(Some(disks))
}

/// Reads one disk, the `at`th.
fn disk(section: &Section<'_, '_>, at: usize) -> Result<RawDisk, ConfigError> {
    section.allow(KEYS)?;
    let line = section.doc.line(&section.span);
    let image = section.path("path")?;
    let size = section.size("scratch")?.map(|size| size.value);
    if image.is_none() && size.is_none() {
        return Err(section.mistake_at(line, "path", "give `path`, or `scratch` for scratch"));
    }
    let format = section.string("format")?;
    let raw = format.is_some();
    if let Some(format) = format.filter(|format| format.value != "raw") {
        let what = format!(
            "`{}` is not supported, only `raw`; convert it: qemu-img convert -O raw IMAGE IMAGE.raw",
            format.value
        );
        return Err(section.mistake_at(format.line, "format", &what));
    }
    let id = section.string("id")?.map(|id| id.value);
    Ok(RawDisk {
        option: DiskOption {
            id: id.unwrap_or_else(|| format!("disk{at}")),
            image: None,
            raw,
            readonly: section
                .boolean("readonly")?
                .is_some_and(|readonly| readonly.value),
            size,
            writable: false,
        },
        image,
        line,
    })
}
