//! Choosing tests and their order, by the built command, where no guest is needed.

mod support;

use std::fs;
use std::time::{Duration, SystemTime};

use provium_base::outcome::{FileResult, TestStatus};

use support::{project, run, write};

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
    names(&run(dir, &[&["--json", "-j1"], args].concat()).stdout)
}

/// The same of a report.
fn names(json: &str) -> Vec<String> {
    let files = json
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

const THREE: &str = "test('one', function() end)\n\
                     test('two', {slow = true}, function()\n  local x = 1\nend)\n\
                     for i = 3, 4 do test('number ' .. i, function() end) end\n";

#[test]
fn a_test_is_named_by_its_file_and_its_name_or_line() {
    let dir = project(&[
        ("sub/a.test.lua", THREE),
        ("b.test.lua", "test('other', function() end)\n"),
    ]);
    for (args, names) in [
        (&["sub/a.test.lua::one"][..], &["one"][..]),
        // One that is named runs, even if it calls itself slow.
        (&["sub/a.test.lua:3"], &["two"]),
        (&["sub/a.test.lua:5"], &["number 3", "number 4"]),
        (
            &["sub/a.test.lua::one", "sub/a.test.lua:4", "b.test.lua"],
            &["other", "one", "two"],
        ),
        (&["sub/a.test.lua::one", "sub"], &["one", "number 3", "number 4"]),
    ] {
        assert_eq!(ran(&dir, args), names, "{args:?}");
    }
    for (arg, message) in [
        (
            "sub/a.test.lua::on",
            "sub/a.test.lua has no test `on`; did you mean `one`?",
        ),
        (
            "sub/a.test.lua:7",
            "sub/a.test.lua:7 is in no test; the nearest, `number 3`, is at lines 5 to 5",
        ),
        ("c.test.lua:7", "no such file or folder: c.test.lua"),
    ] {
        // One that is not there is no pass, whatever else ran.
        for args in [&[arg][..], &["b.test.lua", arg]] {
            let ran = run(&dir, args);
            assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stdout);
            assert_eq!(ran.stderr, format!("provium: error: {message}\n"), "{args:?}");
        }
    }
}

#[test]
fn what_failed_last_runs_again_or_first() {
    let fails = |names: &[&str]| {
        let test =
            |name: &&str| format!("test('{name}', function(t) t:assert(not io.open('broken-{name}')) end)\n");
        names.iter().map(test).collect::<String>()
    };
    let dir = project(&[
        ("a.test.lua", &fails(&["a1", "a2", "a3"])),
        ("b.test.lua", &fails(&["b1", "b2"])),
        ("c.test.lua", &fails(&["c1"])),
        ("broken-a2", ""),
        ("broken-b1", ""),
        ("broken-b2", ""),
    ]);
    let again = run(&dir, &["--rerun-failed"]);
    assert_eq!(again.code, Some(2), "nothing is known: {}", again.stderr);
    assert!(
        again.stderr.contains(".provium/last.json is not there"),
        "{}",
        again.stderr
    );
    assert_eq!(
        ran(&dir, &["--failed-first"]),
        ["a1", "a2", "a3", "b1", "b2", "c1"]
    );
    assert_eq!(ran(&dir, &["--rerun-failed"]), ["a2", "b1", "b2"]);
    // A run of other tests changes nothing of what it did not run.
    assert_eq!(ran(&dir, &["c.test.lua"]), ["c1"]);
    assert_eq!(
        ran(&dir, &["--failed-first"]),
        ["a2", "a1", "a3", "b1", "b2", "c1"]
    );
    fs::remove_file(dir.path().join("broken-b1")).expect("the mark");
    fs::remove_file(dir.path().join("broken-a2")).expect("the mark");
    assert_eq!(ran(&dir, &["--rerun-failed"]), ["a2", "b1", "b2"]);
    assert_eq!(
        ran(&dir, &["--failed-first"]),
        ["b2", "b1", "a1", "a2", "a3", "c1"]
    );
    // What failed is gone, test or file.
    write(&dir, "b.test.lua", &fails(&["b1"]));
    assert_eq!(ran(&dir, &["b.test.lua"]), ["b1"]);
    let again = run(&dir, &["--rerun-failed"]);
    let said = "provium: nothing to run again: what failed last has passed since\n";
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (Some(0), said),
        "{}",
        again.stdout
    );
}

