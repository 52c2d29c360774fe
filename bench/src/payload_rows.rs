//! The machine's own rows: restore, reset, pages and save, with a payload as the guest.
//!
//! It is the very code that Linux guests are saved and resumed by; what is left out is Linux.
//!
//! Input: a payload.
//! Output: samples.
//! Not here: the guest channel; a payload talks over its serial port.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{Machine, SaveOptions};

use crate::recorder::Recorder;
use crate::{MEMORY, RAMP, memory, payload};

/// Reset rows, and the digit that makes the payload write so many pages.
const RESETS: [(&str, u8); 4] = [
    ("payload/reset-10", b'1'),
    ("payload/reset-100", b'2'),
    ("payload/reset-1000", b'3'),
    ("payload/reset-10000", b'4'),
];
const RAMP_ROWS: [&str; RAMP.len()] = ["payload/memory-1", "payload/memory-10", "payload/memory-50"];

/// A snapshot of a payload that waits for its byte.
pub(crate) struct PayloadRows {
    folder: tempfile::TempDir,
    snapshot: Arc<Snapshot>,
}

impl PayloadRows {
    /// Boots and saves it.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn prepare() -> Result<PayloadRows> {
        let folder = tempfile::tempdir()?;
        let machine = payload::boot(MEMORY)?;
        machine.pause()?;
        let snapshot = machine.save(folder.path(), SaveOptions::default())?;
        machine.kill();
        Ok(PayloadRows { folder, snapshot })
    }

    /// Measures every row once.
    pub(crate) fn round(&self, recorder: &mut Recorder) {
        recorder.attempt(&["payload/cold-resume"], |recorder| self.cold(recorder));
        recorder.attempt(&["payload/warm-resume"], |recorder| self.warm(recorder));
        recorder.attempt(&RESETS.map(|(id, _)| id), |recorder| self.resets(recorder));
        recorder.attempt(
            &[
                "payload/save",
                "payload/save-size",
                "payload/save-layer",
                "payload/layer-size",
            ],
            |recorder| self.saves(recorder),
        );
        recorder.attempt(&RAMP_ROWS, |recorder| self.ramp(recorder));
    }

    fn cold(&self, recorder: &mut Recorder) -> Result<()> {
        let begin = Instant::now();
        let snapshot = Snapshot::open(self.folder.path())?;
        let machine = Machine::restore(&snapshot)?;
        payload::ask(&machine, b'p')?;
        recorder.time("payload/cold-resume", begin.elapsed());
        machine.kill();
        Ok(())
    }

    fn warm(&self, recorder: &mut Recorder) -> Result<()> {
        let machine = Machine::blank(MEMORY, 1)?;
        let begin = Instant::now();
        machine.load(&self.snapshot)?;
        payload::ask(&machine, b'p')?;
        recorder.time("payload/warm-resume", begin.elapsed());
        machine.kill();
        Ok(())
    }

    fn resets(&self, recorder: &mut Recorder) -> Result<()> {
        let machine = Machine::restore(&self.snapshot)?;
        for (id, digit) in RESETS
            .into_iter()
            .filter(|(id, _)| recorder.wants(id))
            .collect::<Vec<_>>()
        {
            payload::ask(&machine, digit)?;
            let begin = Instant::now();
            machine.pause()?;
            let pages = machine.load(&self.snapshot)?;
            payload::ask(&machine, b'p')?;
            recorder.time(id, begin.elapsed());
            recorder.pages(id, pages.unwrap_or_default() as f64);
            machine.pause()?;
            machine.load(&self.snapshot)?;
        }
        machine.kill();
        Ok(())
    }

    fn saves(&self, recorder: &mut Recorder) -> Result<()> {
        let machine = payload::boot(MEMORY)?;
        machine.pause()?;
        payload::ask(&machine, b'3')?;
        machine.pause()?;
        let whole = tempfile::tempdir()?;
        save(
            &machine,
            whole.path(),
            false,
            ["payload/save", "payload/save-size"],
            recorder,
        )?;
        machine.kill();
        let machine = Machine::restore(&self.snapshot)?;
        payload::ask(&machine, b'2')?;
        machine.pause()?;
        let layer = tempfile::tempdir()?;
        save(
            &machine,
            layer.path(),
            true,
            ["payload/save-layer", "payload/layer-size"],
            recorder,
        )?;
        machine.kill();
        Ok(())
    }

    fn ramp(&self, recorder: &mut Recorder) -> Result<()> {
        let before = memory::private_kib()?;
        let mut machines: Vec<Machine> = Vec::new();
        for (count, id) in RAMP.into_iter().zip(RAMP_ROWS) {
            while machines.len() < count {
                let machine = Machine::restore(&self.snapshot)?;
                payload::ask(&machine, b'2')?;
                machines.push(machine);
            }
            recorder.value(id, (memory::private_kib()? - before) / count as f64);
            recorder.pages(id, 100.0);
        }
        Ok(())
    }
}

fn save(
    machine: &Machine,
    folder: &Path,
    on_parent: bool,
    [time, size]: [&'static str; 2],
    recorder: &mut Recorder,
) -> Result<()> {
    let options = SaveOptions {
        on_parent,
        ..SaveOptions::default()
    };
    let begin = Instant::now();
    machine.save(folder, options)?;
    recorder.time(time, begin.elapsed());
    recorder.value(size, memory::on_disk_kib(folder)?);
    Ok(())
}
