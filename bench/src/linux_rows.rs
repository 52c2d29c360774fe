//! The rows with Linux and the agent as the guest: what a user of Provium waits for.
//!
//! One guest is alive at a time, but for the rows of private memory; its end is waited for outside of what is
//! measured.
//!
//! Input: the guest that `cargo xtask guest` makes.
//! Output: samples.
//! Not here: which rows there are; see `catalogue`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use provium_base::cancel::Cancel;
use provium_guest::agent_archive;
use provium_guest::{
    ExecSpec, Guest, GuestClient, ResumeOptions, boot, reset, resume, resume_in, save, with_agent,
};
use provium_protocol::Syscall;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{Discovery, Machine, MachineConfig};

use crate::counts::Begin;
use crate::recorder::Recorder;
use crate::{MEMORY, RAMP, memory};

/// Reset rows, and how many pages are to be dirty.
const RESETS: [(&str, u64); 4] = [
    ("reset-0", 0),
    ("reset-100", 100),
    ("reset-1000", 1_000),
    ("reset-10000", 10_000),
];
const RAMP_ROWS: [&str; RAMP.len()] = ["memory-1", "memory-10", "memory-50"];
const SAVES: [&str; 5] = ["boot", "save", "save-size", "save-layer", "layer-size"];
/// Round trips measured in each round: the first after a resume, whose guest has pages to copy, and those
/// after as many as it takes until it has none.
const TRIPS: u32 = 20;
const SETTLING: u32 = 240;
const COMMANDS: u32 = 5;
/// Layers of the row with some.
const LAYERS: usize = 5;
const TRANSFER: usize = 64 << 20;
const TRANSFER_FILE: &[u8] = b"/bench/file";
/// By itself a file system in memory takes half of it.
const MAKE_ROOM: &str = "mkdir /bench && mount -t tmpfs -o size=90% bench /bench";
const BOOT_LIMIT: Duration = Duration::from_secs(120);

const SYS_MMAP: i64 = 9;
const SYS_GETPID: i64 = 39;

/// A snapshot of a guest whose agent waits for a request.
pub(crate) struct LinuxRows {
    artifacts: PathBuf,
    folder: tempfile::TempDir,
    snapshot: Arc<Snapshot>,
    /// Number of pages that one request makes dirty, with those of the resume.
    least: u64,
}

