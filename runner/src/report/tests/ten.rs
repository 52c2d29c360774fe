//! What ten sorts of failures look like: each is read on one screen of 80 columns and 24 lines.
//!
//! Input: results as runs on guests made them. Output: snapshots of the plain report. Not here: whether a run
//! makes such results.

use insta::assert_snapshot;
use provium_base::failure::{DeadVm, Failure, GuestConsole, GuestSplat, SourcePlace};
use provium_base::outcome::{FileEnd, FileResult, TestStatus};

use super::{end, plain};
use crate::report::Verbosity;
use crate::samples;

const SOURCE: &str = "\
test(\"answers\", function(t)
  local vm = provium:vm(\"g\", \"small\"):boot()
  local result = vm:run(\"cat /etc/motd\")
  t:assert_eq(result.stdout, \"hello\")
  t:log(\"done\")
end)
";

/// A file whose one test failed with this message in a line of [`SOURCE`].
fn failed(message: &str, line: u32, add: impl FnOnce(&mut Failure)) -> FileEnd {
    let mut failure = Failure {
        message: message.to_owned(),
        place: Some(SourcePlace::new("net.test.lua", line, SOURCE)),
        artifacts: Some("target/provium/net.test.lua/answers".to_owned()),
        ..Failure::default()
    };
    add(&mut failure);
    let mut test = samples::test("answers", TestStatus::Failed, Some(message));
    test.line = Some(line);
    test.failure = Some(Box::new(failure));
    end(FileResult {
        passed: false,
        tests: vec![test],
        ..FileResult::new("net.test.lua")
    })
}

fn console(text: &str) -> Vec<GuestConsole> {
    vec![GuestConsole {
        vm: "g".to_owned(),
        text: text.to_owned(),
    }]
}

fn dead(reason: &str) -> Vec<DeadVm> {
    vec![DeadVm {
        vm: "g".to_owned(),
        reason: reason.to_owned(),
        during: None,
    }]
}

/// The report, which fits a screen.
#[track_caller]
fn shown(end: FileEnd) -> String {
    let report = plain(&[end], Verbosity::Normal, false);
    let rows: usize = report
        .lines()
        .map(|line| line.chars().count().div_ceil(80).max(1))
        .sum();
    assert!(rows <= 24, "{rows} rows of 80 columns:\n{report}");
    report
}

const OOPS: &str = "\
[    5.101234] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    5.101300] #PF: supervisor write access in kernel mode
[    5.101400] #PF: error_code(0x0002) - not-present page
[    5.101500] PGD 0 P4D 0
[    5.101600] Oops: Oops: 0002 [#1] SMP NOPTI
[    5.101700] CPU: 0 UID: 0 PID: 91 Comm: sh Tainted: G           O       6.12.1 #1
[    5.101800] Hardware name: Provium
[    5.101900] RIP: 0010:oops_write+0x1c/0x50 [oopser]
[    5.102000] Code: 48 8b 05 00 00 00 00 <c7> 00 00 00 00 00
[    5.102100] RSP: 0018:ffffc900001a7e70 EFLAGS: 00010246
[    5.102200] RAX: 0000000000000001 RBX: ffff888003a4c600 RCX: 0000000000000000
[    5.102300] R10: 0000000000000000 R11: 0000000000000000 R12: 0000000000000002
[    5.102500] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[    5.102700] Call Trace:
[    5.102800]  <TASK>
[    5.102900]  ? __die+0x23/0x70
[    5.103000]  proc_reg_write+0x5a/0xa0
[    5.103100]  vfs_write+0xf8/0x400
[    5.103150]  ksys_write+0x6d/0xf0
[    5.103170]  do_syscall_64+0x82/0x190
[    5.103180]  entry_SYSCALL_64_after_hwframe+0x76/0x7e
[    5.103200] RIP: 0033:0x7f1234
[    5.103300]  </TASK>
[    5.103400] ---[ end trace 0000000000000000 ]---
";

#[test]
fn values() {
    let message = "values differ\n  left:  \"hallo\"\n  right: \"hello\"";
    assert_snapshot!(shown(failed(message, 4, |_| {})));
}

#[test]
fn multi_line() {
    let message = "values differ: /etc/motd\n  diff (- left, + right):\n    @@ -1,5 +1,5 @@\n     one\n     two\n    -three\n    +drei\n     four\n     five";
    assert_snapshot!(shown(failed(message, 4, |_| {})));
}

#[test]
fn oops() {
    let head = "BUG: kernel NULL pointer dereference, address: 0000000000000008";
    let message = format!("VM `g`: the kernel of the guest reported: {head}");
    assert_snapshot!(shown(failed(&message, 3, |failure| {
        failure.splats = vec![GuestSplat {
            vm: "g".to_owned(),
            kind: "oops".to_owned(),
            head: head.to_owned(),
            text: OOPS.to_owned(),
        }];
        failure.consoles = console(&format!(
            "[    5.0] oopser: loaded\n{OOPS}[    5.2] oopser: more\n"
        ));
    })));
}

#[test]
fn panic() {
    let reason = "the guest's kernel panicked: Fatal exception";
    let message = format!("vm:run: VM `g` ended during the call: {reason}");
    let text = format!(
        "{OOPS}[    5.2] Kernel panic - not syncing: Fatal exception\n[    5.3] Kernel Offset: disabled\n"
    );
    assert_snapshot!(shown(failed(&message, 3, |failure| {
        failure.consoles = console(&text);
        failure.dead = dead(reason);
    })));
}

#[test]
fn failed_boot() {
    let reason = "the guest ended before its agent answered: Initramfs unpacking failed: invalid magic at start of compressed archive; then the guest's kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)";
    let text = "\
[    0.101] Initramfs unpacking failed: invalid magic at start of compressed archive
[    0.201] /dev/root: Can't open blockdev
[    0.202] VFS: Cannot open root device \"\" or unknown-block(0,0): error -6
[    0.203] Please append a correct \"root=\" boot option; here are the available partitions:
[    0.204] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    0.205] CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.1 #1
[    0.206] Call Trace:
[    0.207]  <TASK>
[    0.208]  panic+0x35b/0x3b0
[    0.209]  mount_root_generic+0x1c4/0x2b0
";
    let message = format!("vm:boot: VM `g` did not boot: {reason}\nlast console lines:\n{text}");
    assert_snapshot!(shown(failed(&message, 2, |failure| {
        failure.consoles = console(text);
        failure.dead = dead(&format!("it did not boot: {reason}"));
    })));
}

#[test]
fn failed_fixture() {
    let message = "provium:vm_fixture: fixture `base`: fixtures/base.fixture.lua:2: vm:assert_ok: `/bin/setup` ended with exit code 1\nlast console lines of VM `base`:\n[    0.4] setup: no space left on device";
    assert_snapshot!(shown(failed(message, 2, |failure| {
        let source =
            "local vm = provium:vm(\"base\", \"small\"):boot()\nvm:run(\"/bin/setup\"):assert_ok()\n";
        failure.helper = Some(SourcePlace::new("fixtures/base.fixture.lua", 2, source));
    })));
}

#[test]
fn hang() {
    let message = "timed out after 5s, waiting in vm:run";
    let text = (1..=40).map(|n| format!("[   {n:2}.0] still waiting for the disk, try {n}\n"));
    assert_snapshot!(shown(failed(message, 3, |failure| {
        failure.consoles = console(&text.collect::<String>());
        failure.dead = dead("it was torn down: the test's time limit has passed");
    })));
}

#[test]
fn agent_lost() {
    let reason = "the connection to the guest's agent is lost: the other side closed the connection";
    let message = format!("vm:run: VM `g` ended during the call: {reason}");
    assert_snapshot!(shown(failed(&message, 3, |failure| {
        failure.consoles = console("[    3.1] Out of memory: Killed process 61 (provium-agent)\n");
        failure.dead = dead(reason);
    })));
}

#[test]
fn error_in_a_helper() {
    assert_snapshot!(shown(failed(
        "attempt to index a nil value (local 'link')",
        3,
        |failure| {
            let source = "local M = {}\nfunction M.up(link)\n  link.state = 'up'\nend\nreturn M\n";
            failure.helper = Some(SourcePlace::new("lib/net.lua", 3, source));
        }
    )));
}

#[test]
fn timeout() {
    let mut cut = failed(
        "the file's time limit of 300s has passed, waiting in vm:run",
        3,
        |failure| {
            failure.dead = dead("it was torn down: the file's time limit has passed");
        },
    );
    cut.result.timeout = provium_base::outcome::Timeliness::TimedOut;
    cut.result.not_run = vec!["answers again".to_owned(), "closes".to_owned()];
    assert_snapshot!(shown(cut));
}

#[test]
fn a_vm_that_died_before_is_one_line() {
    let message = "vm:run: VM `g` is dead (the guest's kernel panicked: x), this needs it booted";
    let report = shown(failed(message, 3, |failure| {
        failure.dead = dead("the guest's kernel panicked: x");
        failure.dead[0].during = Some("writes".to_owned());
    }));
    assert!(
        report.contains("    VM `g` had died in test `writes`\n"),
        "{report}"
    );
    assert_eq!(
        report.matches("kernel panicked").count(),
        2,
        "in the message and in the list: {report}"
    );
}
