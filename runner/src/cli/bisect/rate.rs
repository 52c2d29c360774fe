//! How often a test has to pass before its commit is called good.
//!
//! Input: how often it fails where it is known to, the probability wanted of the whole answer, the number of
//! verdicts. Output: a number of rounds. Not here: running them.

use provium_base::outcome::Rounds;

/// How many standard deviations below what was seen the rate may be: 19 of 20 times it is not lower.
const DEVIATIONS: f64 = 1.645;

/// Lower end of the interval (Wilson's score) that the rate of failures is in.
pub(super) fn at_least(seen: Rounds) -> f64 {
    let (n, failed) = (f64::from(seen.run.max(1)), f64::from(seen.failed));
    let (p, z) = (failed / n, DEVIATIONS);
    let centre = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - spread) / (1.0 + z * z / n)).max(0.0)
}

/// Rounds after which a kernel that fails at `rate` has failed once, so surely that `verdicts` of them are
/// all right with probability `confidence`.
pub(super) fn rounds(rate: f64, confidence: f64, verdicts: u32) -> u32 {
    let of_one = (1.0 - confidence) / f64::from(verdicts.max(1));
    if rate >= 1.0 {
        return 1;
    }
    let needed = of_one.ln() / (1.0 - rate).ln();
    // A float past the end saturates.
    needed.ceil().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_taken_lower_than_seen_and_nearer_with_more_rounds() {
        let of = |failed, run| at_least(Rounds { run, failed });
        assert!(of(0, 100) < 1e-9);
        let rates = [of(5, 50), of(10, 100), of(100, 1000)];
        assert!(
            rates.is_sorted() && rates.iter().all(|rate| *rate < 0.1),
            "{rates:?}"
        );
        assert!(rates[2] > 0.085, "{rates:?}");
        assert!(of(100, 100) < 1.0);
    }

    #[test]
    fn more_confidence_more_verdicts_and_a_rarer_failure_take_more_rounds() {
        assert_eq!(rounds(0.5, 0.99, 1), 7, "0.5^7 is the first below 0.01");
        assert_eq!(rounds(1.0, 0.99, 6), 1);
        assert!(rounds(0.5, 0.999, 1) > rounds(0.5, 0.99, 1));
        assert!(rounds(0.5, 0.99, 6) > rounds(0.5, 0.99, 1));
        assert!(rounds(0.002, 0.99, 6) > 3000);
        for verdicts in 1..20 {
            let n = rounds(0.1, 0.95, verdicts);
            let wrong = 0.9f64.powf(f64::from(n)) * f64::from(verdicts);
            assert!(wrong <= 0.05, "{verdicts} verdicts after {n} rounds: {wrong}");
        }
    }
}
