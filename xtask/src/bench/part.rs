//! What `provium-bench` writes, read and put together.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// One run's numbers: what the table needs of them, and all of them.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shown: Shown,
    whole: Value,
}

/// See `bench/src/part.rs`.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) place: String,
    pub(super) host: String,
    pub(super) guest: String,
    pub(super) rounds: usize,
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) spread: Option<Spread>,
    pub(super) times_floor: Option<f64>,
    pub(super) pages: Option<f64>,
    pub(super) target: Option<String>,
    pub(super) met: Option<bool>,
    pub(super) failed: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) p10: f64,
    pub(super) p90: f64,
}

/// Reads a part.
///
/// # Errors
/// When the file is not what `provium-bench` writes.
pub(super) fn read(path: &Path) -> Result<Part> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not what provium-bench writes", path.display()))
}

pub(super) fn parse(text: &str) -> Result<Part> {
    let whole: Value = serde_json::from_str(text)?;
    Ok(Part {
        shown: Shown::deserialize(&whole)?,
        whole,
    })
}

/// All parts as one file.
///
/// # Errors
/// None that can happen with parts that were read.
pub(super) fn merged(parts: &[Part], command: &str) -> Result<String> {
    let parts: Vec<&Value> = parts.iter().map(|part| &part.whole).collect();
    let mut text = serde_json::to_string_pretty(&json!({ "command": command, "parts": parts }))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_merged_whole() {
        let part = |place: &str| {
            let text = json!({
                "place": place, "host": "h", "guest": "g", "rounds": 3, "notes": [], "more": [1, 2],
                "rows": [{"name": "n", "unit": "kib", "samples": [1.0], "spread": null, "failed": "why"}],
            });
            parse(&text.to_string()).unwrap()
        };
        let text = merged(&[part("a"), part("b")], "cargo xtask bench").unwrap();
        let merged: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(merged["command"], "cargo xtask bench");
        assert_eq!(
            (&merged["parts"][0]["place"], &merged["parts"][1]["place"]),
            (&json!("a"), &json!("b"))
        );
        assert_eq!(merged["parts"][1]["more"], json!([1, 2]));
        assert_eq!(merged["parts"][0]["rows"][0]["samples"], json!([1.0]));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "{}", "[]", r#"{"place": 1}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
