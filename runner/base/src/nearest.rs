//! "Did you mean": the known word that a mistyped one most likely stands for.
//!
//! Input: a word and the candidates. Output: the nearest candidate, if one is near enough.
//! Not here: how the hint is worded.

/// The candidate that a mistyped word most likely means, if any is near enough: at most a third of its
/// letters differ, one in short words, or it begins alike.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = match word.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).max(1),
    };
    let near = candidates.filter_map(|candidate| {
        let distance = strsim::osa_distance(word, candidate);
        let near = distance <= most || strsim::jaro_winkler(word, candidate) > 0.8;
        near.then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The nearest candidate that differs from `word` in at most so many letters; two that changed places are
/// one.
pub fn mistyped<'a>(
    word: &str,
    letters: usize,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest(
        word,
        candidates.filter(|candidate| strsim::osa_distance(word, candidate) <= letters),
    )
}

#[cfg(test)]
mod tests {
    use super::{mistyped, nearest};

    #[test]
    fn the_nearest_word_is_one_that_was_meant() {
        let keys = ["kernel", "initrd", "memory", "min", "cpus"];
        let cases = [
            ("kernal", Some("kernel")),
            ("mni", Some("min")),
            ("mem", Some("memory")),
            ("Kernel", Some("kernel")),
            ("initramfs", Some("initrd")),
            ("q", None),
            ("zzz", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, keys.into_iter()), expected, "{word}");
        }
        assert_eq!(nearest("bisect", ["list", "fixture"].into_iter()), None);
    }

    #[test]
    fn a_mistyped_word_differs_in_a_few_letters() {
        let keys = ["timeout", "slow", "skip"];
        let cases = [
            ("timout", Some("timeout")),
            ("tmieotu", Some("timeout")),
            ("skpi", Some("skip")),
            ("slowest", None),
            ("time", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(mistyped(word, 2, keys.into_iter()), expected, "{word}");
        }
    }
}
