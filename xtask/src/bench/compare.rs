//! Two runs beside each other: what has changed beyond the noise.
//!
//! Input: the parts of this run, and the file that an earlier one left.
//! Output: a line for each row that is another than it was.
//! Not here: tables of one run.
//!
//! A time has changed when each run's median is outside of what a tenth of the other's samples lie below and
//! above. It is compared as a multiple of its own run's floor, so that the hour does not matter. A count has
//! changed when it is another by a twentieth, and by one.

use std::path::Path;

use anyhow::{Context, Result};
use provium_bench_results::{Part, Row, Spread};
use serde::Deserialize;

use super::table::{amount, count_text};

/// The file of an earlier run, as far as it is compared.
#[derive(Deserialize)]
struct Base {
    parts: Vec<Part>,
}

/// What has changed since the run that left the file at `path`.
///
/// # Errors
/// When it is not what `cargo xtask bench` leaves.
pub(super) fn since(path: &Path, parts: &[Part]) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let base: Base = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what cargo xtask bench leaves", path.display()))?;
    let mut lines = String::new();
    for part in parts {
        let Some(before) = base.parts.iter().find(|before| before.place == part.place) else {
            continue;
        };
        for row in &part.rows {
            if let Some(old) = before.rows.iter().find(|old| old.id == row.id) {
                changes(old, row).iter().for_each(|change| {
                    lines.push_str(&format!("{}, {}: {change}\n", part.place, row.name.trim()));
                });
            }
        }
    }
    if lines.is_empty() {
        lines.push_str("nothing has changed beyond the noise\n");
    }
    Ok(lines)
}

fn changes(old: &Row, new: &Row) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some((before, now)) = in_floors(old).zip(in_floors(new))
        && (now.median < before.p10 || now.median > before.p90)
        && (before.median < now.p10 || before.median > now.p90)
    {
        let ratio = now.median / before.median;
        changes.push(match (old.times_floor, new.times_floor) {
            (Some(before), Some(now)) => format!("{before:.3} → {now:.3} × floor ({ratio:.2} ×)"),
            _ => {
                let text = |value| amount(value, new.unit);
                format!("{} → {} ({ratio:.2} ×)", text(before.median), text(now.median))
            }
        });
    }
    if let Some((before, now)) = old.counts.zip(new.counts) {
        let counts = [
            ("exits", Some(before.exits), Some(now.exits)),
            ("MMIO exits", Some(before.mmio), Some(now.mmio)),
            ("port exits", Some(before.port), Some(now.port)),
            ("halts", Some(before.halt), Some(now.halt)),
            ("faults", Some(before.faults), Some(now.faults)),
            ("ioctls", before.ioctls, now.ioctls),
            ("system calls", before.system_calls, now.system_calls),
        ];
        for (what, before, now) in counts {
            if let Some((before, now)) = before.zip(now)
                && (now - before).abs() > (before / 20.0).max(1.0)
            {
                changes.push(format!("{} → {} {what}", count_text(before), count_text(now)));
            }
        }
    }
    changes
}

/// A row's spread, as multiples of its run's floor where it has them.
fn in_floors(row: &Row) -> Option<Spread> {
    let spread = row.spread?;
    let Some(times) = row.times_floor.filter(|times| *times > 0.0) else {
        return Some(spread);
    };
    let floor = spread.median / times;
    Some(Spread {
        median: times,
        p10: spread.p10 / floor,
        p90: spread.p90 / floor,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn part(rows: Value) -> Part {
        let part =
            json!({"place": "here", "host": "h", "guest": "g", "rounds": 3, "notes": [], "rows": rows});
        serde_json::from_value(part).unwrap()
    }

    fn row(median: f64, times_floor: Option<f64>, mmio: f64) -> Value {
        json!({
            "id": "ping", "name": "a ping", "unit": "microseconds", "samples": [], "times_floor": times_floor,
            "spread": {"median": median, "p10": median * 0.9, "p90": median * 1.1},
            "counts": {"exits": 100.0, "mmio": mmio, "port": 0.0, "halt": 0.0, "faults": 0.0, "ioctls": null,
                       "system_calls": null},
        })
    }

    fn compared(old: Value, new: Value) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.json");
        let base = json!({"command": "c", "parts": [part(json!([old]))]});
        std::fs::write(&path, base.to_string()).unwrap();
        since(&path, &[part(json!([new]))]).unwrap()
    }

    #[test]
    fn times_are_compared_as_multiples_of_the_floor() {
        let slower_hour = compared(row(100.0, Some(1.0), 6.0), row(200.0, Some(1.05), 6.0));
        assert_eq!(slower_hour, "nothing has changed beyond the noise\n");
        let slower = compared(row(100.0, Some(1.0), 6.0), row(100.0, Some(2.0), 6.0));
        assert_eq!(slower, "here, a ping: 1.000 → 2.000 × floor (2.00 ×)\n");
        let without = compared(row(100.0, None, 6.0), row(50.0, None, 6.0));
        assert_eq!(without, "here, a ping: 100 µs → 50 µs (0.50 ×)\n");
    }

    #[test]
    fn a_count_that_changed_is_told_with_its_kind() {
        let fewer = compared(row(1.0, None, 6.1), row(1.0, None, 1.0));
        assert_eq!(fewer, "here, a ping: 6.1 → 1.0 MMIO exits\n");
        let hardly = compared(row(1.0, None, 6.1), row(1.0, None, 5.5));
        assert_eq!(hardly, "nothing has changed beyond the noise\n");
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.json");
        std::fs::write(&path, "{}").unwrap();
        let error = since(&path, &[]).unwrap_err().to_string();
        assert!(error.contains("not what cargo xtask bench leaves"), "{error}");
    }
}
