//! Where files of the host are looked for.

use super::*;

/// Runs `tests/a.test.lua` of a project; its files hold their own paths, and `same` is in both folders.
fn run_below(body: &str) -> TestResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, content: &[u8]| {
        std::fs::create_dir_all(dir.path().join("tests/lib")).expect("a folder");
        std::fs::write(dir.path().join(path), content).expect("a file");
    };
    write("kernel", b"none");
    for path in ["same", "top", "tests/same", "tests/lib/same"] {
        let mut content = path.as_bytes().to_vec();
        content.resize(512, b' ');
        write(path, &content);
    }
    // Not `return vm:attach_disk…`: after a tail call Lua does not know the helper any more.
    let helper = b"return function(vm) local disk = vm:attach_disk{image = 'same'} return disk end";
    write("tests/lib/helper.lua", helper);
    write("tests/lib/loaded.lua", helper);
    let toml = "[provium]\nroots = ['tests/lib']\ncache_dir = 'cache'\n[profiles.p]\nkernel = 'kernel'\ncmdline = 'quiet'\n";
    write("provium.toml", toml.as_bytes());
    let config = Config::load(None, dir.path(), &[], &Environment::default()).expect("a good file");
    let source = format!(
        "local function is(t, disk, text) t:assert_eq(disk:read_sectors(0, 1):gsub(' *$', ''), text) end\n\
         test('the test', function(t)\nlocal vm = provium:vm('a', 'p')\n{body}\nend)"
    );
    let mut job = job(&dir.path().join("tests"), &source);
    job.shown = "tests/a.test.lua".to_owned();
    job.config = Arc::new(config);
    job.fixtures = fixtures(&job.config);
    let mut result = run_file(&job, &silent());
    assert_eq!(result.chunk_error, None, "for {body}");
    let mut result = result.tests.pop().expect("one test");
    let shown = dir.path().to_string_lossy();
    result.message = result.message.map(|message| message.replace(&*shown, "DIR"));
    result
}

#[test]
fn beside_the_calling_file_then_in_the_project() {
    let result = run_below(
        "is(t, vm:attach_disk{image = 'same'}, 'tests/same')
         is(t, vm:attach_disk{image = 'top'}, 'top')
         is(t, vm:attach_disk{image = 'tests/same'}, 'tests/same')
         is(t, vm:attach_disk{image = '../same'}, 'same')
         is(t, require('helper')(vm), 'tests/lib/same')
         is(t, dofile('tests/lib/loaded.lua')(vm), 'tests/lib/same')
         local other = provium:vm('b', 'p', {disks = {{path = 'same'}}})
         is(t, other:disk('disk0'), 'tests/same')
         provium:depends_on_file('same')
         provium:depends_on_file('top')",
    );
    assert_eq!(result.status, TestStatus::Passed, "{:?}", result.message);
}

#[test]
fn one_that_is_nowhere_is_an_error_that_names_both_places() {
    let nowhere = "`none`: no such file on the host, neither DIR/tests/none nor DIR/none";
    for body in [
        "provium:depends_on_file('none')",
        "vm:attach_disk{image = 'none'}",
        "provium:vm('b', 'p', {disks = {{path = 'none'}}})",
        "provium:vm('b', 'p', {files = {['/x'] = 'none'}})",
        "provium:vm('b', 'p', {files = {{path = '/x', host = 'none'}}})",
        "vm:push_file('none', '/x')",
    ] {
        let message = run_below(body).message.expect(body);
        assert!(message.contains(nowhere), "{body}: {message}");
    }
    let message = run_below("provium:depends_on_file('/no/such')")
        .message
        .expect("an error");
    assert!(
        message.contains("depends_on_file: /no/such: no such file on the host\n"),
        "{message}"
    );
}

#[test]
fn folders_where_files_are_meant_and_the_other_way_round_are_named() {
    for (body, expected) in [
        (
            "vm:push_file('lib', '/x')",
            "vm:push_file: DIR/tests/lib is a folder, and only files are copied",
        ),
        (
            "vm:pull_file('/x', 'no/such')",
            "vm:pull_file: folder DIR/no does not exist on the host",
        ),
        ("vm:restore('no')", "vm:restore: there is no snapshot in DIR/no"),
        (
            "vm:restore('tests')",
            "vm:restore: there is no snapshot in DIR/tests",
        ),
        (
            "provium:restore('no')",
            "provium:restore: there is no snapshot in DIR/no",
        ),
    ] {
        let message = run_below(body).message.expect(body);
        assert!(message.starts_with(&format!("{expected}\n")), "{body}: {message}");
    }
}
