//! Some of the kernel's own tests of its interface to programs, with the script that runs them.
//!
//! Input: the kernel's source. Output: an archive for a guest: `kselftest/runner.sh`, and static programs in
//! folders as `make install` in `tools/testing/selftests` leaves them. Not here: running them, which a test
//! of ours does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use provium_debian::cache::{self, Cache};

use super::kernel::{self, Source};
use crate::command::{output, run};

/// Part of the cache key: raised when the steps below leave something else.
const RECIPE: &str = "1";
/// The archive's file name, in cache entries and in `target/guest/`.
pub(super) const FILE: &str = "selftests.tar.gz";
/// The script, below the folder of all.
const RUNNER: &str = "kselftest/runner.sh";
/// The programs: those that need no library but the C library, and no more of a kernel than ours
/// has: all their cases pass there.
const PROGRAMS: [&str; 9] = [
    "core/close_range_test",
    "openat2/openat2_test",
    "pidfd/pidfd_fdinfo_test",
    "pidfd/pidfd_getfd_test",
    "pidfd/pidfd_open_test",
    "pidfd/pidfd_setns_test",
    "pidfd/pidfd_wait",
    "sigaltstack/sas",
    "syscall_user_dispatch/sud_test",
];

/// The archive, from the cache or built.
///
/// # Errors
/// When the source cannot be had or a program does not compile.
pub(super) fn archive(cache: &Cache<'_>) -> Result<PathBuf> {
    let source = Source::find()?;
    let parts = ["selftests", RECIPE, kernel::PACKAGE, source.version(), RUNNER];
    let key = cache::key(parts.into_iter().chain(PROGRAMS));
    let entry = cache.get(&format!("selftests-{key}"), |scratch, out| {
        build(&source.unpack(scratch)?, scratch, out)
    })?;
    Ok(entry.join(FILE))
}

/// Builds the programs of the kernel's source in `tree` and leaves the archive in `out`.
fn build(tree: &Path, scratch: &Path, out: &Path) -> Result<()> {
    println!("   building {} of the kernel's own tests", PROGRAMS.len());
    let objects = scratch.join("objects");
    std::fs::create_dir_all(&objects)?;
    run(kernel::make(tree, &objects).arg("headers"))?;
    let flags = format!(
        "CFLAGS=-O2 -D_GNU_SOURCE -pthread -isystem {}/usr/include",
        objects.display()
    );
    let (sources, all) = (tree.join("tools/testing/selftests"), scratch.join("all"));
    for program in PROGRAMS {
        let built = all.join(program);
        let folder = built.parent().context("a program is in a folder")?;
        std::fs::create_dir_all(folder)?;
        let name = folder.strip_prefix(&all)?;
        let mut make = Command::new("make");
        make.arg("--silent").arg("-C").arg(sources.join(name));
        make.arg(format!("OUTPUT={}", folder.display()));
        make.args([&flags, "LDFLAGS=-static"]).arg(&built);
        make.env("LC_ALL", "C").env_remove("MAKEFLAGS").env_remove("ARCH");
        output(&mut make)?;
        run(Command::new("strip").arg(&built))?;
    }
    let runner = all.join(RUNNER);
    std::fs::create_dir_all(runner.parent().context("the script is in a folder")?)?;
    std::fs::copy(sources.join(RUNNER), &runner).with_context(|| format!("copy {RUNNER}"))?;
    kernel::pack(&all, &out.join(FILE))
}
