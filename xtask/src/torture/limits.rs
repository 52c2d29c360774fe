//! Runs that get less than they need: of a disk, of the folder for temporary files, of memory.
//!
//! Input: the project. Output: counts. Whatever was missing, a run reports all of its files and names what
//! was missing; the next, which has enough, passes. Not here: disks that fail ([`super::bad_disk`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::field::Field;
use super::tally::Tally;
use crate::command::run;

/// Runs with a file system of a few MiB at `folder`, full at another moment each time.
pub(super) fn full_folder(field: &Field, tally: &mut Tally, folder: &Path) -> Result<()> {
    while tally.next()?.is_some() {
        let mounted = Mounted::new(folder, "size=256k")?;
        // Small sizes more often: there is more that happens early.
        let size = (2.0_f64).powf(fastrand::f64() * 10.0) * 256.0;
        mounted.resize(&format!("size={}k", size as u64))?;
        let ended = field.start(&[])?.end()?;
        let what = format!("the run with {} KiB at {}", size as u64, folder.display());
        ended.must_report(tally, &what);
        if !ended.passed() && ended.status.is_some() && !ended.said.contains("No space left on device") {
            tally.lost(format!("{what} does not say what was missing: {}", ended.said));
        }
        mounted.resize("size=1g")?;
        field.whole_run(tally, &what)?;
    }
    Ok(())
}

/// Runs in a control group that may have little memory.
pub(super) fn little_memory(field: &Field, tally: &mut Tally) -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/provium-torture";
    const ENTER: &str = "echo $$ > /sys/fs/cgroup/provium-torture/cgroup.procs && exec \"$@\"";
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
        .context("control groups (version 2) are needed, and root")?;
    fs::create_dir_all(GROUP)?;
    field.whole_run(tally, "the start, which builds the fixture")?;
    while tally.next()?.is_some() {
        let limit = fastrand::u64(10..40);
        fs::write(format!("{GROUP}/memory.max"), format!("{limit}M"))?;
        let ended = field.start(&["sh", "-c", ENTER, "sh"])?.end()?;
        let what = format!("the run with {limit} MiB of memory");
        ended.must_report(tally, &what);
        field.whole_run(tally, &what)?;
    }
    fs::remove_dir(GROUP).context("processes are left in the control group")
}

/// A file system in memory, unmounted with this.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn new(folder: &Path, size: &str) -> Result<Mounted> {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "torture"])
            .arg(folder))?;
        Ok(Mounted(folder.to_owned()))
    }

    pub(super) fn resize(&self, size: &str) -> Result<()> {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{size}")])
            .arg(&self.0))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.0)) {
            eprintln!("error: {error:#}");
        }
    }
}
