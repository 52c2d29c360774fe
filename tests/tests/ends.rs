//! Each way a guest can end is told apart and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use provium_guest::BootError;
use provium_tests::*;
use provium_vmm::{EndReason, MachineConfig};

#[test]
fn a_guest_powers_off_when_asked() {
    for cmdline in ["console=ttyS0 quiet", "console=ttyS0 quiet acpi=off"] {
        let mut guest = boot_guest(config_with(cmdline));
        guest.client.shutdown(false, LONG).unwrap();
        let end = guest.machine.wait_end(Some(LONG));
        // Without ACPI there is no way to switch off: the agent restarts in place of that.
        let expected = if cmdline.contains("acpi=off") {
            EndReason::Reboot
        } else {
            EndReason::PowerOff
        };
        assert_eq!(end, Some(expected), "{cmdline}");
    }
}

#[test]
fn a_guest_restarts() {
    let mut guest = boot_guest(config());
    guest.client.shutdown(true, LONG).unwrap();
    assert_eq!(guest.machine.wait_end(Some(LONG)), Some(EndReason::Reboot));
}

#[test]
fn the_power_button_is_obeyed() {
    let guest = boot_guest(config());
    guest.machine.power_button().unwrap();
    assert_eq!(guest.machine.wait_end(Some(LONG)), Some(EndReason::PowerOff));
}

#[test]
fn a_panic_in_a_running_guest_carries_its_message_whatever_panic_says() {
    for panic in ["panic=0", "panic=-1", "panic=1000"] {
        let guest = boot_guest(config_with(&format!("console=ttyS0 quiet {panic}")));
        let (machine, mut client) = (guest.machine, guest.client);
        let crash = std::thread::spawn(move || {
            client
                .ask(provium_guest::ops::exec(provium_guest::ExecSpec::shell(
                    "echo c > /proc/sysrq-trigger",
                )))
                .is_err()
        });
        let end = machine.wait_end(Some(Duration::from_secs(30)));
        let console = machine.console_tail(4096);
        let expected = EndReason::Panic("sysrq triggered crash".to_owned());
        assert_eq!(end, Some(expected), "{panic}, console:\n{console}");
        assert!(console.contains("Kernel panic - not syncing: sysrq triggered crash"));
        assert!(crash.join().unwrap(), "the request that was under way fails");
    }
}

#[test]
fn a_program_that_prints_the_phrase_does_not_end_its_machine() {
    let mut guest = boot_guest(config());
    sh(
        &mut guest,
        "echo 'seen: Kernel panic - not syncing: x' > /dev/console; sleep 1",
    );
    assert_eq!(guest.machine.ended(), None);
    guest.client.ping().unwrap();
}

