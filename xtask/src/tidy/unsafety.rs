//! The rule about where `unsafe` is.
//!
//! Input: the keyword, wherever it is in a file. Output: offences. Not here: whether a block says why it is
//! sound, which clippy checks.

use super::rule::{Offence, Rule};
use super::tree::Tree;

/// `unsafe` is in few files.
pub(crate) const UNSAFE_CODE: Rule = Rule {
    name: "unsafe-code",
    why: "what the compiler cannot check is read with care, which takes few places with few reasons.",
    check,
};

/// Files that have it, and what for.
const FILES: &[(&str, &str)] = &[
    ("agent/protocol/tests/allocations.rs", "an allocator that counts"),
    ("agent/src/fds.rs", "closes what a forked worker must not have"),
    (
        "agent/src/follow/fd.rs",
        "duplicates a descriptor that is the test's",
    ),
    ("agent/src/init/mod.rs", "forks while there is one thread"),
    ("agent/src/main.rs", "is the C library's entry point"),
    (
        "agent/src/open_files.rs",
        "closes descriptors that are the test's",
    ),
    ("agent/src/ops/files.rs", "uses descriptors that are the test's"),
    (
        "agent/src/process/spawn.rs",
        "clone with a stack of its own, and what the child does before it executes",
    ),
    (
        "agent/src/syscalls/raw.rs",
        "makes the system calls that a test asks for",
    ),
    ("agent/src/sys.rs", "system calls that rustix does not have"),
    (
        "agent/src/threads/mark.rs",
        "a list of locks that the kernel reads when a thread ends",
    ),
    ("agent/src/vsock.rs", "socket addresses that rustix does not have"),
    ("agent/src/worker.rs", "forks among threads, and ends the child"),
    ("bench/src/floor.rs", "the least monitor there is"),
    ("bench/src/vsock.rs", "socket addresses that rustix does not have"),
    (
        "runner/emulated/src/qemu.rs",
        "what a child does before it executes",
    ),
    (
        "runner/emulated/src/spawn.rs",
        "what a child does before it executes",
    ),
    ("runner/src/cli/supervise.rs", "forks while there is one thread"),
    ("runner/src/lua/api/hook.rs", "a hook of Lua's own, in C"),
    (
        "runner/src/lua/classic/grep.rs",
        "the C library's regular expressions",
    ),
    (
        "runner/src/lua/test/host_command.rs",
        "the descriptor of a file of Lua's own",
    ),
    (
        "tests/hostile-agent/src/main.rs",
        "is the C library's entry point",
    ),
    ("vmm/src/confine.rs", "a handler of SIGSYS"),
    ("vmm/src/kvm/stats.rs", "the descriptor of KVM's counters"),
    ("vmm/src/kvm/tsc.rs", "attributes of a vCPU"),
    ("vmm/src/kvm/vcpu.rs", "the page shared with KVM"),
    ("vmm/src/kvm/vcpu_state.rs", "XSAVE areas"),
    (
        "vmm/src/kvm/vm.rs",
        "memory slots point at mappings that outlive them",
    ),
    ("vmm/src/lost_pages.rs", "a handler of SIGBUS"),
    ("vmm/src/machine/ram.rs", "advice on a guest's own mapping"),
    ("vmm/src/snapshot/image.rs", "guest memory mapped from files"),
    ("vmm/src/soundness/image.rs", "the code of its guest, in assembly"),
    ("vmm/src/soundness/probe.rs", "a monitor of a few instructions"),
];

fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let known = FILES.iter().any(|(path, _)| *path == file.path);
        match source.unsafe_lines.first() {
            Some(line) if !known => found.push(Offence::new(
                &file.path,
                *line,
                "unsafe",
                "do without (rustix, zerocopy), or call what one of the files does that have it",
            )),
            None if known => found.push(Offence::new(
                &file.path,
                1,
                "no unsafe any more",
                "remove it from the table in xtask/src/tidy/unsafety.rs",
            )),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::offences;
    use super::*;
    use crate::workspace;

    #[test]
    fn unsafe_stays_where_it_is() {
        let found = offences(
            &UNSAFE_CODE,
            &[
                ("vmm/src/kvm/vm.rs", "fn f() { unsafe { g() } }\n"),
                ("vmm/src/kvm/tsc.rs", "fn f() { g() }\n"),
                (
                    "vmm/src/disk/store.rs",
                    "// No unsafe here.\nfn f() {\n    m! { unsafe { g() } }\n}\n",
                ),
                ("agent/src/daemon.rs", "#[unsafe(no_mangle)]\nfn f() {}\n"),
            ],
        );
        assert_eq!(
            found,
            [
                "agent/src/daemon.rs:1 unsafe",
                "vmm/src/disk/store.rs:3 unsafe",
                "vmm/src/kvm/tsc.rs:1 no unsafe any more"
            ]
        );
    }

    #[test]
    fn the_table_names_files_that_exist() {
        for (path, reason) in FILES {
            assert!(
                workspace::root().join(path).exists() && !reason.is_empty(),
                "{path}"
            );
        }
    }
}