#[test]
fn partitions_have_each_test_once() {
    let many: String = (0..20)
        .map(|n| format!("test('t{n}', function() end)\n"))
        .collect();
    let dir = project(&[("a.test.lua", &many), ("b.test.lua", &many.replace("'t", "'u"))]);
    for how in ["hash:", "slice:", ""] {
        let parts = (1..=3).map(|part| ran(&dir, &["--partition", &format!("{how}{part}/3")]));
        let parts: Vec<Vec<String>> = parts.collect();
        let mut all = parts.concat();
        all.sort();
        all.dedup();
        assert_eq!(
            (all.len(), parts.iter().map(Vec::len).sum::<usize>()),
            (40, 40),
            "{how}: {parts:?}"
        );
        if how == "slice:" {
            assert!(parts.iter().all(|part| part.len() >= 12), "{parts:?}");
        }
        assert!(parts.iter().all(|part| !part.is_empty()), "{how}: {parts:?}");
    }
    // A test stays in its part when others go, and a part without a test is no mistake.
    let before = ran(&dir, &["--partition", "hash:1/3"]);
    write(&dir, "b.test.lua", "");
    let after = ran(&dir, &["--partition", "hash:1/3"]);
    assert!(
        after.iter().all(|test| before.contains(test)) && !after.is_empty(),
        "{after:?}"
    );
    write(&dir, "a.test.lua", "test('alone', function() end)\n");
    let codes = (1..=3).map(|part| run(&dir, &["a.test.lua", "--partition", &format!("{part}/3")]).code);
    assert_eq!(codes.collect::<Vec<_>>(), [Some(0); 3]);
    let wrong = run(&dir, &["--partition", "4/3"]);
    assert!(
        wrong.stderr.contains("there is no part 4 of 3; they are 1 to 3"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn since_runs_what_changed_and_what_uses_it() {
    let test = |name: &str, uses: &str| format!("{uses}\ntest('{name}', function() end)\n");
    let dir = project(&[
        ("provium.toml", "[provium]\nroots = ['tests']\n"),
        ("tests/a.test.lua", &test("a", "")),
        ("tests/b.test.lua", &test("b", "require 'lib.help'")),
        (
            "tests/c.test.lua",
            &test("c", "local name = 'lib.help' require(name)"),
        ),
        ("tests/d.test.lua", &test("d", "local f = 'data/list.txt'")),
        ("tests/lib/help.lua", "return {}\n"),
        ("data/list.txt", "1\n"),
    ]);
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let who = [
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@example.com",
            "-c",
            "commit.gpgsign=false",
        ];
        let done = command
            .current_dir(dir.path())
            .args(who)
            .args(args)
            .output()
            .expect("git runs");
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    write(&dir, ".gitignore", ".provium\n");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "all"]);
    let none = run(&dir, &["--since", "main"]);
    assert_eq!(none.code, Some(0));
    assert!(
        none.stderr.contains("no test file has changed since main"),
        "{}",
        none.stderr
    );
    write(&dir, "tests/lib/help.lua", "return {1}\n");
    assert_eq!(ran(&dir, &["--since", "main"]), ["b", "c"]);
    git(&["commit", "-qam", "help"]);
    write(&dir, "tests/new.test.lua", &test("new", ""));
    write(&dir, "data/list.txt", "2\n");
    assert_eq!(ran(&dir, &["--since", "HEAD"]), ["d", "new"]);
    assert_eq!(ran(&dir, &["--since", "HEAD~1"]), ["b", "c", "d", "new"]);
    // Since a file was written.
    let mark = fs::File::create(dir.path().join("mark")).expect("a file");
    let later = SystemTime::now() + Duration::from_secs(100);
    mark.set_modified(later).expect("its time");
    assert_eq!(run(&dir, &["--since", "mark"]).code, Some(0));
    let test = fs::File::options()
        .append(true)
        .open(dir.path().join("tests/a.test.lua"));
    test.expect("a file")
        .set_modified(later + Duration::from_secs(1))
        .expect("its time");
    assert_eq!(ran(&dir, &["--since", "mark"]), ["a"]);
    let wrong = run(&dir, &["--since", "mian"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong
            .stderr
            .contains("--since mian: neither a file nor a revision"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_shuffled_order_is_named_and_can_be_repeated() {
    let many: String = (0..8)
        .map(|n| format!("test('t{n}', function() end)\n"))
        .collect();
    let dir = project(&[("a.test.lua", &many), ("b.test.lua", &many.replace("'t", "'u"))]);
    let plain = ran(&dir, &[]);
    let any = run(&dir, &["--shuffle", "--json", "-j1"]);
    let seed = any
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("provium: shuffled; "));
    let seed = seed
        .and_then(|line| line.strip_suffix(" repeats this order"))
        .expect("the seed");
    let order = names(&any.stdout);
    assert_eq!(ran(&dir, &[seed]), order);
    let orders: Vec<_> = (1..5)
        .map(|seed| ran(&dir, &[&format!("--shuffle={seed}")]))
        .collect();
    assert!(orders.iter().any(|order| *order != plain), "{orders:?}");
    assert!(
        orders.iter().any(|order| order[0].starts_with('u')),
        "files too: {orders:?}"
    );
    let mut sorted = orders[0].clone();
    sorted.sort();
    assert_eq!(sorted, plain, "each runs once");
}
