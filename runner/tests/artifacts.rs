//! `--artifacts`: what the built command leaves of failed tests, where no guest is needed.

mod support;

use std::fs;
use std::path::Path;

const FAILS: &str = "\
test('is fine', function(t) t:artifact('fine.txt', 'not kept') end)
test('is not', function(t)
  t:assert_raises(function() t:artifact('../note.txt', 'elsewhere') end, {match = '../note.txt'})
  t:artifact('note.txt', 'a note\\n')
  t:log('before')
  t:fail('on purpose')
end)
";
const PASSES: &str = "test('is fine', function(t) t:artifact('fine.txt', 'not kept') end)\n";

/// Runs the tests of that text; returns the exit code and the report.
fn run(folder: &Path, tests: &str) -> (Option<i32>, String) {
    fs::write(folder.join("a.test.lua"), tests).expect("write the tests");
    let output = support::provium(folder, &["--artifacts", "kept"]).output();
    let ran = support::finished(output.expect("the command starts"));
    (ran.code, ran.stdout)
}

/// Paths of all files below `folder`, sorted.
fn files(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file());
    let shown = |entry: walkdir::DirEntry| {
        let path = entry.path().strip_prefix(folder).expect("below it");
        path.to_string_lossy().into_owned()
    };
    files.map(shown).collect()
}

#[test]
fn a_failed_test_leaves_a_folder_and_the_next_run_takes_it_away() {
    let project = tempfile::tempdir().expect("a folder");
    let kept = project.path().join("kept");
    let (code, report) = run(project.path(), FAILS);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("kept/a.test.lua/is-not"), "{report}");
    let there = files(&kept);
    let of_test = |file: &&String| file.starts_with("a.test.lua/");
    assert!(
        there.iter().any(|file| file == "a.test.lua/is-not/log.txt"),
        "{there:?}"
    );
    assert!(
        there
            .iter()
            .filter(of_test)
            .all(|file| file.starts_with("a.test.lua/is-not/")),
        "of the test that passed nothing is kept: {there:?}"
    );
    let note = there
        .iter()
        .find(|file| file.ends_with("note.txt"))
        .expect("the note");
    assert_eq!(fs::read_to_string(kept.join(note)).expect("the note"), "a note\n");

    let (code, report) = run(project.path(), PASSES);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(
        files(&kept).iter().filter(of_test).count(),
        0,
        "{:?}",
        files(&kept)
    );
}

#[test]
fn a_folder_of_somebody_else_is_not_emptied() {
    let project = tempfile::tempdir().expect("a folder");
    let own = project.path().join("kept");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("thesis.txt"), "years of work").expect("write");
    run(project.path(), FAILS);
    let left = fs::read_to_string(own.join("thesis.txt"));
    assert_eq!(left.expect("still there"), "years of work");
}
