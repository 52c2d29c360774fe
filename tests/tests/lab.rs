//! A lab without Lua: the example of the guest crate, as it is, on real guests.
//!
//! Input: the guests' kernel and initrd. Output: what the example prints. Not here: what a Lua test does with
//! a lab.

#[expect(dead_code, reason = "`main` is called when the example is run by itself")]
#[path = "../../runner/guest/examples/two_vms.rs"]
mod two_vms;

use provium_tests::artifact;

#[test]
fn two_vms_are_saved_together_and_resumed_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = two_vms::run(artifact("vmlinux"), Some(artifact("initrd.cpio")), folder.path());
    assert_eq!(
        lines.expect("the example runs"),
        [
            "first server: server",
            "first client: client",
            "second server: server",
            "second client: client",
            "pair server: server",
            "pair client: client",
        ]
    );
}
