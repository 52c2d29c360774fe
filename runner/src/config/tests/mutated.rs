//! Files that are almost right: what the fuzz target `config` tries by the million, some of it in every run.

use proptest::prelude::*;

use super::*;

const FILES: [&str; 2] = [
    include_str!("../../../../docs/examples/provium.toml"),
    include_str!("../../../../tests/lua/provium.toml"),
];

/// A change at a place of a file: bytes that are put there, and how many are taken away.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let bytes = prop_oneof![
        Just(String::new()),
        "[\\[\\]{}=,\"'$~. \n#0-9-]{1,3}".prop_map(|text: String| text),
        any::<char>().prop_map(String::from),
    ];
    (any::<prop::sample::Index>(), 0..12usize, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_file_that_was_changed_anywhere_is_read_or_named(
        which in 0..FILES.len(),
        changes in prop::collection::vec(change(), 1..5),
    ) {
        let mut text: Vec<char> = FILES[which].chars().collect();
        for (place, taken, put) in changes {
            let at = place.index(text.len() + 1);
            let end = text.len().min(at + taken);
            text.splice(at..end, put.chars());
        }
        let project = Project::new(&text.into_iter().collect::<String>());
        match project.load() {
            Ok(config) => drop(config.check_files()),
            Err(error) => prop_assert!(error.to_string().contains(FILE_NAME), "{error}"),
        }
    }
}
