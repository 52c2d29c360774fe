//! Names of fixtures, and which one a name means.

use super::*;

fn sources(files: &[&str]) -> (Bench, Sources) {
    let files: Vec<_> = files.iter().map(|file| (*file, "")).collect();
    let bench = Bench::new(&files);
    let toml = TOML.replace("[provium]", "[provium]\nroots = ['tests', 'more']");
    bench.write("provium.toml", &toml);
    let sources = Sources::find(&bench.files().project, &bench.files().roots).expect("sources");
    (bench, sources)
}

const FILES: &[&str] = &[
    "tests/base.fixture.lua",
    "tests/net/base.fixture.lua",
    "tests/net/router.fixture.lua",
    "tests/disk/raid.fixture.lua",
    "tests/disk/old/raid.fixture.lua",
    "more/base.fixture.lua",
    "more/extra.fixture.lua",
    "fixtures/classic.lua",
    "tests/fixtures/local.lua",
    "tests/fixtures/odd.fixture.lua",
    "tests/fixtures/not.test.lua",
    "tests/target/x.fixture.lua",
    "tests/.hidden/x.fixture.lua",
    "tests/._base.fixture.lua",
    "fixtures/._classic.lua",
    "tests/helper.lua",
    "outside.fixture.lua",
];

#[test]
fn fixtures_are_found_under_the_roots_and_beside_them() {
    let (bench, sources) = sources(FILES);
    let names: Vec<_> = sources.all().map(|source| source.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "base",
            "classic",
            "disk/old/raid",
            "disk/raid",
            "extra",
            "local",
            "net/base",
            "net/router",
            "odd"
        ]
    );
    let base = sources.named("base").expect("base");
    assert_eq!(
        base.path,
        bench.path("tests/base.fixture.lua"),
        "the first root's"
    );
}

#[test]
fn names_are_whole_or_the_last_part_or_a_path() {
    let (bench, sources) = sources(FILES);
    let is = |given: &str| match sources.lookup(given, Some(&bench.path("tests/disk"))) {
        Ok(source) => source.name.clone(),
        Err(error) => error.to_string(),
    };
    for (given, name) in [
        ("base", "base"),
        ("./base", "base"),
        ("net/base", "net/base"),
        ("net/base.fixture.lua", "net/base"),
        ("router", "net/router"),
        ("classic", "classic"),
        ("fixtures/classic", "classic"),
        ("fixtures/classic.lua", "classic"),
        ("tests/net/router.fixture.lua", "net/router"),
        ("tests/net/router", "net/router"),
        ("old/raid", "disk/old/raid"),
        ("raid.fixture.lua", "disk/raid"),
        ("fixtures/odd", "odd"),
    ] {
        assert_eq!(is(given), name, "{given}");
    }
    let absolute = bench.path("more/extra.fixture.lua");
    assert_eq!(is(absolute.to_str().expect("UTF-8")), "extra");
    let raid = sources.lookup("raid", None).expect_err("two").to_string();
    assert_eq!(
        raid,
        "fixture `raid` could be `disk/old/raid` or `disk/raid`; write the whole name"
    );
    assert_eq!(
        is("roouter"),
        "there is no fixture `roouter`; did you mean `router`?"
    );
    assert_eq!(
        is("net/rooter"),
        "there is no fixture `net/rooter`; did you mean `net/router`?"
    );
    assert!(is("zzzzzzzz").starts_with("there is no fixture `zzzzzzzz`; there are `base`, `classic`, "));
}

#[test]
fn a_name_that_two_sorts_of_files_have_is_an_error_that_names_both() {
    let (bench, sources) = sources(&[
        "fixtures/base.lua",
        "tests/base.fixture.lua",
        "tests/fixtures/odd.fixture.lua",
        "tests/other.fixture.lua",
    ]);
    let error = sources.lookup("base", None).expect_err("two").to_string();
    let (first, second) = (
        bench.path("fixtures/base.lua"),
        bench.path("tests/base.fixture.lua"),
    );
    assert_eq!(
        error,
        format!(
            "fixture `base` could be {} or {}; rename one of them",
            first.display(),
            second.display()
        )
    );
    for name in ["odd", "other"] {
        assert_eq!(sources.lookup(name, None).expect("one").name, name);
    }
}

#[test]
fn a_project_without_fixtures_says_where_they_would_be() {
    let (bench, sources) = sources(&["tests/x.test.lua"]);
    let error = sources.lookup("base", None).expect_err("none").to_string();
    assert_eq!(
        error,
        format!(
            "there is no fixture `base`: no NAME.fixture.lua under a root and no fixtures/NAME.lua in {}",
            bench.root.display()
        )
    );
}

#[test]
fn a_source_that_is_gone_is_an_error_with_its_path() {
    let bench = Bench::new(&[("a.fixture.lua", "")]);
    let store = bench.look();
    let world = bench.project_world(&store);
    fs::remove_file(bench.path("a.fixture.lua")).expect("remove");
    let source = world.fixture("a").expect("it was there");
    let error = store.status(&source, &world).expect_err("gone").to_string();
    assert!(
        error.starts_with("fixture `a`: cannot read ") && error.contains("a.fixture.lua: "),
        "{error}"
    );
}

#[test]
fn a_name_that_is_not_utf_8_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;

    let bench = Bench::new(&[("fixtures/a.lua", "")]);
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.lua");
    std::fs::write(bench.path("fixtures").join(odd), "").expect("a file");
    let found = Sources::find(&bench.files().project, &bench.files().roots);
    let error = found.expect_err("a bad name").to_string();
    assert!(
        error.ends_with("odd\u{fffd}.lua: the name of a fixture must be UTF-8"),
        "{error}"
    );
}
