//! Tests on files that the C compiler makes.

mod damage;
mod program;

use std::fs;
use std::path::PathBuf;

use program::{Program, extent};

use crate::{KernelFiles, Symbolizer};

fn symbolizer(kernel: PathBuf, debuginfo: &[PathBuf]) -> Symbolizer {
    Symbolizer::new(KernelFiles {
        kernel,
        debuginfo: debuginfo.to_vec(),
    })
}

#[test]
fn a_trace_gets_files_lines_and_what_was_inlined() {
    let program = Program::build();
    let symbols = symbolizer(program.object("vmlinux"), &[]);
    let (store, call) = (program.mark(1, "outer"), program.mark(0, "start_kernel"));
    let last = program.mark(2, "dies");
    let text = format!(
        "[    1.8] BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
         [    1.8] RIP: 0010:{store}\n\
         [    1.8] RAX: 0000000000000000\n\
         [    1.8]  ? {call}\n [<ffffffff81000020>] {last}\r\n \
         unknown+0x1/0x2\n outer+0x1/0x7777\n {call} [splat]"
    );
    let inlined = "(init/main.c:14 > middle init/main.c:10 > inner init/main.c:6)";
    let expected = format!(
        "[    1.8] BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
         [    1.8] RIP: 0010:{store} {inlined}\n\
         [    1.8] RAX: 0000000000000000\n\
         [    1.8]  ? {call} (init/main.c:24)\n [<ffffffff81000020>] {last} (init/main.c:19)\r\n \
         unknown+0x1/0x2\n outer+0x1/0x7777\n {call} [splat]"
    );
    assert_eq!(symbols.annotate(&text), expected);
    assert_eq!(symbols.annotate(&expected), expected, "annotated once");
}

