//! Runs whose cache lies on a disk that fails: writes that are accepted and then lost, blocks that cannot be
//! read any more; and on one that is slow.
//!
//! Input: the project. Output: counts. The disk is a loop device over a sparse file: what the file's own file
//! system has no room for is an error of the disk's (EIO), and so is what was cut off the file's end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::field::Field;
use super::limits::Mounted;
use super::tally::Tally;
use crate::command::{output, run};

/// MiB of the disk.
const SIZE: u64 = 256;

pub(super) fn torture(field: &Field, tally: &mut Tally) -> Result<()> {
    while let Some(round) = tally.next()? {
        let beyond = fastrand::u64(8..100);
        let disk = Disk::new(field)?;
        let (what, ended) = match round % 3 {
            0 => {
                disk.below.resize(&format!("size={beyond}m"))?;
                let what = format!("the run on a disk that loses what is beyond {beyond} MiB");
                (what, field.start(&[])?.end()?)
            }
            1 => {
                field.whole_run(tally, "the one that builds the fixture")?;
                disk.cut(beyond)?;
                let what = format!("the run on a disk that cannot be read beyond {beyond} MiB");
                (what, field.start(&[])?.end()?)
            }
            _ => {
                let group = disk.slow()?;
                let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
                let ended = field.start(&["sh", "-c", &enter, "sh"])?.end()?;
                ("the run on a disk of 2 MiB/s".to_owned(), ended)
            }
        };
        ended.must_report(tally, &what);
        if round % 3 == 2 && !ended.passed() {
            tally.lost(format!("{what} did not pass: {}", ended.said));
        }
    }
    field.whole_run(tally, "those on bad disks")?;
    Ok(())
}

/// A disk at the cache's folder.
struct Disk<'a> {
    field: &'a Field,
    file: PathBuf,
    device: String,
    /// What the disk's file is on.
    below: Mounted,
}

impl Disk<'_> {
    fn new(field: &Field) -> Result<Disk<'_>> {
        let folder = field.at("disk");
        fs::create_dir_all(&folder)?;
        let below = Mounted::new(&folder, "size=1g")?;
        let file = folder.join("image");
        File::create(&file)?.set_len(SIZE << 20)?;
        let device = output(Command::new("losetup").args(["--find", "--show"]).arg(&file))
            .context("a loop device is needed, and root")?;
        let device = device.trim().to_owned();
        let disk = Disk {
            field,
            file,
            device,
            below,
        };
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", &disk.device]))?;
        // What goes wrong is for Provium to see, and not for the file system to end.
        run(Command::new("mount")
            .args(["-o", "errors=continue", &disk.device])
            .arg(field.cache()))?;
        Ok(disk)
    }

    /// Cuts the disk's file short, and has nothing of it in memory.
    fn cut(&self, mib: u64) -> Result<()> {
        rustix::fs::sync();
        File::options().write(true).open(&self.file)?.set_len(mib << 20)?;
        fs::write("/proc/sys/vm/drop_caches", "3").context("drop what is in memory of the disk")
    }

    /// A control group for whose processes this disk is slow.
    fn slow(&self) -> Result<PathBuf> {
        const RATE: u64 = 2 << 20;
        let device = rustix::fs::stat(self.device.as_str())?.st_rdev;
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let (base, limits) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+io")?;
            let limit = format!("{device} rbps={RATE} wbps={RATE}");
            ("/sys/fs/cgroup", vec![("io.max", limit)])
        } else {
            let files = [
                "blkio.throttle.read_bps_device",
                "blkio.throttle.write_bps_device",
            ];
            let limits = files.map(|file| (file, format!("{device} {RATE}")));
            ("/sys/fs/cgroup/blkio", limits.to_vec())
        };
        let group = Path::new(base).join("provium-torture");
        fs::create_dir_all(&group).context("control groups for disks are needed")?;
        for (file, limit) in limits {
            fs::write(group.join(file), limit)?;
        }
        Ok(group)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // A disk that fails may keep its file system from being written back.
        let steps = [
            run(Command::new("umount").arg("--lazy").arg(self.field.cache())),
            run(Command::new("losetup").arg("--detach").arg(&self.device)),
        ];
        for error in steps.into_iter().filter_map(Result::err) {
            eprintln!("error: {error:#}");
        }
    }
}
