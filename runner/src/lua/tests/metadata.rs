//! Metadata of tests, and the tests that are chosen by it.

use super::*;

fn run_with_profile(filter: NameFilter, source: &str) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let profile = "[profiles.min]\nkernel = \"none\"\ncmdline = \"quiet\"\n";
    std::fs::write(dir.path().join("provium.toml"), profile).expect("a file");
    let mut job = job(dir.path(), source);
    job.selection = Arc::new(filter.into());
    job.config =
        Arc::new(Config::load(None, dir.path(), &[], &Environment::default()).expect("a configuration"));
    run_file(&job, &silent())
}

#[test]
fn what_is_refused_is_said() {
    for (body, expected) in [
        (
            "test('a', print) test('a', print)",
            "test: duplicate name `a` in this file",
        ),
        (
            "wait_until(function() end, {timeout = '20ms', desc = 'the thing'})",
            "wait_until: the thing not met within 0.02s",
        ),
        ("wait_until(function() error('mine', 0) end)", "mine"),
        (
            "test('x', {slow = 1}, print)",
            "test: metadata `slow`: expected true or false, got number",
        ),
        (
            "test('x', {tags = {1}}, print)",
            "test: metadata `tags`: expected an array of strings",
        ),
        (
            "test('x', {spec = true}, print)",
            "test: metadata `spec`: expected a string or an array of strings, got boolean",
        ),
        (
            "test('x', {mine = print}, print)",
            "test: metadata `mine`: expected a string, a number, true, false or a table, got function",
        ),
        (
            "test('x', {'net'}, print)",
            "test: metadata: expected names as keys, got the key 1; write {tags = {\"a\", \"b\"}}",
        ),
        (
            "test('x', {tmieout = 1}, print)",
            "test: metadata `tmieout`: did you mean `timeout`? (a key of your own differs from it in more than 2 letters)",
        ),
        (
            "test('x', {skiped = true}, print)",
            "test: metadata `skiped`: did you mean `skip`?",
        ),
        (
            "test('x', {retires = 2}, print)",
            "test: metadata `retires`: did you mean `retries`?",
        ),
        (
            "test('x', {tag = 7}, print)",
            "test: metadata `tags`: expected a string or an array of strings, got number",
        ),
    ] {
        let result = run_with_profile(NameFilter::default(), body);
        let error = result.chunk_error.unwrap_or_default();
        let error = error.strip_prefix("a.test.lua:1: ").unwrap_or(&error);
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

#[test]
fn tests_are_chosen_by_their_metadata() {
    let source = r##"
        test("plain", print)
        test("slow", {slow = true, tags = "net"}, print)
        test("tagged", {tags = {"net", "fast"}, spec = "4.2"}, print)
        test("one tag", {tag = "net"}, print)
        test("own", {area = "fs", level = 3, list = {"x", "y"}}, print)
    "##;
    let chosen = |with: &[&str], without: &[&str], include_slow| {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("KEY=VALUE"))
                .collect()
        };
        let filter = NameFilter {
            with: parse(with),
            without: parse(without),
            include_slow,
            ..NameFilter::default()
        };
        let result = run_with_profile(filter, source);
        let tests = result.tests.iter();
        tests
            .map(|test| format!("{} {:?}", test.name, test.status))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        chosen(&[], &[], false),
        [
            "plain Passed",
            "slow Skipped",
            "tagged Passed",
            "one tag Passed",
            "own Passed"
        ]
    );
    let net = ["slow Passed", "tagged Passed", "one tag Passed"];
    assert_eq!(chosen(&["tags=net"], &[], true), net);
    assert_eq!(chosen(&["tag=net"], &[], true), net);
    assert_eq!(
        chosen(&["tags=net"], &["tags=fast"], false),
        ["slow Skipped", "one tag Passed"]
    );
    assert_eq!(chosen(&["spec=4.2"], &[], false), ["tagged Passed"]);
    assert_eq!(chosen(&["level=3", "list=y"], &[], false), ["own Passed"]);
    assert_eq!(chosen(&["slow=true"], &[], false), ["slow Skipped"]);
}
