//! Samples as they come in, and the rows they make.
//!
//! Input: samples by row, or why there are none.
//! Output: rows with all that is printed of them: median, spread, multiple of the floor, met or missed.
//! Not here: the table; `cargo xtask bench` puts parts together and prints them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use provium_bench_results::{Counts, Row, Spread, Unit};
use provium_vmm::Machine;

use crate::catalogue::{FLOOR, RowSpec, Target};
use crate::counts::{Begin, Calls};

/// The samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    only: Vec<String>,
    samples: BTreeMap<&'static str, Samples>,
    calls: Option<Calls>,
}

#[derive(Debug, Default)]
struct Samples {
    values: Vec<f64>,
    pages: Vec<f64>,
    counts: Vec<Counts>,
    failed: Option<String>,
}

impl Recorder {
    /// Records rows whose id contains one of `only`, or all if there is none.
    pub(crate) fn new(only: Vec<String>) -> Recorder {
        Recorder {
            only,
            ..Recorder::default()
        }
    }

    /// Counts system calls, too, from now on.
    pub(crate) fn count_calls(mut self) -> Recorder {
        self.calls = Calls::count();
        self
    }

    /// Whether system calls are counted.
    pub(crate) fn counts_calls(&self) -> bool {
        self.calls.is_some()
    }

    /// Begins what is measured; `machine` is one that runs already.
    pub(crate) fn begin(&mut self, machine: Option<&Machine>) -> Result<Begin> {
        Begin::now(&mut self.calls, machine)
    }

    /// Adds the time since `begin` as a sample of a row, and what was counted meanwhile.
    pub(crate) fn end(&mut self, id: &'static str, begin: Begin, machine: &Machine) -> Result<()> {
        let (took, counts) = begin.end(&mut self.calls, machine, 1)?;
        self.time(id, took);
        self.counts(id, counts);
        Ok(())
    }

    /// Adds what was counted since `begin`, by each of `times`, without a time.
    pub(crate) fn end_counts(
        &mut self,
        ids: &[&'static str],
        begin: Begin,
        machine: &Machine,
        times: u32,
    ) -> Result<Duration> {
        let (took, counts) = begin.end(&mut self.calls, machine, times)?;
        ids.iter().for_each(|id| self.counts(id, counts));
        Ok(took)
    }

    fn counts(&mut self, id: &'static str, counts: Counts) {
        if self.wants(id) {
            self.samples.entry(id).or_default().counts.push(counts);
        }
    }

    /// Whether the row is to be measured. The floor always is: it is what the others are multiples of.
    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || id == FLOOR || self.only.iter().any(|only| id.contains(only.as_str()))
    }

