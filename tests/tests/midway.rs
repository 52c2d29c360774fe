//! Machines are stopped in the middle of what KVM and the monitor do together: an instruction that KVM has
//! half carried out, a panic that is being printed, a stack of snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_tests::*;
use provium_vmm::Machine;
use provium_vmm::snapshot::Snapshot;

/// Prints the bytes behind it through `rep outsb`, again and again.
#[rustfmt::skip]
const PRINTER: [u8; 20] = [
    0x48, 0x8d, 0x35, 0x0d, 0, 0, 0, // lea rsi, [rip + 13]
    0xb9, 0, 1, 0, 0,                // mov ecx, 256
    0x66, 0xba, 0xf8, 0x03,          // mov dx, 0x3f8
    0xf3, 0x6e,                      // rep outsb
    0xeb, 0xec,                      // jmp to the start
];

/// Writes and reads back the PCI address register and the registers of the first virtio device, one by one
/// and with a string instruction. Prints a dot every 64 rounds, and `X` at every wrong answer.
#[rustfmt::skip]
const ASKER: [u8; 181] = [
    0x48, 0xc7, 0x04, 0x25, 0x18, 0xa0, 0, 0, 0x03, 0, 0x20, 0, // mov qword [0xa018], 0x200003: a table for 3 to 4 GiB
    0xb8, 0x83, 0, 0, 0xd0,                   // mov eax, 0xd0000083
    0x48, 0x89, 0x04, 0x25, 0, 0x04, 0x20, 0, // mov [0x200400], rax: the devices' page
    0x31, 0xdb,                               // xor ebx, ebx
    0xff, 0xc3,                               // next: inc ebx
    0xba, 0xf8, 0x0c, 0, 0,                   // mov edx, 0xcf8
    0x89, 0xd8,                               // mov eax, ebx
    0xc1, 0xe0, 0x08,                         // shl eax, 8
    0x25, 0, 0xff, 0xff, 0,                   // and eax, 0xffff00
    0x0d, 0, 0, 0, 0x80,                      // or eax, 0x80000000
    0x89, 0xc1,                               // mov ecx, eax
    0xef, 0xed,                               // out dx, eax; in eax, dx
    0x39, 0xc8, 0x75, 0x6f,                   // cmp eax, ecx; jne bad
    0xbf, 0, 0, 0, 0xd0,                      // mov edi, 0xd0000000
    0x89, 0xd8, 0x83, 0xe0, 0x01,             // mov eax, ebx; and eax, 1
    0x89, 0x47, 0x14, 0x8b, 0x4f, 0x10,       // mov [rdi+0x14], eax; mov ecx, [rdi+0x10]: half of the features
    0xbe, 0, 0, 0, 0x30,                      // mov esi, 0x30000000
    0x85, 0xc0,                               // test eax, eax
    0xba, 1, 0, 0, 0, 0x0f, 0x45, 0xf2,       // mov edx, 1; cmovne esi, edx
    0x39, 0xf1, 0x75, 0x4c,                   // cmp ecx, esi; jne bad
    0x89, 0xfe,                               // mov esi, edi
    0xbf, 0, 0, 0x30, 0,                      // mov edi, 0x300000
    0xb9, 4, 0, 0, 0,                         // mov ecx, 4
    0xf3, 0xa5,                               // rep movsd
    0x81, 0x3c, 0x25, 0, 0, 0x30, 0, 0x76, 0x69, 0x72, 0x74, 0x75, 0x31,    // "virt" or bad
    0x83, 0x3c, 0x25, 0x04, 0, 0x30, 0, 2, 0x75, 0x27,                      // version 2 or bad
    0x83, 0x3c, 0x25, 0x08, 0, 0x30, 0, 19, 0x75, 0x1d,                     // device 19 or bad
    0x81, 0x3c, 0x25, 0x0c, 0, 0x30, 0, 0x50, 0x52, 0x50, 0x56, 0x75, 0x10, // "PRPV" or bad
    0xf7, 0xc3, 0x3f, 0, 0, 0,                // test ebx, 63
    0x0f, 0x85, 0x77, 0xff, 0xff, 0xff,       // jnz next
    0xb0, b'.', 0xeb, 0x02,                   // mov al, '.'; jmp say
    0xb0, b'X',                               // bad: mov al, 'X'
    0xba, 0xf8, 0x03, 0, 0,                   // say: mov edx, 0x3f8
    0xee, 0xe9, 0x66, 0xff, 0xff, 0xff,       // out dx, al; jmp next
];

fn start_printer() -> Machine {
    let text: Vec<u8> = (0..=255).collect();
    start_payload(&[&PRINTER[..], &text].concat())
}

