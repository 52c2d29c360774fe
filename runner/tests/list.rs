//! `provium list`, run as a user runs it.

mod support;

use support::{finished, project, provium, run, write};

const PASSES: &str = "test('adds up', function(t) t:assert_eq(1 + 1, 2) end)\n\
                      test('later', function(t) t:skip('not now') end)\n";

#[test]
fn names_of_test_files_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;

    let dir = project(&[("b.test.lua", PASSES), ("._b.test.lua", "no Lua")]);
    let name = std::ffi::OsStr::from_bytes(b"a\xff?;.test.lua");
    std::fs::write(dir.path().join(name), PASSES).expect("a file");
    let tests = "     1  adds up\n     2  later\n";
    let expected = format!("a\\xFF?;.test.lua\n{tests}b.test.lua\n{tests}");
    assert_eq!(run(&dir, &["list"]).stdout, expected);
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
    let one = lines(&["list", "--fixtures", "--json", "tests/a"]);
    assert_eq!(one, [r#"{"name":"a/db","path":"tests/a/db.fixture.lua"}"#]);
}

#[test]
fn list_takes_another_configuration() {
    let dir = project(&[
        ("other.toml", "[provium]\nroots = ['sub']\n"),
        ("sub/a.test.lua", PASSES),
        ("b.test.lua", PASSES),
    ]);
    let ran = run(&dir, &["list", "--config", "other.toml"]);
    assert_eq!(ran.stdout.lines().next(), Some("sub/a.test.lua"));
    assert!(!ran.stdout.contains("b.test.lua"), "{}", ran.stdout);
}

const MANY: &str = "local vm = provium:vm('web', 'small')\nvm:boot()\nlocal kernel = vm:run('uname -r'):out()\n\
                    if kernel:match('^6') and #vm:vm_names() > 3 then error('not so') end\n\
                    provium.timeout = '5s'\nprovium.before_each(function() end)\n\
                    test('boots', {tags = {'net', 'fast'}, area = 'boot'}, function() error('does not run') end)\n\
                    test('later', {skip = 'not now'}, function() end)\n\
                    test('soak', {slow = true}, function() end)\n\
                    for i = 1, 2 do test('number ' .. i, function() end) end\n";

#[test]
fn list_shows_tests_and_boots_nothing() {
    let dir = project(&[
        ("a.test.lua", MANY),
        (
            "b.test.lua",
            "for _, name in ipairs(provium:vm('x', 'y'):list_dir('/')) do\n  test(name, function() end)\nend\n",
        ),
        ("c.test.lua", "provium.create('x')\nassert_eq(1, 2)\n"),
        (
            "d.test.lua",
            "while provium:vm('x', 'y'):state() ~= 'booted' do end\n",
        ),
        ("e.test.lua", "error('broken')\n"),
        (
            "f.test.lua",
            "todo('write it')\ntest(\"it's\\7\", function() end)\n",
        ),
        (
            "g.test.lua",
            "test('of ' .. provium:vm('x', 'y'):name(), function() end)\n",
        ),
    ]);
    let ran = run(&dir, &["list"]);
    let expected = "a.test.lua\n     7  boots  [net, fast]\n     8  later  skip: not now\n     \
                    9  soak  skip: slow; --include-slow runs it\n    10  number 1\n    10  number 2\n\
                    b.test.lua: not listed: b.test.lua:2: test: its name depends on what a guest says\n\
                    c.test.lua\n        c\n\
                    d.test.lua: not listed: it goes on for as long as a guest says something\n\
                    e.test.lua: not listed: e.test.lua:1: broken\n\
                    f.test.lua\n     2  it's\\u{7}  skip: write it\n\
                    g.test.lua: not listed: g.test.lua:1: test: its name depends on what a guest says\n";
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), expected, "")
    );

    let ran = run(&dir, &["list", "--json", "a.test.lua", "e.test.lua"]);
    let lines = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<serde_json::Value> = lines.collect();
    assert_eq!(lines[0]["path"], "a.test.lua");
    let test = serde_json::json!({"name": "boots", "line": 7, "tags": ["net", "fast"], "skip": null,
                                  "meta": {"area": ["boot"], "slow": ["false"]}});
    assert_eq!(lines[0]["tests"][0], test);
    assert_eq!(lines[0]["tests"][1]["skip"], "not now");
    assert_eq!(lines[0]["error"], serde_json::Value::Null);
    assert_eq!(lines[1]["error"], "e.test.lua:1: broken");
}

#[test]
fn list_obeys_what_chooses_tests() {
    let dir = project(&[
        ("a.test.lua", MANY),
        (
            "b.test.lua",
            "test('other', {tags = 'disk'}, function(t) t:fail('no') end)\n",
        ),
    ]);
    run(&dir, &["b.test.lua"]); // fails
    let names = |args: &[&str]| {
        let ran = run(&dir, &[&["list", "--json"], args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        let files = ran
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let names = files.flat_map(|file| file["tests"].as_array().expect("tests").clone());
        names
            .map(|test| test["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (args, expected) in [
        (&["--filter", "ot"][..], "boots other"),
        (&["-k", "number and not 1"], "number 2"),
        (&["--tag", "disk"], "other"),
        (&["--no-tag", "net", "a.test.lua"], "later soak number 1 number 2"),
        (&["--tag-meta", "area=boot"], "boots"),
        (&["--no-tag-meta", "slow=false"], "soak"),
        (&["--rerun-failed"], "other"),
        (&["a.test.lua:10"], "number 1 number 2"),
        (&["b.test.lua::other"], "other"),
    ] {
        assert_eq!(names(args), expected, "{args:?}");
    }
    let parts = (1..=3).map(|part| names(&["--partition", &format!("slice:{part}/3")]));
    assert_eq!(
        parts.map(|part| part.split(' ').count()).sum::<usize>(),
        8,
        "each once: two names have two words"
    );
    let slow = run(&dir, &["list", "--include-slow", "-k", "soak"]);
    assert!(!slow.stdout.contains("skip:"), "{}", slow.stdout);
    write(&dir, "mark", "");
    let since = run(&dir, &["list", "--since", "mark"]);
    assert!(
        since.code == Some(0) && since.stdout.is_empty(),
        "{}",
        since.stdout
    );
    for (args, message) in [
        (
            &["list", "a.test.lua::boot"][..],
            "a.test.lua has no test `boot`; did you mean `boots`?",
        ),
        (&["list", "--tag", "dsik"], "--tag dsik; did you mean `disk`?"),
    ] {
        let ran = run(&dir, args);
        assert!(
            ran.code == Some(2) && ran.stderr.contains(message),
            "{}",
            ran.stderr
        );
    }
}
