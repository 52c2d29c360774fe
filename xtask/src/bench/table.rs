//! A part as two tables for people: times, and what was counted meanwhile.
//!
//! Input: a part.
//! Output: lines of text.
//! Not here: any judgement; what is met or missed stands in the rows.

use provium_bench_results::{Part, Row, Unit};

const HEAD: [&str; 6] = ["", "median", "10 % to 90 %", "× floor", "pages", "target"];
const COUNTS_HEAD: [&str; 8] = ["", "exits", "MMIO", "port", "halt", "faults", "ioctls", "calls"];

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
    text.push_str(&columns(HEAD, &rows, true));
    for row in &part.rows {
        if let Some(why) = &row.failed {
            text.push_str(&format!("failed: {}: {why}\n", row.name.trim()));
        }
    }
    let counted: Vec<[String; 8]> = part.rows.iter().filter_map(counts).collect();
    if !counted.is_empty() {
        text.push_str("\nCounted each time it was done (transfers: for each MiB), medians:\n\n");
        text.push_str(&columns(COUNTS_HEAD, &counted, false));
    }
    text
}

/// A table: the first column begins at the left, numbers end at the right, and the last is a number or not.
fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]], last_is_text: bool) -> String {
    let head = head.map(str::to_owned);
    let all = || [&head].into_iter().chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let lines = all().map(|row| format!("{}\n", line(row, &widths, last_is_text).trim_end()));
    lines.collect()
}

fn line(row: &[String], widths: &[usize], last_is_text: bool) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let gap = " ".repeat(width - cell.chars().count());
        let is_text = column == 0 || last_is_text && column == row.len() - 1;
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

/// The cells of a row that counts.
fn counts(row: &Row) -> Option<[String; 8]> {
    let counts = row.counts?;
    let calls = |count: Option<f64>| count.map_or_else(|| "—".to_owned(), count_text);
    Some([
        row.name.clone(),
        count_text(counts.exits),
        count_text(counts.mmio),
        count_text(counts.port),
        count_text(counts.halt),
        count_text(counts.faults),
        calls(counts.ioctls),
        calls(counts.system_calls),
    ])
}

/// A count, with a decimal where it is small.
pub(super) fn count_text(count: f64) -> String {
    match count < 20.0 {
        true => format!("{count:.1}"),
        false => format!("{count:.0}"),
    }
}

/// Three or four digits and a unit.
pub(super) fn amount(value: f64, unit: Unit) -> String {
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
            {"id": "ping", "name": "a ping", "unit": "microseconds", "samples": [], "times_floor": 0.08,
             "counts": {"exits": 7.5, "mmio": 6.1, "port": 0, "halt": 1, "faults": 1234.4, "ioctls": 20.2, "system_calls": null}, "target": "≤ 0.05 × floor", "met": false,
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

Counted each time it was done (transfers: for each MiB), medians:

        exits  MMIO  port  halt  faults  ioctls  calls
a ping    7.5   6.1   0.0   1.0    1234      20      —
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
