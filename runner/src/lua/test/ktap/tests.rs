//! Outputs of the kernel's tests, of perl's and of guests that mean harm; results in all ways they nest.

use proptest::prelude::*;

use super::*;

/// A line for each part, its own parts behind it and indented: name, status, first line of the message.
fn shown(parts: &[Subtest]) -> String {
    fn add(out: &mut String, depth: usize, parts: &[Subtest]) {
        for part in parts {
            let said = part
                .message
                .as_deref()
                .map(|said| format!(": {}", said.replace('\n', "|")));
            let line = format!(
                "{}{} {:?}{}\n",
                "  ".repeat(depth),
                part.name,
                part.status,
                said.unwrap_or_default()
            );
            out.push_str(&line);
            add(out, depth + 1, &part.subtests);
        }
    }
    let mut out = String::new();
    add(&mut out, 0, parts);
    out
}

#[track_caller]
fn reads(text: &str, expected: &[&str]) {
    assert_eq!(
        shown(&parse(text)).lines().collect::<Vec<_>>(),
        expected,
        "of {text}"
    );
}

#[test]
fn results_of_kselftest_are_behind_a_hash() {
    let text = "TAP version 13\n1..3\n# timeout set to 45\n# selftests: net: one\n# TAP version 13\n# 1..3\n\
                # ok 1 opens\n# # no luck\n# not ok 2 closes\n# ok 3 waits # SKIP no clock\n\
                # # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0\n\
                not ok 1 selftests: net: one # exit=1\n\
                # selftests: net: two\n# just says: ok, then\n# failed: 3\nnot ok 2 selftests: net: two # TIMEOUT 45 seconds\n\
                # selftests: net: three\nok 3 selftests: net: three # SKIP\n";
    reads(
        text,
        &[
            "selftests: net: one Failed",
            "  opens Passed",
            "  closes Failed: not ok|  no luck",
            "  waits Skipped: no clock",
            "selftests: net: two Failed: TIMEOUT 45 seconds|  just says: ok, then|  failed: 3",
            "selftests: net: three Skipped",
        ],
    );
}

#[test]
fn results_of_kunit_are_indented_and_stamped() {
    let text = "[    0.1] KTAP version 1\n[    0.1] 1..2\n\
                [    0.2]     KTAP version 1\n[    0.2]     # Subtest: list\n[    0.2]     1..2\n\
                [    0.3]     ok 1 list_add\n[    0.3]     ok 2 list_del # SKIP off\n\
                [    0.3] # list: pass:1 fail:0 skip:1 total:2\n[    0.3] ok 1 list\n\
                <6>[    0.4] random: crng init done\n\
                <6>[    0.4]     KTAP version 1\n<6>[    0.4]     # Subtest: hash\n<6>[    0.4]     1..1\n\
                <3>[    0.4]     # hash_add: EXPECTATION FAILED at lib/hash.c:3\n<6>[    0.4]     not ok 1 hash_add\n\
                <6>[    0.5] not ok 2 hash\n";
    reads(
        text,
        &[
            "list Passed",
            "  list_add Passed",
            "  list_del Skipped: off",
            "hash Failed",
            "  hash_add Failed: not ok|  hash_add: EXPECTATION FAILED at lib/hash.c:3",
        ],
    );
}

#[test]
fn results_of_tap_have_plans_at_either_end_and_explain_failures_behind_them() {
    let text = "TAP version 14\nok 1 - opens \\# twice\nnot ok 2 - reads\n# Failed test 'reads'\n#   got: 1\n\
                  ---\n  message: no\n  ...\nnot ok 3 - writes # TODO later\nok - four # todo mended\nok\n\
                # Subtest: inner\n    1..1\n    ok 1 - deep\nok 6 - inner\n1..6\n";
    reads(
        text,
        &[
            "opens # twice Passed",
            "reads Failed: not ok|  Failed test 'reads'|  got: 1",
            "writes Xfailed: later",
            "four Passed",
            "5 Passed",
            "inner Passed",
            "  deep Passed",
        ],
    );
}

#[test]
fn what_is_wrong_with_the_whole_is_a_failure() {
    reads(
        "1..2\nok 1 a\n",
        &["a Passed", "plan Failed: 2 result(s) were planned, 1 came"],
    );
    reads(
        "1..1\nok 1 a\nok 2 b\n",
        &[
            "a Passed",
            "b Passed",
            "plan Failed: 1 result(s) were planned, 2 came",
        ],
    );
    reads(
        "KTAP version 1\nok 1 a\nok 3 c\n",
        &[
            "a Passed",
            "c Passed",
            "plan Failed: a result has number 3, and there are 2",
        ],
    );
    let no_plan = "plan Failed: there is no plan (`1..N`), so nobody can tell whether these are all results";
    reads("TAP version 13\nok 1 a\n", &["a Passed", no_plan]);
    reads(
        "1..3\nok 1 a\nBail out! no disk\nok 2 b\n",
        &[
            "a Passed",
            "plan Failed: 3 result(s) were planned, 1 came",
            "Bail out! Failed: no disk",
        ],
    );
    reads("1..0 # SKIP no root\n", &["all Skipped: no root"]);
    reads("1..0\n", &["(K)TAP Failed: there is no result in the output"]);
    reads(
        "sh: not found\n",
        &["(K)TAP Failed: there is no result in the output"],
    );
    reads("", &["(K)TAP Failed: there is no result in the output"]);
    let cut = "1..1\n    # Subtest: net\n    1..2\n    ok 1 a\n";
    reads(
        cut,
        &[
            "plan Failed: 1 result(s) were planned, 0 came",
            "net Failed: its own result line is missing",
            "  a Passed",
            "  plan Failed: 2 result(s) were planned, 1 came",
        ],
    );
}

