//! Where the vCPUs of a guest stand, asked while it runs, and their names in the kernel's own files.

use std::time::{Duration, Instant};

use provium_symbols::{KernelFiles, Symbolizer};
use provium_tests::*;
use provium_vmm::{MachineConfig, VcpuPlace};

/// Looks again and again until the places are as wanted.
fn until(machine: &provium_vmm::Machine, wanted: impl Fn(&[VcpuPlace]) -> bool) -> Vec<VcpuPlace> {
    let deadline = Instant::now() + LONG;
    loop {
        let places = machine.vcpu_places(LONG);
        if wanted(&places) {
            return places;
        }
        assert!(Instant::now() < deadline, "{places:x?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_halted(place: &VcpuPlace) -> bool {
    matches!(place, VcpuPlace::At { halted: true, .. })
}

#[test]
fn a_payload_is_where_its_loop_is() {
    // nop; jmp to itself
    let machine = start_payload(&[0x90, 0xeb, 0xfe]);
    let here = VcpuPlace::At {
        instruction: 0x100_0001,
        halted: false,
        user: false,
        syscall_entry: 0,
    };
    until(&machine, |places| places == [here]);
    for _ in 0..200 {
        assert_eq!(machine.vcpu_places(LONG), [here]);
    }
    machine.pause().unwrap();
    assert_eq!(machine.vcpu_places(LONG), [here], "paused");
    machine.resume().unwrap();
    assert_eq!(machine.vcpu_places(LONG), [here], "resumed");
    machine.kill();
    assert_eq!(machine.vcpu_places(LONG), [], "ended");
}

#[test]
fn an_idle_guest_is_halted_and_a_busy_one_is_in_its_program() {
    let mut guest = boot_guest(MachineConfig { cpus: 2, ..config() });
    let symbols = Symbolizer::new(KernelFiles {
        kernel: artifact("vmlinux"),
        debuginfo: Vec::new(),
    });
    let places = until(&guest.machine, |places| {
        places.len() == 2 && places.iter().all(is_halted)
    });
    for place in places {
        let VcpuPlace::At {
            instruction,
            user: false,
            syscall_entry,
            ..
        } = place
        else {
            panic!("{place:x?}")
        };
        let name = symbols.name(instruction, syscall_entry, true).unwrap();
        assert!(name.contains("_halt+0x") || name.contains("idle"), "{name}");
        assert!(name.contains(" (arch/x86/"), "{name}");
    }
    sh(&mut guest, "(while :; do :; done) >/dev/null 2>&1 &");
    let user = |places: &[VcpuPlace]| {
        places
            .iter()
            .any(|place| matches!(place, VcpuPlace::At { user: true, .. }))
    };
    until(&guest.machine, user);
    assert_eq!(stdout(&mut guest, "echo still here"), "still here\n");
}

#[test]
fn looking_does_not_hold_up_the_guest() {
    let mut guest = boot_guest(MachineConfig { cpus: 2, ..config() });
    let machine = std::sync::Arc::clone(&guest.machine);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(machine.vcpu_places(LONG).len(), 2);
                looks += 1;
            }
            looks
        });
        // Console, disk-free file system and channel: exits of every kind in the midst of looks.
        let text = stdout(
            &mut guest,
            "dmesg > /dev/console; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo $i",
        );
        assert_eq!(text, "2000\n");
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(looker.join().unwrap() > 1);
    });
}