    /// Measures some rows at once if any of them is wanted; an error is theirs.
    pub(crate) fn attempt(
        &mut self,
        ids: &[&'static str],
        measure: impl FnOnce(&mut Recorder) -> Result<()>,
    ) {
        if ids.iter().any(|id| self.wants(id))
            && let Err(error) = measure(self)
        {
            ids.iter().for_each(|id| self.fail(id, &error));
        }
    }

    /// Adds a sample of a row in microseconds.
    pub(crate) fn time(&mut self, id: &'static str, took: Duration) {
        self.value(id, took.as_secs_f64() * 1e6);
    }

    /// Adds a sample in the row's own unit.
    pub(crate) fn value(&mut self, id: &'static str, value: f64) {
        if self.wants(id) {
            self.samples.entry(id).or_default().values.push(value);
        }
    }

    /// Adds the number of pages of the guest that had been written in a round.
    pub(crate) fn pages(&mut self, id: &'static str, pages: f64) {
        if self.wants(id) {
            self.samples.entry(id).or_default().pages.push(pages);
        }
    }

    /// Notes why a row has no (more) samples; the first reason stays.
    pub(crate) fn fail(&mut self, id: &'static str, why: &anyhow::Error) {
        if self.wants(id) {
            let samples = self.samples.entry(id).or_default();
            samples.failed.get_or_insert_with(|| format!("{why:#}"));
        }
    }

    /// The measured rows in the catalogue's order.
    pub(crate) fn rows(&self, catalogue: &[RowSpec]) -> Vec<Row> {
        let floor = self.median(FLOOR);
        let rows = catalogue
            .iter()
            .filter_map(|spec| Some((spec, self.samples.get(spec.id)?)));
        rows.map(|(spec, samples)| self.row(spec, samples, floor))
            .collect()
    }

    /// Median of a row's samples.
    fn median(&self, id: &str) -> Option<f64> {
        Spread::of(&self.samples.get(id)?.values).map(|spread| spread.median)
    }

    /// The row of some samples, judged by its target; `floor` is the median of the floor.
    fn row(&self, spec: &RowSpec, samples: &Samples, floor: Option<f64>) -> Row {
        let spread = Spread::of(&samples.values);
        let pages = Spread::of(&samples.pages).map(|spread| spread.median);
        let counts = Counts::median(&samples.counts);
        let times_floor = match (spec.unit, spread, floor) {
            (Unit::Microseconds, Some(spread), Some(floor)) => Some(spread.median / floor),
            _ => None,
        };
        let met = match spec.target {
            None => None,
            Some(Target::TimesFloor(most)) => times_floor.map(|times| times <= most),
            Some(Target::Mmio(most)) => counts.map(|counts| counts.mmio <= most),
            Some(Target::Faults(most)) => counts.map(|counts| counts.faults <= most),
            Some(Target::TimesRow(other, most)) => spread
                .zip(self.median(other))
                .map(|(spread, other)| spread.median <= other * most),
            Some(Target::DirtyPagesAndMiB) => spread
                .zip(pages)
                .map(|(spread, pages)| spread.median <= pages * 4.0 + 1024.0),
        };
        Row {
            id: spec.id.to_owned(),
            name: spec.name.to_owned(),
            unit: spec.unit,
            spread,
            times_floor,
            pages,
            counts,
            target: spec.target.as_ref().map(ToString::to_string),
            met,
            failed: samples.failed.clone(),
            samples: samples.values.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const CATALOGUE: [RowSpec; 3] = [
        RowSpec::new(FLOOR, "the floor", Unit::Microseconds, None),
        RowSpec::new(
            "ping",
            "a ping",
            Unit::Microseconds,
            Some(Target::TimesFloor(0.05)),
        ),
        RowSpec::new("memory", "memory", Unit::KiB, Some(Target::DirtyPagesAndMiB)),
    ];

    fn row_of(recorder: &Recorder, id: &str) -> Row {
        recorder
            .rows(&CATALOGUE)
            .into_iter()
            .find(|row| row.id == id)
            .unwrap()
    }

    #[test]
    fn times_are_multiples_of_the_floors_median() {
        let mut recorder = Recorder::new(Vec::new());
        for micros in [900, 1000, 50_000] {
            recorder.time(FLOOR, Duration::from_micros(micros));
        }
        recorder.time("ping", Duration::from_micros(40));
        let ping = row_of(&recorder, "ping");
        assert_eq!((ping.times_floor, ping.met), (Some(0.04), Some(true)));
        recorder.time("ping", Duration::from_micros(100));
        assert_eq!(row_of(&recorder, "ping").met, Some(false));
    }

    #[test]
    fn a_row_may_be_judged_by_another() {
        let part = RowSpec::new(
            "part",
            "a part",
            Unit::Microseconds,
            Some(Target::TimesRow("ping", 0.25)),
        );
        let mut recorder = Recorder::new(Vec::new());
        recorder.time("part", Duration::from_micros(10));
        let met = |recorder: &Recorder| recorder.rows(std::slice::from_ref(&part))[0].met;
        assert_eq!(met(&recorder), None, "the other was not measured");
        recorder.time("ping", Duration::from_micros(40));
        assert_eq!(met(&recorder), Some(true));
        recorder.time("ping", Duration::from_micros(30));
        assert_eq!(met(&recorder), Some(false));
    }

    #[test]
    fn memory_is_judged_by_the_pages_written() {
        let mut recorder = Recorder::new(Vec::new());
        recorder.pages("memory", 100.0);
        recorder.value("memory", 1424.0);
        let memory = row_of(&recorder, "memory");
        assert_eq!((memory.times_floor, memory.met), (None, Some(true)));
        recorder.value("memory", 1426.0);
        assert_eq!(row_of(&recorder, "memory").met, Some(false));
    }

    #[test]
    fn a_row_that_failed_says_why_and_is_judged_by_nothing() {
        let mut recorder = Recorder::new(Vec::new());
        recorder.fail("ping", &anyhow!("nobody answered"));
        recorder.fail("ping", &anyhow!("nor later"));
        let ping = row_of(&recorder, "ping");
        assert_eq!(ping.failed.as_deref(), Some("nobody answered"));
        assert_eq!((ping.met, ping.times_floor), (None, None));
    }

    #[test]
    fn an_attempt_that_fails_is_the_failure_of_its_rows() {
        let mut recorder = Recorder::new(vec!["pin".to_owned()]);
        recorder.attempt(&["memory"], |_| panic!("none of them is wanted"));
        recorder.attempt(&["ping", "memory"], |recorder| {
            recorder.value("ping", 1.0);
            Err(anyhow!("it broke"))
        });
        let rows = recorder.rows(&CATALOGUE);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].samples.as_slice(), rows[0].failed.as_deref()),
            (&[1.0][..], Some("it broke"))
        );
    }

    #[test]
    fn only_the_wanted_rows_are_recorded_and_the_floor() {
        let mut recorder = Recorder::new(vec!["pin".to_owned()]);
        for id in [FLOOR, "ping", "memory"] {
            recorder.value(id, 1.0);
        }
        let ids: Vec<_> = recorder.rows(&CATALOGUE).into_iter().map(|row| row.id).collect();
        assert_eq!(ids, [FLOOR, "ping"]);
    }
}