#[test]
fn a_line_of_the_whole_does_not_undo_a_part() {
    reads(
        "# 1..1\n# not ok 1 a\nok 1 x\n",
        &["x Failed", "  a Failed: not ok"],
    );
    reads(
        "  not ok 1 a\nnot ok 1 x # XFAIL bug\n",
        &["x Xfailed: bug", "  a Xfailed: not ok"],
    );
    reads("  1..0 # SKIP no root\nok 1 x # SKIP\n", &["x Skipped: no root"]);
    reads(
        "  ok 1 a\nnot ok 1 x # exit=1\n",
        &["x Failed: exit=1", "  a Passed"],
    );
}

#[test]
fn outputs_behind_one_another_are_counted_apart() {
    let text = "TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..2\nok 1 b\n";
    reads(
        text,
        &[
            "a Passed",
            "b Passed",
            "plan Failed: 2 result(s) were planned, 1 came",
        ],
    );
}

#[test]
fn words_are_no_results() {
    let text =
        "okay then\nnot okay\n1..x\nTAP version new\n# ok, then\nnothing ok 1\n1..1\nok 1 a # 4 of them\n";
    reads(text, &["a # 4 of them Passed"]);
}

#[test]
fn a_hostile_output_is_bounded() {
    // Depth.
    let deep: String = (0..5000)
        .map(|n| format!("{}ok 1 a\n", " ".repeat(n % 2000)))
        .collect();
    fn depth(parts: &[Subtest]) -> usize {
        parts
            .iter()
            .map(|part| 1 + depth(&part.subtests))
            .max()
            .unwrap_or(0)
    }
    assert!(depth(&parse(&deep)) <= DEPTH + 1);
    let hashes: String = (0..500).map(|n| format!("{}ok 1 a\n", "# ".repeat(n))).collect();
    assert!(depth(&parse(&hashes)) <= DEPTH + 1);
    // Number.
    let many = "ok\n".repeat(RESULTS + 10);
    let results = parse(&many);
    assert!(results.len() <= RESULTS + 2);
    assert!(
        results
            .iter()
            .any(|part| part.name == "results" && part.status == TestStatus::Failed)
    );
    // Length.
    let long = format!(
        "ok 1 {}\nnot ok 2 b\n{}",
        "ä".repeat(1 << 16),
        format!("# {}\n", "x".repeat(1 << 16)).repeat(1000)
    );
    let results = parse(&long);
    assert!(results[0].name.len() <= NAME);
    let message = results[1].message.as_deref().unwrap_or_default();
    assert!(
        message.len() <= (DIAGNOSTICS + 2) * (LINE + 3),
        "{}",
        message.len()
    );
    // Numbers.
    reads(
        "1..18446744073709551615\nok 18446744073709551615 a\n",
        &[
            "a Passed",
            "plan Failed: 18446744073709551615 result(s) were planned, 1 came",
        ],
    );
    reads("ok 99999999999999999999 a\n", &["99999999999999999999 a Passed"]);
}

/// A tree of results as a program may have them: what fails has parts that fail, or says why.
fn tree() -> impl Strategy<Value = Vec<Subtest>> {
    let leaf = ("[a-z][a-z ]{0,8}[a-z]", 0..4u8).prop_map(|(name, kind)| {
        let (status, message) = match kind {
            0 => (TestStatus::Failed, Some("not ok".to_owned())),
            1 => (TestStatus::Skipped, Some("why".to_owned())),
            2 => (TestStatus::Xfailed, Some("bug 7".to_owned())),
            _ => (TestStatus::Passed, None),
        };
        Subtest {
            message,
            ..Subtest::new(name, status)
        }
    });
    let part = leaf.prop_recursive(4, 40, 5, |inner| {
        ("[a-z]{1,8}", prop::collection::vec(inner, 1..5)).prop_map(|(name, subtests)| {
            let status = if has_failed(&subtests) {
                TestStatus::Failed
            } else {
                TestStatus::Passed
            };
            Subtest {
                subtests,
                ..Subtest::new(name, status)
            }
        })
    });
    prop::collection::vec(part, 1..6)
}

/// The tree as a program prints it, with so many columns for a level, or behind hashes.
fn print(parts: &[Subtest], before: &str, step: &str, version: &str, out: &mut String) {
    out.push_str(&format!("{before}{version}\n{before}1..{}\n", parts.len()));
    for (at, part) in parts.iter().enumerate() {
        if !part.subtests.is_empty() {
            print(&part.subtests, &format!("{before}{step}"), step, version, out);
        }
        let (ok, directive) = match part.status {
            TestStatus::Failed => ("not ok", ""),
            TestStatus::Skipped => ("ok", " # SKIP why"),
            TestStatus::Xfailed => ("not ok", " # TODO bug 7"),
            _ => ("ok", ""),
        };
        out.push_str(&format!("{before}{ok} {} - {}{directive}\n", at + 1, part.name));
    }
}

proptest! {
    #[test]
    fn what_a_program_prints_is_read_however_it_nests(parts in tree(), step in 0..4usize, noise in "[ -~]{0,12}") {
        let step = ["  ", "    ", "# ", "#   "][step];
        for version in ["KTAP version 1", "TAP version 14"] {
            let mut text = String::new();
            print(&parts, "", step, version, &mut text);
            prop_assert_eq!(&parse(&text), &parts, "{}", text);
            // Lines of something else in between change nothing.
            let noisy = text.replace('\n', &format!("\n: {noise}\n"));
            prop_assert_eq!(&parse(&noisy), &parts, "{}", noisy);
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "((not )?ok|1\\.\\.|#|TAP version|KTAP version|Bail out!|[ 0-9]|\\PC|\n){0,200}") {
        let parts = parse(&text);
        prop_assert!(!parts.is_empty());
    }
}