#[test]
fn a_panic_at_boot_ends_the_boot_with_its_reason_and_the_console() {
    let before = Holdings::now();
    let mut wrong_root = config();
    wrong_root.initrd = None;
    wrong_root.extra_initrds = Vec::new();
    wrong_root.cmdline = "console=ttyS0 quiet root=/dev/nope".to_owned();
    let error = try_boot(wrong_root, Duration::from_secs(600)).expect_err("no root");
    let BootError::Ended {
        reason: EndReason::Panic(message),
        console,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(message.contains("Unable to mount root fs"), "{message}");
    assert!(console.contains("Kernel panic - not syncing: VFS"), "{console}");
    Holdings::now().assert_no_more_than(&before, 64 << 10);
}

#[test]
fn an_agent_that_never_answers_ends_the_boot_at_its_limit() {
    let before = Holdings::now();
    let mut silent = config();
    // An init that is no agent and never ends.
    silent.cmdline = "console=ttyS0 quiet rdinit=/bin/sleep -- 100000".to_owned();
    let error = try_boot(silent, Duration::from_secs(8)).expect_err("nobody answers");
    assert!(matches!(error, BootError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("did not answer within 8 s"), "{error}");
    Holdings::now().assert_no_more_than(&before, 64 << 10);
}

#[test]
fn a_kill_ends_the_machine_and_wakes_every_reader() {
    let guest = boot_guest(config());
    let machine = Arc::clone(&guest.machine);
    let mut client = guest.client;
    let sleeper = std::thread::spawn(move || {
        client.ask(provium_guest::ops::exec(provium_guest::ExecSpec::shell(
            "sleep 1000",
        )))
    });
    std::thread::sleep(Duration::from_millis(300));
    machine.kill();
    assert!(sleeper.join().unwrap().is_err());
    assert_eq!(machine.ended(), Some(EndReason::Killed));
    machine.kill();
}

#[test]
fn a_triple_fault_shows_the_registers() {
    // ud2 with an empty interrupt table.
    let machine = start_payload(&[0x48, 0xc7, 0xc3, 0x2a, 0, 0, 0, 0x0f, 0x0b]);
    let Some(EndReason::TripleFault(state)) = machine.wait_end(Some(LONG)) else {
        panic!("{:?}", machine.ended())
    };
    // AMD's processors forget their registers at a shutdown; then that is said.
    if !state.contains("registers are lost") {
        assert!(
            state.contains("rip=0x0000000001000007") && state.contains("rbx=0x2a"),
            "{state}"
        );
        assert!(state.contains("code: 0f 0b"), "{state}");
    }
}

#[test]
fn what_kvm_cannot_run_shows_the_cause() {
    // jmp to an address where there is neither memory nor a device to execute from.
    let machine = start_payload(&[0xb8, 0x00, 0x00, 0x00, 0x20, 0xff, 0xe0]);
    let end = machine.wait_end(Some(LONG));
    let Some(EndReason::InternalError(cause)) = end else {
        panic!("{end:?}")
    };
    assert!(cause.contains("rip=0x0000000020000000"), "{cause}");
}

#[test]
fn a_payload_powers_off_through_the_acpi_register() {
    // mov dx, 0x601; mov al, 5<<2|0x20; out dx, al
    let machine = start_payload(&[0x66, 0xba, 0x01, 0x06, 0xb0, 0x34, 0xee, 0xf4, 0xeb, 0xfd]);
    assert_eq!(machine.wait_end(Some(LONG)), Some(EndReason::PowerOff));
}

#[test]
fn a_payload_prints_with_a_string_instruction() {
    // Four bytes at once through `rep outsb`, then off.
    #[rustfmt::skip]
    let code = [
        0x48, 0x8d, 0x35, 0x13, 0, 0, 0,     // lea rsi, [rip + 0x13]
        0xb9, 4, 0, 0, 0,                    // mov ecx, 4
        0x66, 0xba, 0xf8, 0x03,              // mov dx, 0x3f8
        0xf3, 0x6e,                          // rep outsb
        0x66, 0xba, 0x01, 0x06, 0xb0, 0x34, 0xee, 0xf4, // power off, hlt
        b'a', b'b', b'c', b'\n',
    ];
    let machine = start_payload(&code);
    assert_eq!(machine.wait_end(Some(LONG)), Some(EndReason::PowerOff));
    assert_eq!(machine.console_log(), b"abc\n");
}

#[test]
fn a_paused_guest_stands_still_and_goes_on() {
    let mut guest = boot_guest(MachineConfig { cpus: 2, ..config() });
    sh(
        &mut guest,
        "(while :; do echo x >> /tmp/ticks; sleep 0.02; done) >/dev/null 2>&1 &",
    );
    for _ in 0..20 {
        guest.machine.pause().unwrap();
        assert!(guest.machine.is_paused());
        let before = guest.machine.console_log();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(guest.machine.console_log(), before);
        guest.machine.resume().unwrap();
    }
    let count =
        |guest: &mut provium_guest::Guest| stdout(guest, "wc -l < /tmp/ticks").trim().parse::<u64>().unwrap();
    let first = count(&mut guest);
    sh(&mut guest, "sleep 0.5");
    assert!(count(&mut guest) > first, "the guest's timers go on");
    guest.machine.pause().unwrap();
    guest.machine.kill();
    assert!(
        guest
            .machine
            .resume()
            .unwrap_err()
            .to_string()
            .contains("the machine has ended")
    );
}

/// Prints `text`, then halts for ever.
fn prints(text: &str) -> Vec<u8> {
    const CODE: usize = 21;
    let at = 0x100_0000 + CODE as u32;
    let mut code = vec![0x66, 0xba, 0xf8, 0x03, 0x48, 0xc7, 0xc6]; // mov dx, 0x3f8; mov rsi, text
    code.extend(at.to_le_bytes());
    code.push(0xb9); // mov ecx, length
    code.extend((text.len() as u32).to_le_bytes());
    code.extend([0xf3, 0x6e, 0xf4, 0xeb, 0xfd]); // rep outsb; hlt; jmp to it
    assert_eq!(code.len(), CODE);
    code.extend(text.as_bytes());
    code
}

#[test]
fn threads_of_a_machine_are_confined_from_their_first_instruction_on() {
    let machine = start_payload(&prints("a"));
    while machine.console_log().is_empty() {
        std::thread::yield_now();
    }
    let mut seen = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        let name = status.lines().next().unwrap_or_default();
        if ["provium-vcpu", "provium-machine", "provium-disk"]
            .iter()
            .any(|of| name.contains(of))
        {
            assert!(
                status.contains("\nNoNewPrivs:\t1\n") && status.contains("\nSeccomp:\t2\n"),
                "{status}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} threads");
}

#[test]
fn a_system_call_that_a_thread_of_a_machine_has_no_need_of_ends_the_machine_and_is_named() {
    // What a listener does, it does on the vCPU's thread.
    let machine = start_payload(&prints("x\nWARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n"));
    machine.on_splat(Some(std::sync::Arc::new(|_| {
        let refused = std::fs::File::open("/etc/passwd").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    })));
    let Some(EndReason::Monitor(why)) = machine.wait_end(Some(LONG)) else {
        panic!("{:?}", machine.ended());
    };
    assert!(
        why.starts_with("a thread of it made the system call `openat`, which was refused"),
        "{why}"
    );
}
