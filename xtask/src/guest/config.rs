//! Kernel configuration fragments: what they ask for, and what became of it.
//!
//! Input: fragments (`CONFIG_X=value`, `# CONFIG_X is not set`) and the `.config` that the kernel's build
//! made of them. Output: every wish that did not come true. The kernel drops options whose dependencies are
//! missing without a word; here that is an error with the option's name.

use std::collections::BTreeMap;

/// Option → value; an option that is off has the value `n`.
pub(crate) type Options = BTreeMap<String, String>;

/// A wish that the finished configuration does not fulfil.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Such as `CONFIG_VIRTIO_BLK`.
    pub(crate) option: String,
    /// The value a fragment asks for.
    pub(crate) wanted: String,
    /// The value it has in the end.
    pub(crate) got: String,
}

/// Reads a fragment or a whole `.config`; of several lines for one option the last wins.
pub(crate) fn parse(text: &str) -> Options {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(off) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(" is not set"))
    {
        return off
            .starts_with("CONFIG_")
            .then(|| (off.to_owned(), "n".to_owned()));
    }
    let (option, value) = line.split_once('=')?;
    option
        .starts_with("CONFIG_")
        .then(|| (option.to_owned(), value.to_owned()))
}

/// Lays fragments over each other: an option named by a later one replaces an earlier wish.
pub(crate) fn merge<'a>(fragments: impl IntoIterator<Item = &'a str>) -> Options {
    fragments.into_iter().flat_map(parse).collect()
}

/// The options of `wanted` that `result` has with another value; an option it does not mention is off.
pub(crate) fn lost(wanted: &Options, result: &Options) -> Vec<Lost> {
    let value = |option: &str| result.get(option).map_or("n", String::as_str);
    let missed = wanted
        .iter()
        .filter(|(option, wanted)| value(option) != wanted.as_str());
    missed
        .map(|(option, wanted)| Lost {
            option: option.clone(),
            wanted: wanted.clone(),
            got: value(option).to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lines_are_read_and_comments_are_not() {
        let options =
            parse("# a remark\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x=y\"\n\n# CONFIG is not set\n");
        let expected = [("CONFIG_A", "y"), ("CONFIG_B", "n"), ("CONFIG_C", "\"x=y\"")];
        assert_eq!(
            options,
            expected
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
    }

    #[test]
    fn a_later_fragment_wins() {
        let merged = merge(["CONFIG_A=y\nCONFIG_B=1\n", "# CONFIG_A is not set\n"]);
        assert_eq!(
            (merged["CONFIG_A"].as_str(), merged["CONFIG_B"].as_str()),
            ("n", "1")
        );
    }

    #[test]
    fn lost_wishes_are_named_with_both_values() {
        let wanted = parse("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n# CONFIG_D is not set\n");
        let result = parse("CONFIG_A=y\nCONFIG_C=y\n");
        let lost = lost(&wanted, &result);
        let seen: Vec<_> = lost
            .iter()
            .map(|l| (l.option.as_str(), l.wanted.as_str(), l.got.as_str()))
            .collect();
        assert_eq!(seen, [("CONFIG_B", "y", "n"), ("CONFIG_C", "n", "y")]);
    }

    #[test]
    fn the_projects_own_fragments_hold_options() {
        for name in ["base", "least", "checked", "debug"] {
            let path = format!("{}/../kernel-config/{name}.config", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(parse(&text).len() > 10, "{path}");
            let remarks = |line: &&str| line.starts_with('#') || line.is_empty();
            let odd: Vec<_> = text
                .lines()
                .filter(|l| !remarks(l) && parse_line(l).is_none())
                .collect();
            assert!(odd.is_empty(), "{path}: not understood: {odd:?}");
        }
    }
}
