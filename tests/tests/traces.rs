//! Traces of the guest kernel with the file of its debug information, as `cargo xtask guest` leaves it.

use provium_symbols::{KernelFiles, Symbolizer};
use provium_tests::*;
use provium_vmm::EndReason;

/// What the console shows of a panic that the guest was asked for.
fn panic_of(kernel: &str) -> String {
    let mut guest = boot_guest(provium_vmm::MachineConfig {
        kernel: artifact(kernel),
        ..config_with("console=ttyS0")
    });
    // The answer does not come.
    let _ = guest
        .client
        .ask(provium_guest::ops::exec(provium_guest::ExecSpec::shell(
            "echo c > /proc/sysrq-trigger",
        )));
    let end = guest.machine.wait_end(Some(LONG));
    assert!(matches!(end, Some(EndReason::Panic(_))), "{end:?}");
    let log = String::from_utf8_lossy(&guest.machine.console_log()).into_owned();
    log[log.find("sysrq: Trigger a crash").expect("the trace")..].to_owned()
}

fn symbols(kernel: &str) -> Symbolizer {
    Symbolizer::new(KernelFiles {
        kernel: artifact(kernel),
        debuginfo: Vec::new(),
    })
}

/// Lines of a trace that name a place.
fn places(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("+0x") && !line.contains("Code:"))
        .collect()
}

#[test]
fn a_panic_of_the_guest_kernel_has_files_and_lines() {
    let text = panic_of("vmlinux");
    let annotated = symbols("vmlinux").annotate(&text);
    let all = places(&annotated);
    assert!(all.len() > 5, "{annotated}");
    for line in &all {
        assert!(
            line.contains(".c:") || line.contains(".S:") || line.contains(".h:"),
            "{line}"
        );
        assert!(
            !line.contains("(/") && !line.contains("../"),
            "a path that is not short: {line}"
        );
    }
    let find = |name: &str| {
        let found = all.iter().find(|line| line.contains(name));
        *found.unwrap_or_else(|| panic!("no {name} in {annotated}"))
    };
    assert!(find(" vfs_write+0x").contains("fs/read_write.c:"), "{annotated}");
    assert!(
        find(" write_sysrq_trigger+0x").contains("(drivers/tty/sysrq.c:"),
        "{annotated}"
    );
    assert!(
        find(" do_syscall_64+0x").contains("arch/x86/entry/common.c:"),
        "{annotated}"
    );
}

#[test]
fn a_bzimage_is_known_by_its_version() {
    let text = panic_of("bzImage");
    let annotated = symbols("bzImage").annotate(&text);
    assert!(annotated.contains("(drivers/tty/sysrq.c:"), "{annotated}");
}
