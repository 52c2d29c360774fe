//! Files whose tests are to run side by side and cannot, without a machine.

use super::*;

#[test]
fn tests_side_by_side_need_a_fixture() {
    let result = run("provium.parallel = true\ntest('a', function() end)");
    assert_eq!(
        result.chunk_error.as_deref(),
        Some(
            "provium.parallel: each test gets a guest of its own out of a fixture, and the file's own code takes \
             none; use provium:vm_fixture or provium:lab_fixture there"
        )
    );
    assert!(!result.passed && result.tests.is_empty());
    let result = run("provium.parallel = false\ntest('a', function() end)");
    assert!(result.passed, "{result:?}");
}

#[test]
fn the_setting_is_a_boolean_of_the_file() {
    let error = run("provium.parallel = 1").chunk_error.expect("it is refused");
    assert!(
        error.contains("provium.parallel: expected true or false, got"),
        "{error}"
    );
    let result = run("test('a', function() provium.parallel = true end)");
    let message = result.tests[0].message.as_deref().unwrap_or_default();
    assert!(
        message.contains("provium.parallel is set at file scope, and a test runs"),
        "{message}"
    );
}
