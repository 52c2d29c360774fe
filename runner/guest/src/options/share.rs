//! Folders of the host that a guest sees.
//!
//! Input: [`ShareOption`]s. Output: what the monitor serves, and the list by which the agent mounts it. Not
//! here: serving and mounting.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use provium_base::initramfs::{self, InitramfsFile};
use provium_base::outer;
use provium_vmm::share::SharedFolder;
use serde::{Deserialize, Serialize};

use super::error::OptionsError;

/// Where the agent reads what is to be mounted where.
const LIST: &str = "/.provium/shares";
/// Places that are the guest's own.
const TAKEN: [&str; 4] = ["/", "/dev", "/proc", "/sys"];

/// A folder of the host in a guest. The order of the fields is that of their names, in which fixtures hold
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareOption {
    /// Its place in the guest, absolute.
    pub guest: String,
    /// The folder, absolute.
    pub host: PathBuf,
    /// What the guest may do with it.
    pub mode: ShareMode,
}

/// What a guest may do with a folder of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareMode {
    /// Read.
    #[default]
    Ro,
    /// Read and write: what it writes is the host's at once, and stays.
    Rw,
    /// Read and write, where what it writes stays in its memory.
    Overlay,
}

impl ShareMode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            ShareMode::Ro => "ro",
            ShareMode::Rw => "rw",
            ShareMode::Overlay => "overlay",
        }
    }
}

impl FromStr for ShareMode {
    type Err = String;

    fn from_str(word: &str) -> Result<ShareMode, String> {
        let modes = [ShareMode::Ro, ShareMode::Rw, ShareMode::Overlay];
        let found = modes.into_iter().find(|mode| mode.word() == word);
        found.ok_or_else(|| format!("`{word}` is none of `ro`, `rw` and `overlay`"))
    }
}

impl ShareOption {
    /// Refuses a folder that is none, and a place that cannot be one.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        check_place(&self.guest)?;
        match std::fs::metadata(&self.host) {
            Ok(found) if found.is_dir() => self.check_kept(),
            Ok(_) => Err(format!("{} is not a folder", self.host.display())),
            Err(error) => Err(format!("{}: {error}", self.host.display())),
        }
    }
    /// Refuses a folder whose changes would be lost with an emulated host.
    fn check_kept(&self) -> Result<(), String> {
        if self.mode != ShareMode::Rw || !outer::loses_what_is_written_to(&self.host) {
            return Ok(());
        }
        Err(format!(
            "{}: what a guest writes there would be lost, since the emulated host keeps it in its memory; \
             `shares` of a profile in provium.toml, `provium run --share` and folders of the project are written outside",
            self.host.display()
        ))
    }
}

/// Refuses a place in a guest where no folder can be mounted.
fn check_place(place: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("`{place}` is no place for a folder in a guest: {why}"));
    let path = Path::new(place);
    if !path.is_absolute() || place.contains('\0') {
        return bad("it has to be an absolute path");
    }
    if path.components().any(|part| part.as_os_str() == "..") {
        return bad("`..` is not possible");
    }
    if TAKEN.iter().any(|taken| path == Path::new(taken)) {
        return bad("the guest has its own there (for `/`, see `rootfs = \"host\"`)");
    }
    Ok(())
}

/// What the monitor serves, in the order of the list: the host's root if it is the guest's, then the others.
pub(super) fn served(host_root: bool, shares: &[ShareOption]) -> Vec<SharedFolder> {
    let root = host_root.then(|| SharedFolder {
        path: "/".into(),
        writable: false,
        public: true,
    });
    let others = shares.iter().map(|share| SharedFolder {
        path: share.host.clone(),
        writable: share.mode == ShareMode::Rw,
        public: false,
    });
    root.into_iter().chain(others).collect()
}

/// The archive with the agent's list.
///
/// # Errors
/// None in practice: the name is good and the list is small.
pub(super) fn list(host_root: bool, shares: &[ShareOption]) -> Result<Vec<u8>, OptionsError> {
    let mut list = Vec::new();
    let root = host_root.then_some(("root", "/"));
    let others = shares
        .iter()
        .map(|share| (share.mode.word(), share.guest.as_str()));
    for word in root
        .into_iter()
        .chain(others)
        .flat_map(|(mode, place)| [mode, place])
    {
        list.extend_from_slice(word.as_bytes());
        list.push(0);
    }
    let file = InitramfsFile {
        path: LIST,
        mode: 0o600,
        content: &list,
    };
    Ok(initramfs::archive(&[file])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_the_guests_own_are_refused() {
        for place in ["mnt", "/a/../etc", "/", "/proc", "/dev/", ""] {
            assert!(check_place(place).is_err(), "{place}");
        }
        check_place("/mnt/src").unwrap();
        check_place("/proc/../x").unwrap_err();
    }

    #[test]
    fn the_list_and_what_is_served_have_one_order() {
        let share = ShareOption {
            guest: "/mnt".to_owned(),
            host: "/src".into(),
            mode: ShareMode::Rw,
        };
        let served = served(true, std::slice::from_ref(&share));
        let shown: Vec<_> = served
            .iter()
            .map(|folder| (folder.writable, folder.public))
            .collect();
        assert_eq!(shown, [(false, true), (true, false)]);
        let archive = list(true, &[share]).unwrap();
        let expected = b"root\0/\0rw\0/mnt\0";
        assert!(archive.windows(expected.len()).any(|part| part == expected));
    }

    #[test]
    fn modes_are_words() {
        for mode in [ShareMode::Ro, ShareMode::Rw, ShareMode::Overlay] {
            assert_eq!(mode.word().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.word());
        }
        assert!("rx".parse::<ShareMode>().is_err());
    }
}