impl LinuxRows {
    /// Boots and saves it. `artifacts` is the folder with its kernel and initrd.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn prepare(artifacts: &Path) -> Result<LinuxRows> {
        let mut guest = boot(config(artifacts), BOOT_LIMIT, &Cancel::new())?;
        guest.client.ping()?;
        let folder = tempfile::tempdir()?;
        let snapshot = save(&guest, folder.path(), false, ResumeOptions::default())?;
        guest.client.ping()?;
        touch(&mut guest.client, 1)?;
        let least = reset(&mut guest, &snapshot, ResumeOptions::default())?;
        guest.machine.kill();
        // As the build of a fixture does.
        provium_guest::note_touched(&snapshot)?;
        Ok(LinuxRows {
            artifacts: artifacts.to_owned(),
            folder,
            snapshot,
            least: least.unwrap_or_default(),
        })
    }

    /// Measures every row once.
    pub(crate) fn round(&self, recorder: &mut Recorder) {
        recorder.attempt(&["cold-resume"], |recorder| self.cold(recorder));
        recorder.attempt(&["warm-resume"], |recorder| self.warm(recorder));
        recorder.attempt(&["first-command", "command"], |recorder| self.commands(recorder));
        recorder.attempt(&RESETS.map(|(id, _)| id), |recorder| self.resets(recorder));
        recorder.attempt(&["first-ping", "ping", "getpid"], |recorder| self.trips(recorder));
        recorder.attempt(&["write", "write-again", "read"], |recorder| {
            self.transfers(recorder)
        });
        recorder.attempt(&SAVES, |recorder| self.boot_and_save(recorder));
        recorder.attempt(&RAMP_ROWS, |recorder| self.ramp(recorder));
        recorder.attempt(&["layer-resume"], |recorder| self.layers(recorder));
    }

    /// Puts a resumed guest back and makes a system call in it, so many times; returns how long that took,
    /// the resume included.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub(crate) fn reset_and_call(&self, times: u32) -> Result<Duration> {
        let begin = Instant::now();
        let mut guest = self.resumed()?;
        for _ in 0..times {
            reset(&mut guest, &self.snapshot, ResumeOptions::default())?;
            call(&mut guest.client, SYS_GETPID, [0; 6])?;
        }
        guest.machine.kill();
        Ok(begin.elapsed())
    }

    fn resumed(&self) -> Result<Guest> {
        Ok(resume(&self.snapshot, ResumeOptions::default())?)
    }

    fn cold(&self, recorder: &mut Recorder) -> Result<()> {
        let begin = recorder.begin(None)?;
        let snapshot = Snapshot::open(self.folder.path())?;
        let mut guest = resume(&snapshot, ResumeOptions::default())?;
        guest.client.ping()?;
        recorder.end("cold-resume", begin, &guest.machine)?;
        guest.machine.kill();
        Ok(())
    }

    fn warm(&self, recorder: &mut Recorder) -> Result<()> {
        let shell = Machine::blank(MEMORY, 1)?;
        let begin = recorder.begin(None)?;
        let mut guest = resume_in(shell, &self.snapshot, ResumeOptions::default())?;
        guest.client.ping()?;
        recorder.end("warm-resume", begin, &guest.machine)?;
        guest.machine.kill();
        Ok(())
    }

    fn commands(&self, recorder: &mut Recorder) -> Result<()> {
        let shell = Machine::blank(MEMORY, 1)?;
        let begin = recorder.begin(None)?;
        let mut guest = resume_in(shell, &self.snapshot, ResumeOptions::default())?;
        run(&mut guest.client, "true")?;
        recorder.end("first-command", begin, &guest.machine)?;
        for _ in 0..COMMANDS {
            run(&mut guest.client, "true")?;
        }
        for _ in 0..COMMANDS {
            let begin = recorder.begin(Some(&guest.machine))?;
            run(&mut guest.client, "true")?;
            recorder.end("command", begin, &guest.machine)?;
        }
        guest.machine.kill();
        Ok(())
    }

    fn resets(&self, recorder: &mut Recorder) -> Result<()> {
        let mut guest = self.resumed()?;
        for (id, pages) in RESETS
            .into_iter()
            .filter(|(id, _)| recorder.wants(id))
            .collect::<Vec<_>>()
        {
            match pages.saturating_sub(self.least) {
                0 => guest.client.ping()?,
                more => touch(&mut guest.client, more)?,
            }
            let begin = recorder.begin(Some(&guest.machine))?;
            let back = reset(&mut guest, &self.snapshot, ResumeOptions::default())?;
            guest.client.ping()?;
            recorder.end(id, begin, &guest.machine)?;
            recorder.pages(id, back.context("all pages were put back")? as f64);
            reset(&mut guest, &self.snapshot, ResumeOptions::default())?;
        }
        guest.machine.kill();
        Ok(())
    }

    fn trips(&self, recorder: &mut Recorder) -> Result<()> {
        let mut guest = self.resumed()?;
        guest.client.ping()?;
        let ping = |client: &mut GuestClient| Ok(client.ping()?);
        trips(recorder, "first-ping", &mut guest, ping)?;
        for _ in 0..SETTLING {
            guest.client.ping()?;
        }
        trips(recorder, "ping", &mut guest, ping)?;
        trips(recorder, "getpid", &mut guest, |client| {
            call(client, SYS_GETPID, [0; 6]).map(drop)
        })?;
        guest.machine.kill();
        Ok(())
    }

    fn transfers(&self, recorder: &mut Recorder) -> Result<()> {
        let mut guest = self.resumed()?;
        run(&mut guest.client, MAKE_ROOM)?;
        let content = vec![0x5a; TRANSFER];
        for id in ["write", "write-again"] {
            let begin = recorder.begin(Some(&guest.machine))?;
            guest
                .client
                .push_file(TRANSFER_FILE, None, &mut content.as_slice())?;
            per_mib(recorder, id, begin, &guest)?;
        }
        let begin = recorder.begin(Some(&guest.machine))?;
        let back = guest.client.ask(provium_guest::ops::read_file(TRANSFER_FILE))?;
        per_mib(recorder, "read", begin, &guest)?;
        guest.machine.kill();
        ensure!(back == content, "what was read is not what was written");
        Ok(())
    }

    fn layers(&self, recorder: &mut Recorder) -> Result<()> {
        let stack = tempfile::tempdir()?;
        let mut guest = self.resumed()?;
        for layer in 0..LAYERS {
            run(&mut guest.client, "true")?;
            let folder = stack.path().join(layer.to_string());
            std::fs::create_dir(&folder)?;
            save(&guest, &folder, true, ResumeOptions::default())?;
        }
        guest.machine.kill();
        let top = Snapshot::open(&stack.path().join((LAYERS - 1).to_string()))?;
        let shell = Machine::blank(MEMORY, 1)?;
        let begin = recorder.begin(None)?;
        let mut guest = resume_in(shell, &top, ResumeOptions::default())?;
        guest.client.ping()?;
        recorder.end("layer-resume", begin, &guest.machine)?;
        recorder.pages("layer-resume", top.own_pages() as f64);
        guest.machine.kill();
        Ok(())
    }

    fn boot_and_save(&self, recorder: &mut Recorder) -> Result<()> {
        let begin = recorder.begin(None)?;
        let mut guest = boot(config(&self.artifacts), BOOT_LIMIT, &Cancel::new())?;
        guest.client.ping()?;
        recorder.end("boot", begin, &guest.machine)?;
        for (on_parent, time, size) in [(false, "save", "save-size"), (true, "save-layer", "layer-size")] {
            let folder = tempfile::tempdir()?;
            guest.machine.pause()?;
            let begin = Instant::now();
            let snapshot = save(&guest, folder.path(), on_parent, ResumeOptions::default())?;
            recorder.time(time, begin.elapsed());
            recorder.value(size, memory::on_disk_kib(folder.path())?);
            recorder.pages(time, snapshot.own_pages() as f64);
            guest.machine.resume()?;
            guest.client.ping()?;
        }
        guest.machine.kill();
        Ok(())
    }

    fn ramp(&self, recorder: &mut Recorder) -> Result<()> {
        let before = memory::private_kib()?;
        let mut guests: Vec<Guest> = Vec::new();
        for (count, id) in RAMP.into_iter().zip(RAMP_ROWS) {
            while guests.len() < count {
                let mut guest = self.resumed()?;
                guest.client.ping()?;
                // What an idle guest writes later is its own affair; all are looked at in the same state.
                guest.machine.pause()?;
                guests.push(guest);
            }
            recorder.value(id, (memory::private_kib()? - before) / count as f64);
        }
        // Last, for it ends the state that was to be looked at.
        for guest in &mut guests {
            let pages = guest
                .machine
                .load(&self.snapshot)?
                .context("all pages were put back")?;
            RAMP_ROWS.iter().for_each(|id| recorder.pages(id, pages as f64));
            guest.machine.kill();
        }
        Ok(())
    }
}

