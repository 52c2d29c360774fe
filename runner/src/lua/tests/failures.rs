//! What a failed test's result knows beside its message.

use provium_base::failure::{Failure, SourcePlace};

use super::*;
use crate::session::artifacts::Artifacts;

/// The failure of the one test of a project with this helper, `lib/helper.lua`.
fn failure_with(helper: &str, source: &str) -> Failure {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("lib")).expect("a folder");
    std::fs::write(dir.path().join("lib/helper.lua"), helper).expect("a helper");
    let mut result = run_file(&job(dir.path(), source), &silent());
    let test = result.tests.pop().expect("a test");
    *test.failure.expect("it failed")
}

fn shown(place: Option<&SourcePlace>) -> String {
    let place = place.expect("a place");
    let lines = place
        .excerpt
        .iter()
        .map(|line| format!("{} {}", line.line, line.text));
    format!(
        "{}:{}\n{}",
        place.path,
        place.line,
        lines.collect::<Vec<_>>().join("\n")
    )
}

#[test]
fn a_failure_has_its_line_and_those_around_it() {
    let failure = failure_with(
        "",
        "-- one\ntest('t', function(t)\n  -- three\n  t:fail('no')\nend)\n",
    );
    assert_eq!(failure.message, "no");
    assert_eq!(
        shown(failure.place.as_ref()),
        "a.test.lua:4\n2 test('t', function(t)\n3   -- three\n4   t:fail('no')\n5 end)"
    );
    assert_eq!(failure.helper, None);
}

#[test]
fn an_assertion_in_a_helper_has_both_places() {
    let helper = "local M = {}\nfunction M.check(t)\n  t:assert_eq(1, 2)\nend\nreturn M\n";
    let source = "local helper = require('helper')\ntest('t', function(t)\n  helper.check(t)\nend)\n";
    let failure = failure_with(helper, source);
    assert_eq!(failure.message, "values differ\n  left:  1\n  right: 2");
    assert!(shown(failure.place.as_ref()).starts_with("a.test.lua:3\n"));
    assert_eq!(
        shown(failure.helper.as_ref()),
        "lib/helper.lua:3\n1 local M = {}\n2 function M.check(t)\n3   t:assert_eq(1, 2)\n4 end\n5 return M"
    );
}

#[test]
fn an_error_in_a_helper_has_its_place_once() {
    let helper = "return function() error('broken') end\n";
    let source = "local helper = require('helper')\ntest('t', function(t)\n  helper()\nend)\n";
    let failure = failure_with(helper, source);
    assert_eq!(failure.message, "broken");
    assert_eq!(
        shown(failure.helper.as_ref()),
        format!("lib/helper.lua:1\n1 {}", helper.trim_end())
    );
}

#[test]
fn what_a_helper_is_given_to_run_fails_in_the_test_file() {
    let helper = "return function(f) f() end\n";
    let source = "local helper = require('helper')\ntest('t', function(t)\n  helper(function()\n    t:fail('here')\n  end)\nend)\n";
    let failure = failure_with(helper, source);
    assert_eq!(failure.place.map(|place| place.line), Some(4));
    assert_eq!(failure.helper, None);
}

#[test]
fn a_time_limit_in_a_helper_has_both_places() {
    let helper = "return function()\n  while true do end\nend\n";
    let source =
        "local helper = require('helper')\ntest('t', {timeout = 0.05}, function(t)\n  helper()\nend)\n";
    let failure = failure_with(helper, source);
    assert_eq!(failure.place.map(|place| place.line), Some(3));
    assert_eq!(
        failure.helper.map(|place| (place.path, place.line)),
        Some(("lib/helper.lua".into(), 2))
    );
}

#[test]
fn a_file_that_fails_has_its_place() {
    let result = run("local a = 1\nerror('no')\n");
    let failure = result.failure.expect("a failure");
    assert_eq!(failure.message, "no");
    assert!(shown(failure.place.as_ref()).starts_with("a.test.lua:2\n1 local a = 1\n2 error('no')"));
    assert_eq!(result.chunk_error.as_deref(), Some("a.test.lua:2: no"));
}

/// Runs a file whose artifacts go to `out` of the project, and looks at them: names and contents of the files
/// below the folders of its tests.
fn artifacts_of(source: &str) -> (FileResult, Vec<(String, String)>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out");
    let mut job = job(dir.path(), source);
    job.artifacts = Some(Arc::new(Artifacts::new(out.clone(), "out".to_owned())));
    let result = run_file(&job, &silent());
    let mut files: Vec<_> = walkdir::WalkDir::new(&out)
        .min_depth(3)
        .into_iter()
        .filter_map(|entry| entry.ok())
        .map(|entry| {
            let name = entry
                .path()
                .strip_prefix(&out)
                .expect("below it")
                .display()
                .to_string();
            (name, std::fs::read_to_string(entry.path()).expect("text"))
        })
        .collect();
    files.sort();
    (result, files)
}

#[test]
fn a_failed_test_leaves_its_log_its_long_values_and_what_it_adds() {
    let (result, files) = artifacts_of(
        "test('adds, up', function(t)\n\
           t:log('said')\n\
           t:artifact('state.json', '{}')\n\
           t:artifact('state.json', '{1}')\n\
           t:assert_eq(('x'):rep(5000), 1)\n\
         end)",
    );
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    let folder = "a.test.lua/adds-up";
    let expected =
        ["left.txt", "log.txt", "message.txt", "state.json"].map(|name| format!("{folder}/{name}"));
    assert_eq!(names, expected);
    assert_eq!(
        (files[0].1.len(), files[1].1.as_str(), files[3].1.as_str()),
        (5000, "said\n", "{1}")
    );
    let failure = result.tests[0].failure.as_ref().expect("it failed");
    assert_eq!(failure.artifacts.as_deref(), Some("out/a.test.lua/adds-up"));
}

#[test]
fn a_test_that_passes_leaves_nothing_even_when_it_failed_before() {
    let (_, files) = artifacts_of(
        "local n = 0\n\
         test('one', function(t) t:artifact('a', 'x') end)\n\
         test('flaky', {retries = 1}, function(t) n = n + 1 t:artifact('a', 'x') t:assert_eq(n, 2) end)",
    );
    assert_eq!(files, []);
}

#[test]
fn a_file_that_fails_leaves_its_message() {
    let (result, files) = artifacts_of("error('no')");
    assert_eq!(
        files,
        [("a.test.lua/file/message.txt".to_owned(), "no\n".to_owned())]
    );
    assert!(result.failure.expect("a failure").artifacts.is_some());
}

#[test]
fn artifacts_that_cannot_be_are_refused() {
    for (body, expected) in [
        (
            "t:artifact('a/b', 'x')",
            "t:artifact: the name `a/b` has a `/` or a NUL",
        ),
        ("t:artifact('..', 'x')", "the name `..` is no file's"),
        (
            "t:artifact('a', 1)",
            "expected a string of data, or {guest = path, vm = vm}",
        ),
        ("t:artifact('a', {})", "expected a path of the guest"),
        (
            "t:artifact('a', {gest = 'x'})",
            "unknown option `gest`; did you mean `guest`?",
        ),
        ("t:artifact('a', {guest = '/x', vm = 1})", "expected a VM"),
        (
            "t:artifact('a', ('x'):rep(65 * 1024 * 1024))",
            "a test can keep 64 MiB",
        ),
    ] {
        let message = failure(body);
        assert!(message.contains(expected), "{body}: {message}");
    }
}
