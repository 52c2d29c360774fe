//! What `provium-bench` writes, read and put together.
//!
//! Input: a JSON file for each place it ran in.
//! Output: parts, and one file of all of them.
//! Not here: what is in a part; see `bench/results`.

use std::path::Path;

use anyhow::{Context, Result};
use provium_bench_results::Part;
use serde_json::json;

/// Reads a part.
///
/// # Errors
/// When the file is not what `provium-bench` writes.
pub(super) fn read(path: &Path) -> Result<Part> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not what provium-bench writes", path.display()))
}

/// All parts as the text of one file.
///
/// # Errors
/// None that can happen with parts that were read.
pub(super) fn merged(parts: &[Part], command: &str) -> Result<String> {
    let mut text = serde_json::to_string_pretty(&json!({ "command": command, "parts": parts }))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn parts_are_merged_whole() {
        let part = |place: &str| {
            json!({
                "place": place, "host": "h", "guest": "g", "rounds": 3, "notes": [],
                "rows": [{
                    "id": "i", "name": "n", "unit": "kib", "samples": [1.0, 1234.567], "spread": null,
                    "times_floor": null, "pages": 7.0, "counts": null, "target": null, "met": null, "failed": "why",
                }],
            })
        };
        let folder = tempfile::tempdir().unwrap();
        let parts = ["a", "b"].map(|place| {
            let path = folder.path().join(place);
            std::fs::write(&path, part(place).to_string()).unwrap();
            read(&path).unwrap()
        });
        let merged: Value = serde_json::from_str(&merged(&parts, "cargo xtask bench").unwrap()).unwrap();
        let expected = json!({ "command": "cargo xtask bench", "parts": [part("a"), part("b")] });
        assert_eq!(merged, expected);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        for text in ["", "{}", "[]", r#"{"place": 1}"#] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).expect_err(text).to_string();
            assert!(error.contains("not what provium-bench writes"), "{error}");
        }
    }
}
