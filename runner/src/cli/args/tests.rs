//! What clap makes of command lines.

use clap::CommandFactory;
use proptest::prelude::*;

use super::*;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_host_commands_own_flags_are_its_own() {
    let parsed = |args: &[&str]| Cli::try_parse_from([&["provium", "host"], args].concat());
    let of = |args: &[&str]| match parsed(args).expect("parses").command {
        Some(Command::Host(host)) => host,
        other => panic!("{other:?}"),
    };
    let host = of(&["--rw", "/a", "--rw=/b", "--mem", "2048", "ls", "--rw", "/c", "-l"]);
    assert_eq!(host.writable, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(host.mem, Some(2048));
    assert_eq!(host.command, ["ls", "--rw", "/c", "-l"]);
    assert_eq!(of(&["--", "--odd", "x"]).command, ["--odd", "x"]);
    for wrong in [&[][..], &["--cpus", "0", "ls"], &["--mem", "x", "ls"]] {
        assert!(parsed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_word_is_a_command_and_a_path_is_a_path() {
    let paths = |args: &[&str]| {
        let cli = Cli::try_parse_from([&["provium"], args].concat()).expect("parses");
        (cli.command.is_some(), cli.run.choose.paths)
    };
    assert_eq!(paths(&["list"]), (true, vec![]));
    assert_eq!(paths(&["./list"]), (false, vec!["./list".into()]));
    assert_eq!(paths(&["a", "list"]), (false, vec!["a".into(), "list".into()]));
    assert_eq!(paths(&["-v", "--", "list"]), (false, vec!["list".into()]));
    assert_eq!(paths(&[]), (false, vec![]));
}

#[test]
fn bad_values_are_quoted_with_what_is_wrong() {
    let message = |args: &[&str]| {
        let error = Cli::try_parse_from([&["provium"], args].concat()).expect_err("does not parse");
        let error = helpful(error);
        (error.exit_code(), error.to_string())
    };
    for flag in ["--reruns", "--jason", "-z"] {
        let (_, text) = message(&[flag, "3"]);
        assert!(
            text.contains(&format!("unexpected argument '{flag}' found")),
            "{text}"
        );
        assert!(!text.contains("as a value"), "{text}");
    }
    let cases: &[(&[&str], &str)] = &[
        (
            &["-j", "0"],
            "invalid value '0' for '--jobs <N>': must be at least 1",
        ),
        (
            &["-j", "two"],
            "invalid value 'two' for '--jobs <N>': not a whole number",
        ),
        (&["--timeout", "-1s"], "unexpected argument '-1' found"),
        (&["--timeout=-1s"], "`-1s` is not a duration"),
        (&["--timeout", "nan"], "`nan` is not a duration"),
        (
            &["-k", "a and"],
            "at column 6: expected a word, `not` or `(`, found the end",
        ),
        (&["-v", "-q"], "cannot be used with"),
        (&["--cpu-overcommit", "9"], "must be from 0.5 to 8"),
        (&["--cpu-overcommit", "nan"], "must be from 0.5 to 8"),
        (&["--mem", "much"], "`much` is not a size"),
        (&["--jason"], "a similar argument exists: '--json'"),
        (
            &["--color", "sometimes"],
            "[possible values: auto, always, never]",
        ),
    ];
    for (args, expected) in cases {
        let (code, text) = message(args);
        assert!(code == 2 && text.contains(expected), "{args:?}: {code} {text}");
    }
}

/// Words of command lines, whole and in part, and any text.
fn word() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "run",
        "list",
        "fixture",
        "build",
        "host",
        "init",
        "coverage",
        "--",
        "-k",
        "-j",
        "--json",
        "--timeout",
        "--share",
        "--rootfs",
        "--tag-meta",
        "--mem",
        "--since",
        "a and",
        "1s",
        "-",
        "=",
        "1G",
    ];
    prop_oneof![
        prop::sample::select(KNOWN).prop_map(str::to_owned),
        prop::sample::select(KNOWN).prop_map(|word| word[..word.len() / 2].to_owned()),
        any::<String>(),
    ]
}

proptest! {
    /// What the fuzz target `command` tries by the million.
    #[test]
    fn any_words_are_arguments_or_an_error_in_words(words in prop::collection::vec(word(), 0..8)) {
        if let Err(error) = Cli::try_parse_from(std::iter::once("provium".to_owned()).chain(words)) {
            prop_assert!(!helpful(error).to_string().is_empty());
        }
    }
}
