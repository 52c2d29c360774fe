//! The folders of this machine in a profile: `shares = [{host=, guest=, mode=}]`, and `rootfs = "host"`.
//!
//! Input: the tables. Output: a [`ShareOption`] for each, by way of a [`RawShare`]. Not here: serving them.

use std::path::PathBuf;

use provium_guest::{ShareMode, ShareOption};

use super::ConfigError;
use super::out::Out;
use super::table::{Located, Section};

/// What `rootfs` says for this machine's own root; `./host` is a folder of that name.
pub const HOST_ROOT: &str = "host";
/// Every key of a shared folder.
const KEYS: &[&str] = &["guest", "host", "mode"];

/// A shared folder whose path may begin with `{out}`.
#[derive(Debug, Clone)]
pub(super) struct RawShare {
    /// Its place in the guest.
    pub(super) guest: String,
    /// The folder, and where it is written.
    pub(super) host: Located<PathBuf>,
    /// What the guest may do with it.
    pub(super) mode: ShareMode,
}

/// Reads the shared folders of a profile, if it has the key.
pub(super) fn read(profile: &Section<'_, '_>) -> Result<Option<Vec<RawShare>>, ConfigError> {
    let Some(sections) = profile.sections("shares")? else {
        return Ok(None);
    };
    sections.iter().map(share).collect::<Result<_, _>>().map(Some)
}

/// Whether `rootfs` is this machine's own root, if the profile has the key.
pub(super) fn is_host_root(profile: &Section<'_, '_>) -> Result<Option<bool>, ConfigError> {
    let rootfs = profile.string("rootfs")?;
    Ok(rootfs.map(|rootfs| rootfs.value == HOST_ROOT))
}

fn share(section: &Section<'_, '_>) -> Result<RawShare, ConfigError> {
    section.allow(KEYS)?;
    let line = section.doc.line(&section.span);
    let missing = |key: &str| section.mistake_at(line, key, "is missing");
    let host = section.path("host")?.ok_or_else(|| missing("host"))?;
    let guest = section.string("guest")?.ok_or_else(|| missing("guest"))?;
    let mode = match section.string("mode")? {
        None => ShareMode::default(),
        Some(word) => {
            let mode = word.value.parse();
            mode.map_err(|what: String| section.mistake_at(word.line, "mode", &what))?
        }
    };
    Ok(RawShare {
        guest: guest.value,
        host,
        mode,
    })
}

/// The shared folders with `{out}` put in, and the line of each.
pub(super) fn expand(
    shares: Vec<RawShare>,
    out: &Out<'_>,
) -> Result<(Vec<ShareOption>, Vec<usize>), ConfigError> {
    let expanded = shares.into_iter().map(|share| {
        let line = share.host.line;
        let option = ShareOption {
            guest: share.guest,
            host: out.expand("shares", share.host)?.value,
            mode: share.mode,
        };
        Ok((option, line))
    });
    let expanded: Vec<_> = expanded.collect::<Result<_, ConfigError>>()?;
    Ok(expanded.into_iter().unzip())
}

/// Checks that the folders are there and can be where they are to be.
pub(super) fn check(
    shares: &[ShareOption],
    lines: &[usize],
    profile: &str,
    shown: &str,
) -> Result<(), ConfigError> {
    for (share, line) in shares.iter().zip(lines) {
        if let Err(what) = share.check() {
            let message = format!("`shares` in [profiles.{profile}]: {what}");
            return Err(ConfigError::at(shown, Some(*line), message));
        }
    }
    Ok(())
}
