//! What a build leaves in a fixture's folder: `fixture.json`, and a snapshot for each VM.
//!
//! Input: a folder, of a build, an entry or a saved lab. Output: which VMs are in it, and their snapshots,
//! open or verified. Not here: where the folder is and whether it is still what was built, which the cache
//! knows.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use provium_cache::Entry;
use provium_guest::BootOptions;
use provium_vmm::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

/// The file of an entry that says which VMs are in it.
pub(crate) const META: &str = "fixture.json";
/// The folder of an entry with a folder for each VM.
const VMS: &str = "vm";

/// Which VMs are in a fixture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixtureMeta {
    /// Whether it is a whole lab, and not one VM.
    pub lab: bool,
    /// Its VMs, in the order of their declaration.
    pub vms: Vec<FixtureVm>,
}

/// One VM of a fixture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixtureVm {
    /// Names of the labs it is in inside the fixture's, from the outermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labs: Vec<String>,
    /// Its name in the fixture.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it was booted with.
    pub options: BootOptions,
    /// Its folder below the entry's.
    pub folder: String,
}

/// A fixture that is in the cache, and in use as long as this lives.
#[derive(Debug)]
pub struct Fixture {
    /// The cache's entry.
    pub entry: Entry,
    /// Each VM and its snapshot.
    pub vms: Vec<(FixtureVm, Arc<Snapshot>)>,
    /// Whether it is a whole lab.
    pub lab: bool,
}

impl FixtureMeta {
    /// The folder for the snapshot of VM `index` in a build's folder, made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn vm_folder(build: &Path, index: usize) -> Result<(String, PathBuf), String> {
        let name = format!("{VMS}/{index}");
        let folder = build.join(&name);
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok((name, folder)),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        }
    }

    /// Writes it into a build's folder.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, build: &Path) -> Result<(), String> {
        let path = build.join(META);
        let text = serde_json::to_vec_pretty(self).expect("plain data is written to memory");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Reads which VMs are in a folder: of an entry, or of a saved lab.
///
/// # Errors
/// When `fixture.json` is not there or makes no sense.
pub fn read_meta(folder: &Path) -> Result<FixtureMeta, String> {
    let path = folder.join(META);
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let meta: FixtureMeta =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let below = |vm: &FixtureVm| {
        Path::new(&vm.folder)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    };
    match meta.vms.iter().find(|vm| !below(vm)) {
        Some(vm) => Err(format!(
            "{}: `{}` is no folder below it",
            path.display(),
            vm.folder
        )),
        None => Ok(meta),
    }
}

/// Opens the snapshots of an entry.
///
/// # Errors
/// When the entry has none that can be used.
pub(super) fn open_entry(entry: Entry) -> Result<Fixture, String> {
    let meta = read_meta(entry.dir())?;
    let vms = meta.vms.into_iter().map(|vm| {
        let snapshot = Snapshot::open(&entry.dir().join(&vm.folder)).map_err(|error| error.to_string())?;
        Ok((vm, snapshot))
    });
    Ok(Fixture {
        vms: vms.collect::<Result<_, String>>()?,
        lab: meta.lab,
        entry,
    })
}

/// Reads everything in an entry's snapshots and compares it with the checksums.
///
/// # Errors
/// What is wrong.
pub(super) fn verify_entry(entry: &Path) -> Result<(), String> {
    for vm in read_meta(entry)?.vms {
        let snapshot = Snapshot::open(&entry.join(&vm.folder)).map_err(|error| error.to_string())?;
        snapshot.verify().map_err(|error| error.to_string())?;
    }
    Ok(())
}
