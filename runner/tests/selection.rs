//! Choosing tests and their order, by the built command, where no guest is needed.

mod support;

use provium_base::outcome::{FileResult, TestStatus};

use support::{project, run};

const PASSES: &str = "test('adds up', function(t) t:assert_eq(1 + 1, 2) end)\n\
                      test('later', function(t) t:skip('not now') end)\n";
const FAILS: &str = "test('is fine', function(t) t:log('hello') end)\n\
                     test('is not', function(t)\n  t:assert_eq(1, 2)\nend)\n";

#[test]
fn filters_choose_tests_and_an_empty_choice_is_an_error() {
    let dir = project(&[("a.test.lua", PASSES), ("b.test.lua", FAILS)]);
    let last = |args: &[&str]| {
        let ran = run(&dir, args);
        let line = ran.stdout.lines().last().unwrap_or_default().to_owned();
        (
            ran.code,
            line.split("; ").take(2).collect::<Vec<_>>().join("; "),
            ran.stderr,
        )
    };
    let case = |code, line: &str| (Some(code), line.to_owned(), String::new());
    assert_eq!(
        last(&["--filter", "fine"]),
        case(0, "1 file(s); 1 passed, 0 failed, 0 skipped")
    );
    assert_eq!(
        last(&["--filter", "b.test"]),
        case(1, "1 file(s); 1 passed, 1 failed, 0 skipped")
    );
    let expression = "adds or (IS and not NOT)";
    assert_eq!(
        last(&["-k", expression]),
        case(0, "2 file(s); 2 passed, 0 failed, 0 skipped")
    );
    let (code, _, error) = last(&["--filter", "nowhere"]);
    assert_eq!(code, Some(2));
    assert_eq!(
        error,
        "provium: error: no test ran: none of the 4 test(s) in 2 file(s) is selected by --filter \"nowhere\"; the \
         names are `adds up`, `is fine`, `is not`, `later`\n"
    );
}

/// The names of the tests that ran, in their order, and not those that were skipped.
fn ran(dir: &tempfile::TempDir, args: &[&str]) -> Vec<String> {
    let ran = run(dir, &[&["--json", "-j1"], args].concat());
    let files = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"));
    let tests = files.flat_map(|file: FileResult| file.tests);
    let began = tests.filter(|test| test.status != TestStatus::Skipped);
    began.map(|test| test.name).collect()
}

#[test]
fn tags_and_metadata_choose_tests() {
    let source = "test('web', {tags = {'net', 'slow'}, area = 'http'}, function() end)\n\
                  test('ping', {tags = 'net', area = 'icmp'}, function() end)\n\
                  test('fsck', {tags = 'disk'}, function() end)\n\
                  test('soak', {slow = true}, function() end)\n";
    let dir = project(&[("a.test.lua", source)]);
    for (args, names) in [
        (&["--tag", "net"][..], &["web", "ping"][..]),
        (&["--tag", "net", "--tag", "disk"], &["web", "ping", "fsck"]),
        (&["--no-tag", "net"], &["fsck"]),
        (&["--tag", "net", "--no-tag", "slow"], &["ping"]),
        (
            &["--tag-meta", "area=http", "--tag-meta", "area=icmp"],
            &["web", "ping"],
        ),
        (&["--no-tag-meta", "area=http"], &["ping", "fsck"]),
        (&[], &["web", "ping", "fsck"]),
        (&["--include-slow"], &["web", "ping", "fsck", "soak"]),
    ] {
        assert_eq!(ran(&dir, args), names, "{args:?}");
    }
}
