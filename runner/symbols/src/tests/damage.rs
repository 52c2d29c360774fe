//! Files that are cut off, or have other bytes than they should: no panic, and the text as it was at worst.

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::program::Program;
use crate::annotate::annotate;
use crate::kernel::{Kernel, KernelFiles};

/// A kernel, a module, and a trace that names places of both.
static WHOLE: LazyLock<(Vec<u8>, Vec<u8>, String)> = LazyLock::new(|| {
    let program = Program::build();
    let read = |name| fs::read(program.object(name)).unwrap();
    let text = format!(
        "RIP: 0010:{} x\n {} y\n dies+0x5/0x5 [mod]\nRIP: 0010:start_kernel+0x0/0xff0 [mod]\n 0xffffffff81000010\n",
        program.mark(1, "outer"),
        program.mark(0, "start_kernel"),
    );
    (read("packed"), read("mod.ko"), text)
});

/// The trace as it is annotated by these files. Panics of the code under test come through, since nothing is
/// on another thread here.
fn annotated(kernel: &[u8], module: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (vmlinux, ko) = (folder.path().join("vmlinux"), folder.path().join("mod.ko"));
    fs::write(&vmlinux, kernel).unwrap();
    fs::write(&ko, module).unwrap();
    let debuginfo = vec![vmlinux.clone(), ko];
    let files = KernelFiles {
        kernel: vmlinux,
        debuginfo,
    };
    annotate(&Kernel::open(&files), &WHOLE.2)
}

/// Whether `after` is `before` with something put in between, or nothing.
fn is_extended(before: &str, after: &str) -> bool {
    let mut after = after.chars();
    before.chars().all(|wanted| after.any(|found| found == wanted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_truncated_file_costs_lines_and_nothing_else(kernel in 0.0..1.0f64, module in 0.0..1.0f64) {
        let (whole, ko, text) = &*WHOLE;
        let cut = |bytes: &[u8], at: f64| bytes[..(bytes.len() as f64 * at) as usize].to_vec();
        prop_assert_eq!(&annotated(&cut(whole, kernel), &cut(ko, module)), text);
    }

    #[test]
    fn other_bytes_cost_lines_and_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        head in prop::collection::vec((0..4096usize, any::<u8>()), 0..4),
    ) {
        let (mut kernel, mut module, text) = (WHOLE.0.clone(), WHOLE.1.clone(), &WHOLE.2);
        for (at, byte) in &changes {
            *at.get_mut(&mut kernel) = *byte;
            *at.get_mut(&mut module) = *byte;
        }
        // The table of sections is at the end, the header at the start.
        for (at, byte) in &head {
            let length = kernel.len();
            kernel[length - 1 - at % length.min(3072)] = *byte;
            let length = module.len();
            module[length - 1 - at % length.min(3072)] = *byte;
        }
        let annotated = annotated(&kernel, &module);
        prop_assert!(is_extended(text, &annotated), "{}", annotated);
    }
}

#[test]
fn the_whole_files_are_understood() {
    let (kernel, module, text) = &*WHOLE;
    let annotated = annotated(kernel, module);
    let known = annotated.lines().filter(|line| line.contains("init/main.c:"));
    assert_eq!(known.count(), text.lines().count(), "{annotated}");
}
