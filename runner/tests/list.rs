//! `provium list`, run as a user runs it.

mod support;

use support::{finished, project, provium, run};

const PASSES: &str = "test('adds up', function(t) t:assert_eq(1 + 1, 2) end)\n\
                      test('later', function(t) t:skip('not now') end)\n";

#[test]
fn names_of_test_files_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;

    let dir = project(&[("b.test.lua", PASSES), ("._b.test.lua", "no Lua")]);
    let name = std::ffi::OsStr::from_bytes(b"a\xff?;.test.lua");
    std::fs::write(dir.path().join(name), PASSES).expect("a file");
    assert_eq!(run(&dir, &["list"]).stdout, "a\\xFF?;.test.lua\nb.test.lua\n");
    let ran = run(&dir, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("a\\xFF?;.test.lua"), "{}", ran.stdout);
}

#[test]
fn a_list_that_nobody_reads_to_its_end_is_no_error() {
    let dir = project(&[("a.test.lua", "")]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = provium(dir.path(), &["list"]).stdout(writer).output();
    let ran = finished(output.expect("the command starts"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn list_names_the_files() {
    let toml = "[provium]\nroots = ['tests']\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("tests/b.test.lua", ""),
        ("tests/a/c.test.lua", ""),
        ("x.test.lua", ""),
    ]);
    assert_eq!(
        run(&dir, &["list"]).stdout,
        "tests/a/c.test.lua\ntests/b.test.lua\n"
    );
    assert_eq!(run(&dir, &["list", "x.test.lua"]).stdout, "x.test.lua\n");
    let below = finished(
        provium(&dir.path().join("tests/a"), &["list"])
            .output()
            .expect("the command starts"),
    );
    let other = dir.path().join("tests/b.test.lua");
    assert_eq!(below.stdout, format!("c.test.lua\n{}\n", other.display()));
}

#[test]
fn list_names_the_fixtures() {
    let dir = project(&[
        ("provium.toml", "[provium]\nroots = ['tests']\n"),
        ("tests/web.fixture.lua", ""),
        ("tests/a/db.fixture.lua", ""),
        ("tests/b.test.lua", ""),
        ("fixtures/base.lua", ""),
    ]);
    let lines = |args: &[&str]| {
        let ran = run(&dir, args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let mut lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        lines(&["list", "--fixtures"]),
        [
            "a/db  tests/a/db.fixture.lua",
            "base  fixtures/base.lua",
            "web   tests/web.fixture.lua"
        ]
    );
    assert_eq!(
        lines(&["list", "--fixtures", "tests/a"]),
        ["a/db  tests/a/db.fixture.lua"]
    );
    assert_eq!(run(&dir, &["list", "--fixtures", "none"]).code, Some(2));
}

#[test]
fn list_takes_another_configuration() {
    let dir = project(&[
        ("other.toml", "[provium]\nroots = ['sub']\n"),
        ("sub/a.test.lua", PASSES),
        ("b.test.lua", PASSES),
    ]);
    assert_eq!(
        run(&dir, &["list", "--config", "other.toml"]).stdout,
        "sub/a.test.lua\n"
    );
}
