//! Memory of this process that is nobody else's, and bytes that files take on disk.
//!
//! Input: `/proc/self`, a folder.
//! Output: KiB.
//! Not here: what is made of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// KiB of this process's anonymous memory: what it has written, copies of file pages included.
///
/// # Errors
/// When `/proc` does not say.
pub(crate) fn private_kib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").context("read /proc/self/smaps_rollup")?;
    anonymous(&text).context("/proc/self/smaps_rollup has no `Anonymous:`")
}

fn anonymous(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// KiB that the files of a folder take on disk.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn on_disk_kib(folder: &Path) -> Result<f64> {
    let mut blocks = 0;
    for entry in std::fs::read_dir(folder)? {
        blocks += entry?.metadata()?.blocks();
    }
    Ok(blocks as f64 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anonymous_line_is_found() {
        let text =
            "00400000-7fff [rollup]\nRss:    10 kB\nPrivate_Dirty:   8 kB\nAnonymous:            1234 kB\n";
        assert_eq!(anonymous(text), Some(1234.0));
        assert_eq!(anonymous("Rss: 1 kB\n"), None);
    }

    #[test]
    fn writing_memory_makes_it_private() {
        let before = private_kib().unwrap();
        let written = vec![1u8; 8 << 20];
        let after = private_kib().unwrap();
        assert!(
            after - before > 4096.0,
            "{before} before, {after} after, {}",
            written[77]
        );
    }
}