/// Waits until the console has `more` bytes more than it has.
fn wait_for_console(machine: &Machine, more: usize) {
    let (start, deadline) = (machine.console_log().len(), Instant::now() + LONG);
    while machine.console_log().len() < start + more {
        assert_eq!(machine.ended(), None);
        assert!(
            Instant::now() < deadline,
            "{} bytes printed",
            machine.console_log().len()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A pause that comes at another moment each time.
fn pause_at_random(machine: &Machine, round: u32) {
    std::thread::sleep(Duration::from_micros(u64::from(
        round.wrapping_mul(2_654_435_761) % 3000,
    )));
    machine.pause().unwrap();
}

fn assert_counts_on(text: &[u8], first: u8, what: &str) {
    for (at, byte) in text.iter().enumerate() {
        assert_eq!(*byte, first.wrapping_add(at as u8), "byte {at} of {what}");
    }
}

#[test]
fn a_machine_stopped_within_a_string_instruction_prints_nothing_twice_and_loses_nothing() {
    let machine = start_printer();
    let other = Machine::blank(64 << 20, 1).unwrap();
    for round in 0..20 {
        wait_for_console(&machine, 1);
        pause_at_random(&machine, round);
        let printed = machine.console_log();
        assert_counts_on(&printed, printed[0], "what the first printed");
        let next = printed.last().unwrap().wrapping_add(1);
        let (_folder, snapshot) = saved_machine(&machine, false);
        machine.resume().unwrap();
        wait_for_console(&machine, 600);
        machine.pause().unwrap();
        assert_counts_on(&machine.console_log(), printed[0], "what it printed on");
        for again in [&machine, &other] {
            again.load(&snapshot).unwrap();
            assert_eq!(again.console_log(), b"");
            again.resume().unwrap();
            wait_for_console(again, 600);
            again.pause().unwrap();
            assert_counts_on(&again.console_log(), next, "what was printed after the restore");
        }
        machine.resume().unwrap();
    }
}

#[test]
fn a_machine_stopped_while_it_reads_registers_reads_them_right() {
    let machine = start_payload(&ASKER);
    wait_for_console(&machine, 2);
    let mut baseline: Option<(tempfile::TempDir, Arc<Snapshot>)> = None;
    for round in 0..200 {
        pause_at_random(&machine, round);
        assert!(!machine.console_log().contains(&b'X'), "round {round}");
        match &baseline {
            Some((_, snapshot)) if round % 10 != 0 => drop(machine.load(snapshot).unwrap()),
            _ => baseline = Some(saved_machine(&machine, round % 20 == 0)),
        }
        machine.resume().unwrap();
    }
    wait_for_console(&machine, 20);
    let console = machine.console_log();
    assert!(
        console.iter().all(|byte| *byte == b'.'),
        "{}",
        String::from_utf8_lossy(&console)
    );
}

#[test]
fn a_machine_that_is_saved_without_having_run_again_is_the_same() {
    let machine = start_printer();
    wait_for_console(&machine, 300);
    machine.pause().unwrap();
    let (first_folder, first) = saved_machine(&machine, false);
    let restored = Machine::restore(&first).unwrap();
    assert!(restored.is_paused());
    for machine in [&restored, &machine] {
        let (folder, again) = saved_machine(machine, false);
        let (left, right) = (
            essence(state_of(first_folder.path())),
            essence(state_of(folder.path())),
        );
        assert!(left == right, "{}", first_differences(&left, &right));
        again.verify().unwrap();
    }
}

#[test]
fn a_panic_that_was_under_way_is_undone_by_a_reset() {
    // Prints its first line once, then stands still.
    let text = b"Kernel panic - not syncing: undone\n";
    #[rustfmt::skip]
    let mut code = vec![
        0xb9, 0, 0, 0, 0x02,             // mov ecx, 0x2000000
        0xff, 0xc9, 0x75, 0xfc,          // again: dec ecx; jnz again
        0x48, 0x8d, 0x35, 0x0d, 0, 0, 0, // lea rsi, [rip + 13]
        0xb9, text.len() as u8, 0, 0, 0, // mov ecx, len
        0x66, 0xba, 0xf8, 0x03,          // mov dx, 0x3f8
        0xf3, 0x6e,                      // rep outsb
        0xeb, 0xfe,                      // jmp here
    ];
    code.extend_from_slice(text);
    let machine = start_payload(&code);
    machine.pause().unwrap();
    assert_eq!(machine.console_log(), b"", "it is still counting");
    let (_folder, snapshot) = saved_machine(&machine, false);
    for _ in 0..2 {
        machine.resume().unwrap();
        wait_for_console(&machine, text.len());
        machine.pause().unwrap();
        machine.load(&snapshot).unwrap();
    }
    // Longer than a panicking guest is given.
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(machine.ended(), None);
    machine.resume().unwrap();
    let end = machine.wait_end(Some(LONG));
    assert_eq!(end, Some(provium_vmm::EndReason::Panic("undone".to_owned())));
}

#[test]
fn however_often_a_machine_is_saved_on_its_parent_every_snapshot_opens() {
    let machine = start_printer();
    let mut folders = Vec::new();
    for _ in 0..40 {
        wait_for_console(&machine, 1);
        machine.pause().unwrap();
        let (folder, _) = saved_machine(&machine, true);
        let opened = Snapshot::open(folder.path());
        folders.push(folder);
        let opened = opened.unwrap_or_else(|error| panic!("number {}: {error}", folders.len()));
        machine.load(&opened).unwrap();
        machine.resume().unwrap();
    }
}