/// Adds [`TRIPS`] round trips, each with its time, and what was counted in all of them.
fn trips(
    recorder: &mut Recorder,
    id: &'static str,
    guest: &mut Guest,
    trip: impl Fn(&mut GuestClient) -> Result<()>,
) -> Result<()> {
    let begin = recorder.begin(Some(&guest.machine))?;
    let mut took = Vec::with_capacity(TRIPS as usize);
    for _ in 0..TRIPS {
        let begin = Instant::now();
        trip(&mut guest.client)?;
        took.push(begin.elapsed());
    }
    recorder.end_counts(&[id], begin, &guest.machine, TRIPS)?;
    took.into_iter().for_each(|took| recorder.time(id, took));
    Ok(())
}

/// Adds the rate of a transfer of [`TRANSFER`] bytes, and what was counted by each MiB.
fn per_mib(recorder: &mut Recorder, id: &'static str, begin: Begin, guest: &Guest) -> Result<()> {
    let mib = (TRANSFER >> 20) as u32;
    let took = recorder.end_counts(&[id], begin, &guest.machine, mib)?;
    recorder.value(id, f64::from(1u32 << 20) / took.as_secs_f64());
    Ok(())
}

/// Runs a line of shell that has nothing to say.
fn run(client: &mut GuestClient, line: &str) -> Result<()> {
    let ran = client.ask(provium_guest::ops::exec(ExecSpec::shell(line)))?;
    ensure!(
        ran.stderr.is_empty(),
        "{line}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(())
}

/// Our kernel, our initrd, the agent, one vCPU.
pub(crate) fn config(artifacts: &Path) -> MachineConfig {
    MachineConfig {
        kernel: artifacts.join("vmlinux"),
        initrd: Some(artifacts.join("initrd.cpio")),
        early_initrd: Vec::new(),
        extra_initrds: vec![Arc::clone(agent_archive())],
        cmdline: with_agent("console=ttyS0 quiet"),
        memory: MEMORY,
        cpus: 1,
        rng_seed: None,
        discovery: Discovery::Auto,
        shares: Vec::new(),
        disks: Vec::new(),
    }
}

/// Makes the guest write to so many pages that it had not, and little else: a mapping that is filled at once.
fn touch(client: &mut GuestClient, pages: u64) -> Result<()> {
    const READ_WRITE: u64 = 3;
    const PRIVATE_ANONYMOUS_POPULATE: u64 = 0x2 | 0x20 | 0x8000;
    let args = [
        0,
        pages * 4096,
        READ_WRITE,
        PRIVATE_ANONYMOUS_POPULATE,
        u64::MAX,
        0,
    ];
    call(client, SYS_MMAP, args).map(drop)
}

fn call(client: &mut GuestClient, nr: i64, args: [u64; 6]) -> Result<i64> {
    let (value, _) = client.ask(provium_guest::ops::syscall(Syscall {
        nr,
        args,
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    }))?;
    ensure!(
        !(-4095..0).contains(&value),
        "system call {nr} in the guest: errno {}",
        -value
    );
    Ok(value)
}
