//! What a run of the benchmark leaves: a part for each place it ran in, with a row for each thing measured.
//!
//! Input: numbers that `provium-bench` has worked out.
//! Output: JSON, and the same read back by `cargo xtask bench`.
//! Not here: measuring (`provium-bench`), tables for people (xtask).

mod spread;

use serde::{Deserialize, Serialize};

pub use spread::Spread;

/// Everything that one run measured in one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `this machine's KVM` or `an emulated host`.
    pub place: String,
    /// Kernel and processor of that place.
    pub host: String,
    /// `Linux` or `a payload of a few instructions`.
    pub guest: String,
    /// Number of times that every row was measured.
    pub rounds: usize,
    /// Facts one has to know to compare the numbers, a sentence each.
    pub notes: Vec<String>,
    /// The rows, in the order of the table.
    pub rows: Vec<Row>,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name for options and comparisons, such as `reset-100`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Unit of the samples and their spread.
    pub unit: Unit,
    /// Median and spread of the samples; absent where there are none.
    pub spread: Option<Spread>,
    /// The median as a multiple of the floor's, for times.
    pub times_floor: Option<f64>,
    /// Median of the number of pages written, for rows that know it.
    pub pages: Option<f64>,
    /// What was counted each time it was done, medians; for rows that count.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// The target in words, for rows that have one.
    pub target: Option<String>,
    /// Whether the target is met; absent where that cannot be said.
    pub met: Option<bool>,
    /// Why there are no (more) samples.
    pub failed: Option<String>,
    /// Every sample, in the order of the rounds.
    pub samples: Vec<f64>,
}

/// What no load of the machine changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Times that a vCPU left the guest, whatever for.
    pub exits: f64,
    /// Those that the monitor served as accesses to memory-mapped registers.
    pub mmio: f64,
    /// Those that it served as accesses to ports.
    pub port: f64,
    /// Those by which a vCPU halted.
    pub halt: f64,
    /// Page faults that KVM has fixed.
    pub faults: f64,
    /// The monitor's `ioctl` calls, KVM_RUN among them; absent where they cannot be counted.
    pub ioctls: Option<f64>,
    /// All its system calls.
    pub system_calls: Option<f64>,
}

impl Counts {
    /// The median of each count on its own.
    pub fn median(of: &[Counts]) -> Option<Counts> {
        let middle = |count: fn(&Counts) -> Option<f64>| {
            let values: Vec<f64> = of.iter().filter_map(count).collect();
            Spread::of(&values).map(|spread| spread.median)
        };
        Some(Counts {
            exits: middle(|counts| Some(counts.exits))?,
            mmio: middle(|counts| Some(counts.mmio))?,
            port: middle(|counts| Some(counts.port))?,
            halt: middle(|counts| Some(counts.halt))?,
            faults: middle(|counts| Some(counts.faults))?,
            ioctls: middle(|counts| counts.ioctls),
            system_calls: middle(|counts| counts.system_calls),
        })
    }
}

/// Unit of a row's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// Bytes per second.
    BytesPerSecond,
    /// KiB.
    #[serde(rename = "kib")]
    KiB,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_from_its_json() {
        let part = Part {
            place: "here".to_owned(),
            host: "Linux".to_owned(),
            guest: "Linux".to_owned(),
            rounds: 2,
            notes: vec!["one vCPU".to_owned()],
            rows: [Unit::Microseconds, Unit::BytesPerSecond, Unit::KiB]
                .map(|unit| Row {
                    id: "ping".to_owned(),
                    name: "a ping".to_owned(),
                    unit,
                    spread: Spread::of(&[1.5, 2.5]),
                    times_floor: Some(0.1),
                    pages: None,
                    counts: Some(Counts {
                        exits: 7.5,
                        ioctls: Some(4.0),
                        ..Counts::default()
                    }),
                    target: Some("≤ 1".to_owned()),
                    met: Some(true),
                    failed: None,
                    samples: vec![1.5, 2.5],
                })
                .into(),
        };
        let json = serde_json::to_value(&part).unwrap();
        let units = [0, 1, 2].map(|at| json["rows"][at]["unit"].clone());
        assert_eq!(units, ["microseconds", "bytes-per-second", "kib"]);
        assert_eq!(serde_json::from_value::<Part>(json).unwrap(), part);
    }

    #[test]
    fn a_median_of_counts_is_that_of_each() {
        let of = |exits, faults, ioctls| Counts {
            exits,
            faults,
            ioctls,
            ..Counts::default()
        };
        let counts = [of(1.0, 9.0, None), of(2.0, 8.0, Some(3.0)), of(9.0, 1.0, None)];
        assert_eq!(Counts::median(&counts), Some(of(2.0, 8.0, Some(3.0))));
        assert_eq!(Counts::median(&[]), None);
    }
}
