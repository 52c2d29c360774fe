//! Median and spread of samples.
//!
//! Input: samples of one row.
//! Output: three numbers.
//! Not here: units; see `Unit`.

use serde::{Deserialize, Serialize};

/// The middle of some samples, and the values that a tenth of them lie below and above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the samples are below it.
    pub median: f64,
    /// A tenth of the samples are below it.
    pub p10: f64,
    /// A tenth of the samples are above it.
    pub p90: f64,
}

impl Spread {
    /// The spread of these samples, in any order; `None` for no samples.
    pub fn of(samples: &[f64]) -> Option<Spread> {
        if samples.is_empty() {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Spread {
            median: quantile(&sorted, 0.5),
            p10: quantile(&sorted, 0.1),
            p90: quantile(&sorted, 0.9),
        })
    }
}

/// The value that this share of the sorted samples is below; between two samples, on the straight line from
/// one to the other.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_in_any_order() {
        let median = |samples: &[f64]| Spread::of(samples).unwrap().median;
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn one_wild_sample_moves_neither_the_median_nor_the_spread_much() {
        let mut samples: Vec<f64> = (0..=20).map(f64::from).collect();
        let calm = Spread::of(&samples).unwrap();
        assert_eq!((calm.p10, calm.median, calm.p90), (2.0, 10.0, 18.0));
        samples[20] = 1e9;
        assert_eq!(Spread::of(&samples).unwrap(), calm);
    }
}
