//! `cargo xtask test` and `cargo xtask soak`: everything that CI checks, and the long version of some tests.
//!
//! Input: which parts. Output: a summary whose last line is `N passed, N failed`. A phase that fails does not
//! keep the others from running; each that could not be carried out counts as one failure.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::command::run;
use crate::host_tests::{self, Count};
use crate::kvm::{self, Selection};
use crate::phases::Phases;
use crate::{demo, fuzz, guest, lua_tests, packages, tidy, workspace};

/// A part of the suite, to be run alone while working on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting, clippy and the rules of the house
    Lint,
    /// Unit tests and doctests, which need no guest
    Host,
    /// A few seconds of each fuzz target
    Fuzz,
    /// Whole-program tests, which need a KVM
    Kvm,
    /// The Lua tests of examples/ and tests/lua/
    Lua,
    /// The Lua examples of README.md and docs/
    Docs,
}

/// Runs the suite, or some parts of it.
///
/// # Errors
/// When anything failed; what it was has been printed.
pub(crate) fn test(parts: &[Part], filter: &str) -> Result<()> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let mut phases = Phases::new();
    let (mut host, mut lua, mut docs) = (None, None, None);
    let mut kvm = None;
    phases.run("packages", packages::for_tests);
    if wanted(Part::Lint) {
        phases.run("cargo fmt --check", || {
            run(workspace::cargo().args(["fmt", "--all", "--check"]))
        });
        phases.run("cargo clippy", clippy);
        phases.run("rules of the house", tidy::check);
    }
    if wanted(Part::Host) {
        host = phases.run("host tests", host_tests::run);
    }
    if wanted(Part::Fuzz) {
        phases.run("fuzz targets", fuzz::short_pass);
    }
    if wanted(Part::Kvm) || wanted(Part::Lua) || wanted(Part::Docs) {
        let guest = phases.run("guest kernel and initrd", || guest::build(&[]));
        if let (Some(()), Some(provium)) = (guest, phases.run("build provium", demo::build_provium)) {
            if wanted(Part::Kvm) {
                let selection = Selection {
                    filter: filter.to_owned(),
                    ..Selection::default()
                };
                kvm = phases.run("KVM tests", || kvm::run(&provium, &selection));
            }
            if wanted(Part::Lua) {
                lua = phases.run("Lua tests", || lua_tests::run(&provium));
            }
            if wanted(Part::Docs) {
                docs = phases.run("examples of the documentation", || {
                    lua_tests::run_documented(&provium)
                });
            }
        }
    }
    phases.print();
    let lua = [lua, docs].into_iter().flatten().reduce(|all, more| Count {
        passed: all.passed + more.passed,
        failed: all.failed + more.failed,
    });
    conclude(phases.failed(), host, kvm.as_ref(), lua)
}

/// A test that does something so often that the ordinary suite has no time for it.
pub(crate) struct Soak {
    /// What it does.
    pub(crate) what: &'static str,
    /// Names of the tests.
    pub(crate) filter: &'static str,
    /// Where the tests look how often.
    pub(crate) variable: &'static str,
    /// How often; never leaves the tests out.
    pub(crate) times: u32,
}

/// Runs what is done often, one kind after the other.
///
/// # Errors
/// When anything failed; what it was has been printed.
pub(crate) fn soak(soaks: &[Soak]) -> Result<()> {
    let mut phases = Phases::new();
    let mut all = kvm::Summary::default();
    let provium = phases.run("packages", packages::for_tests).and_then(|()| {
        phases.run("guest kernel and initrd", || guest::build(&[]))?;
        phases.run("build provium", demo::build_provium)
    });
    if let Some(provium) = provium {
        for soak in soaks.iter().filter(|soak| soak.times > 0) {
            let selection = Selection {
                filter: soak.filter.to_owned(),
                limit: 120 + 10 * u64::from(soak.times),
                times: Some((soak.variable, soak.times)),
            };
            let summary = phases.run(&format!("{} {}", soak.times, soak.what), || {
                kvm::run(&provium, &selection)
            });
            all.add(summary.unwrap_or_default());
        }
    }
    phases.print();
    conclude(phases.failed(), None, Some(&all), None)
}

fn clippy() -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ];
    run(workspace::cargo().args(arguments))
}

fn conclude(
    failed_phases: usize,
    host: Option<Count>,
    kvm: Option<&kvm::Summary>,
    lua: Option<Count>,
) -> Result<()> {
    print!("{}", summary(failed_phases, host, kvm, lua));
    let kvm = kvm.map(|kvm| Count {
        passed: kvm.passed,
        failed: kvm.failed.len(),
    });
    let counts = [host, kvm, lua].map(Option::unwrap_or_default);
    let passed: usize = counts.iter().map(|count| count.passed).sum();
    let failed: usize = counts.iter().map(|count| count.failed).sum::<usize>() + failed_phases;
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} failure(s)");
    }
    Ok(())
}

fn summary(
    failed_phases: usize,
    host: Option<Count>,
    kvm: Option<&kvm::Summary>,
    lua: Option<Count>,
) -> String {
    let mut text = String::from("\n");
    let mut line = |name: &str, count: Count, place: &str| {
        text.push_str(&format!(
            "{name}: {} passed, {} failed{place}\n",
            count.passed, count.failed
        ));
    };
    if let Some(count) = host {
        line("host tests", count, "");
    }
    if let Some(kvm) = kvm {
        let count = Count {
            passed: kvm.passed,
            failed: kvm.failed.len(),
        };
        line("KVM tests", count, &format!(", on {}", kvm.place));
    }
    if let Some(count) = lua {
        line("Lua tests", count, "");
    }
    for test in kvm.iter().flat_map(|kvm| &kvm.flaky) {
        text.push_str(&format!("  flaky: {test} passed at the second attempt only\n"));
    }
    for test in kvm.iter().flat_map(|kvm| &kvm.failed) {
        text.push_str(&format!("  failed: {test}\n"));
    }
    if failed_phases > 0 {
        text.push_str(&format!(
            "{failed_phases} phase(s) failed, each counted as one failure\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_how_many_ran_and_where() {
        let kvm = kvm::Summary {
            passed: 40,
            failed: vec!["boot::smp".to_owned()],
            flaky: vec!["ends::panic".to_owned()],
            place: "2 emulated hosts".to_owned(),
        };
        let text = summary(
            1,
            Some(Count {
                passed: 300,
                failed: 0,
            }),
            Some(&kvm),
            None,
        );
        assert_eq!(
            text,
            "\nhost tests: 300 passed, 0 failed\nKVM tests: 40 passed, 1 failed, on 2 emulated hosts\n  \
             flaky: ends::panic passed at the second attempt only\n  failed: boot::smp\n\
             1 phase(s) failed, each counted as one failure\n"
        );
    }

    #[test]
    fn a_phase_that_failed_is_never_lost() {
        assert!(conclude(1, Some(Count { passed: 5, failed: 0 }), None, None).is_err());
        assert!(conclude(0, Some(Count { passed: 5, failed: 0 }), None, None).is_ok());
        assert!(conclude(0, None, None, Some(Count { passed: 5, failed: 1 })).is_err());
    }
}
