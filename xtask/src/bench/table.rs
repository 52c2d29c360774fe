//! A part as a table for people.
//!
//! Input: a part.
//! Output: lines of text.
//! Not here: any judgement; what is met or missed stands in the rows.

use provium_bench_results::{Part, Row, Unit};

const HEAD: [&str; 6] = ["", "median", "10 % to 90 %", "× floor", "pages", "target"];

/// A head that says where and how, and a line for each row.
pub(super) fn of(part: &Part) -> String {
    let mut text = format!(
        "On {}: {}.\nGuest: {}. {} rounds; a time is the median, between what a tenth is below and above.\n",
        part.place, part.host, part.guest, part.rounds
    );
    part.notes
        .iter()
        .for_each(|note| text.push_str(&format!("  {note}\n")));
    text.push('\n');
    let rows: Vec<[String; 6]> = part.rows.iter().map(cells).collect();
    let head = HEAD.map(str::to_owned);
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    for row in [&head].into_iter().chain(&rows) {
        text.push_str(line(row, &widths).trim_end());
        text.push('\n');
    }
    for row in &part.rows {
        if let Some(why) = &row.failed {
            text.push_str(&format!("failed: {}: {why}\n", row.name.trim()));
        }
    }
    text
}

/// The first and last column begin at the left, numbers end at the right.
fn line(row: &[String; 6], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let gap = " ".repeat(width - cell.chars().count());
        let is_text = column == 0 || column == row.len() - 1;
        line.push_str(&if is_text {
            format!("{cell}{gap}  ")
        } else {
            format!("{gap}{cell}  ")
        });
    }
    line
}

fn cells(row: &Row) -> [String; 6] {
    let (median, spread) = match row.spread {
        Some(spread) => {
            let value = |value| amount(value, row.unit);
            (
                value(spread.median),
                format!("{} to {}", value(spread.p10), value(spread.p90)),
            )
        }
        None => ("—".to_owned(), String::new()),
    };
    let verdict = match row.met {
        Some(true) => " met",
        Some(false) => " MISSED",
        None => "",
    };
    [
        row.name.clone(),
        median,
        spread,
        row.times_floor
            .map(|times| format!("{times:.3}"))
            .unwrap_or_default(),
        row.pages.map(|pages| format!("{pages:.0}")).unwrap_or_default(),
        row.target
            .as_ref()
            .map(|target| format!("{target}{verdict}"))
            .unwrap_or_default(),
    ]
}

/// Three or four digits and a unit.
fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds if value < 1_000.0 => format!("{value:.0} µs"),
        Unit::Microseconds if value < 100_000.0 => format!("{:.2} ms", value / 1e3),
        Unit::Microseconds => format!("{:.0} ms", value / 1e3),
        Unit::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
        Unit::KiB if value < 10_240.0 => format!("{value:.0} KiB"),
        Unit::KiB => format!("{:.1} MiB", value / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = r#"{
        "place": "an emulated host", "host": "Linux 6.1", "guest": "Linux", "rounds": 20, "notes": ["one vCPU"],
        "rows": [
            {"id": "floor", "name": "the floor", "unit": "microseconds", "times_floor": 1.0, "samples": [],
             "spread": {"median": 18500.0, "p10": 17000.0, "p90": 21000.0}},
            {"id": "ping", "name": "a ping", "unit": "microseconds", "samples": [], "times_floor": 0.08, "target": "≤ 0.05 × floor", "met": false,
             "spread": {"median": 900.0, "p10": 800.0, "p90": 1500.0}},
            {"id": "memory", "name": "memory", "unit": "kib", "pages": 114.0, "samples": [], "target": "≤ 1", "met": true,
             "spread": {"median": 456.0, "p10": 456.0, "p90": 11264.0}},
            {"id": "peer", "name": "peer", "unit": "microseconds", "samples": [], "failed": "it is not on PATH"}
        ]}"#;

    #[test]
    fn the_table_reads_well() {
        let text = of(&serde_json::from_str(PART).unwrap());
        let expected = "\
On an emulated host: Linux 6.1.
Guest: Linux. 20 rounds; a time is the median, between what a tenth is below and above.
  one vCPU

             median          10 % to 90 %  × floor  pages  target
the floor  18.50 ms  17.00 ms to 21.00 ms    1.000
a ping       900 µs     800 µs to 1.50 ms    0.080         ≤ 0.05 × floor MISSED
memory      456 KiB   456 KiB to 11.0 MiB             114  ≤ 1 met
peer              —
failed: peer: it is not on PATH
";
        assert_eq!(text, expected);
    }

    #[test]
    fn amounts_have_units_one_can_read() {
        assert_eq!(amount(12.3, Unit::Microseconds), "12 µs");
        assert_eq!(amount(853_562.0, Unit::Microseconds), "854 ms");
        assert_eq!(amount(52_000_000.0, Unit::BytesPerSecond), "52.0 MB/s");
    }
}
