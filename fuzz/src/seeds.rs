//! Where a target's first inputs come from.
//!
//! Input: the folder that `cargo xtask fuzz` names in the environment, and what a target makes for itself.
//! Output: a file for each. Not here: inputs of files, and those of mended mistakes,
//! which are in `fuzz/corpus/`.

use std::path::PathBuf;

/// The variable that names the folder for them; without it there are none.
pub const FOLDER: &str = "PROVIUM_FUZZ_SEEDS";

/// Writes a target's first inputs, before libFuzzer reads the folder.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    for (number, seed) in seeds.into_iter().enumerate() {
        let path = folder.join(format!("seed-{number}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }
}

/// Inputs that choose anything, each a few dozen steps: from nothing at all libFuzzer takes hours to them.
pub fn random() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..16).map(|_| (0..240).map(|_| byte()).collect()).collect()
}