#[test]
fn of_two_functions_of_a_name_the_size_says_which() {
    let program = Program::build();
    let kernel = program.object("vmlinux");
    let symbols = symbolizer(kernel.clone(), &[]);
    let main = extent(&program.object("main.o"), "helper").1;
    let other = extent(&program.object("splat.ko"), "helper").1;
    assert_ne!(main, other);
    let text = symbols.annotate(&format!(
        "RIP: 0010:helper+0x0/{main:#x}\nRIP: 0010:helper+0x0/{other:#x}\n"
    ));
    let expected = format!(
        "RIP: 0010:helper+0x0/{main:#x} (init/main.c:16)\nRIP: 0010:helper+0x0/{other:#x} (fs/other.c:5)\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn frames_of_a_module_come_from_its_own_file() {
    let program = Program::build();
    let modules = [program.object("splat.ko"), program.object("mod.ko")];
    let symbols = symbolizer(program.object("vmlinux"), &modules);
    let size = extent(&modules[0], "other").1;
    let text = symbols.annotate(&format!("RIP: 0010:other+0x0/{size:#x} [splat]"));
    assert_eq!(
        text,
        format!("RIP: 0010:other+0x0/{size:#x} [splat] (fs/other.c:6)")
    );
    // Its functions are in sections of their own, all at address 0 in the file. The last one of a section
    // goes to the end of the module's memory for the kernel.
    let text = symbols.annotate("RIP: 0010:start_kernel+0x0/0xff0 [mod 0123abcd]\n dies+0x5/0x5 [mod]");
    let expected = "RIP: 0010:start_kernel+0x0/0xff0 [mod 0123abcd] (init/main.c:24)\n \
        dies+0x5/0x5 [mod] (init/main.c:19)";
    assert_eq!(text, expected);
}

#[test]
fn a_kernel_that_moved_is_found_by_the_offset_or_by_a_name() {
    let program = Program::build();
    let symbols = symbolizer(program.object("vmlinux"), &[]);
    let (start, size) = extent(&program.object("vmlinux"), "clobber");
    let moved = start + 0x1e00_0000;
    let place = format!("clobber+0x0/{:#x} (fs/other.c:2)", symbol_size(&symbols, start));
    let text = format!("RIP: 0010:{moved:#x}\nKernel Offset: 0x1e000000 from 0xffffffff81000000");
    let expected = format!("RIP: 0010:{moved:#x} {place}\nKernel Offset: 0x1e000000 from 0xffffffff81000000");
    assert_eq!(symbols.annotate(&text), expected);
    let text = format!("RIP: 0010:{moved:#x}\n [<{moved:x}>] ? clobber+0x0/{size:#x}");
    let expected =
        format!("RIP: 0010:{moved:#x} {place}\n [<{moved:x}>] ? clobber+0x0/{size:#x} (fs/other.c:2)");
    assert_eq!(symbols.annotate(&text), expected);
    // No function of it says that this kernel can be moved.
    assert_eq!(
        symbols.annotate(&format!("RIP: 0010:{start:#x}")),
        format!("RIP: 0010:{start:#x} {place}")
    );
    let entry = extent(&program.object("vmlinux"), "entry_SYSCALL_64").0;
    assert_eq!(
        symbols.name(moved, entry + 0x1e00_0000, false),
        Some(place.clone())
    );
    assert_eq!(symbols.name(start, 0, false), Some(place));
    assert_eq!(symbols.name(8, entry, false), None);
}

/// The size of the function at `address` as the kernel counts it, up to the next.
fn symbol_size(symbols: &Symbolizer, address: u64) -> u64 {
    let name = symbols.name(address, 0, false).unwrap();
    let (_, size) = name.split_once('/').unwrap();
    u64::from_str_radix(size[2..].split(' ').next().unwrap(), 16).unwrap()
}

#[test]
fn what_knows_a_kernel_is_found_beside_it() {
    let program = Program::build();
    let store = format!("RIP: 0010:{}", program.mark(1, "outer"));
    let known = |symbols: Symbolizer| symbols.annotate(&store) != store;
    let boot = program.path("boot");
    fs::create_dir(&boot).unwrap();
    let kernel = boot.join("vmlinux");
    program.tool("strip", &["vmlinux", "-o", kernel.to_str().unwrap()]);
    assert!(
        !known(symbolizer(kernel.clone(), &[])),
        "no debug information, text unchanged"
    );
    assert!(
        known(symbolizer(kernel.clone(), &[program.object("vmlinux")])),
        "named by the profile"
    );
    fs::copy(program.object("vmlinux"), boot.join("vmlinux.debug")).unwrap();
    assert!(known(symbolizer(kernel.clone(), &[])), "the same build id");
    assert!(
        known(symbolizer(program.object("packed"), &[])),
        "compressed debug information"
    );

    // A bzImage has no build id; its version is that of the banner.
    let image = |version: &[u8]| {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e] = 0x80;
        image[0x280..][..version.len()].copy_from_slice(version);
        let path = boot.join("bzImage");
        fs::write(&path, image).unwrap();
        path
    };
    assert!(known(symbolizer(
        image(b"6.1.0-little (who@where) #1 SMP Thu"),
        &[]
    )));
    assert!(!known(symbolizer(
        image(b"6.1.0-little (who@where) #2 SMP Thu"),
        &[]
    )));
    assert!(!known(symbolizer(
        image(b"6.1.0-other (who@where) #1 SMP Thu"),
        &[]
    )));

    // What was stripped alone: without content, beside the kernel of its build id.
    let debug = boot.join("vmlinux.debug");
    program.tool(
        "objcopy",
        &["--only-keep-debug", "vmlinux", debug.to_str().unwrap()],
    );
    assert!(known(symbolizer(kernel.clone(), &[])), "what was stripped of it");
    assert!(known(symbolizer(
        image(b"6.1.0-little (who@where) #1 SMP Thu"),
        &[]
    )));
    program.tool(
        "strip",
        &["-o", boot.join("vmlinux.debug").to_str().unwrap(), "splat.ko"],
    );
    assert!(!known(symbolizer(kernel, &[])), "another file");
}

#[test]
fn a_system_map_names_without_lines() {
    let program = Program::build();
    let boot = program.path("boot");
    fs::create_dir(&boot).unwrap();
    let map = "ffffffff81000000 T f\nffffffff81000040 T entry_SYSCALL_64\nffffffff81000080 T _etext\n";
    fs::write(boot.join("System.map-6.1"), map).unwrap();
    fs::write(boot.join("vmlinuz-6.1"), "a bzImage").unwrap();
    let symbols = symbolizer(boot.join("vmlinuz-6.1"), &[]);
    let name = symbols.name(0xffff_ffff_8200_0004, 0xffff_ffff_8200_0040, false);
    assert_eq!(name.as_deref(), Some("f+0x4/0x40"));
    assert_eq!(symbols.annotate("RIP: 0010:f+0x4/0x40"), "RIP: 0010:f+0x4/0x40");
}
