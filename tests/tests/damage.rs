//! Snapshots that are damaged, made elsewhere or of another machine are refused with a reason, and nothing
//! else happens.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use provium_guest::{ResumeError, ResumeOptions, reset, resume};
use provium_tests::*;
use provium_vmm::snapshot::state::MachineState;
use provium_vmm::snapshot::{MEMORY_FILE, STATE_FILE, Snapshot, SnapshotError};
use provium_vmm::{EndReason, Machine, MachineConfig, MachineError, SaveOptions};

/// Prints `a`, then counts for ever in memory.
#[rustfmt::skip]
const COUNTER: [u8; 18] = [
    0x66, 0xba, 0xf8, 0x03, 0xb0, b'a', 0xee, // mov dx, 0x3f8; mov al, 'a'; out dx, al
    0x48, 0xff, 0x04, 0x25, 0, 0, 0x30, 0,    // again: inc qword [0x300000]
    0xeb, 0xf6, 0x90,                         // jmp again
];

fn paused_counter() -> Machine {
    let machine = start_payload(&COUNTER);
    while machine.console_log().is_empty() {
        std::thread::yield_now();
    }
    machine.pause().unwrap();
    machine
}

/// The machine goes on counting.
fn assert_runs(machine: &Machine) {
    let count = || {
        let (folder, _) = saved_machine(machine, false);
        let mut bytes = [0; 8];
        let memory = File::open(folder.path().join(MEMORY_FILE)).unwrap();
        memory.read_exact_at(&mut bytes, 0x300000).unwrap();
        u64::from_le_bytes(bytes)
    };
    let before = count();
    machine.resume().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    machine.pause().unwrap();
    assert!(count() > before, "it counts on from {before}");
}

fn opened(folder: &Path) -> Result<Arc<Snapshot>, SnapshotError> {
    let snapshot = Snapshot::open(folder)?;
    snapshot.verify()?;
    Ok(snapshot)
}

#[test]
fn files_that_are_not_what_was_written_are_refused() {
    let machine = paused_counter();
    let (folder, snapshot) = saved_machine(&machine, false);
    opened(folder.path()).unwrap();
    let path = folder.path().join(STATE_FILE);
    let good = std::fs::read(&path).unwrap();
    for at in (0..64)
        .chain((64..good.len()).step_by(131))
        .chain(good.len() - 64..good.len())
    {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        assert!(opened(folder.path()).is_err(), "byte {at} of the state flipped");
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(opened(folder.path()).is_err(), "the state cut at {at}");
    }
    std::fs::write(&path, &good).unwrap();
    opened(folder.path()).unwrap();

    let memory = File::options()
        .read(true)
        .write(true)
        .open(folder.path().join(MEMORY_FILE))
        .unwrap();
    let runs = state_of(folder.path()).memory.index.runs;
    let ends = runs
        .iter()
        .flat_map(|(first, count)| [first * 4096, (first + count) * 4096 - 1]);
    for at in ends.chain([0, 0x200_0000, snapshot.memory() - 1]) {
        let mut byte = [0];
        memory.read_exact_at(&mut byte, at).unwrap();
        memory.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        let error = opened(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged: its file `memory`"), "{error}");
        memory.write_all_at(&byte, at).unwrap();
    }
    opened(folder.path()).unwrap();
    for len in [0, 4096, snapshot.memory() - 1, snapshot.memory() + 4096] {
        memory.set_len(len).unwrap();
        assert!(Snapshot::open(folder.path()).is_err(), "{len} bytes of memory");
    }
    std::fs::remove_file(folder.path().join(MEMORY_FILE)).unwrap();
    assert!(matches!(opened(folder.path()), Err(SnapshotError::Io { .. })));
    assert_runs(&machine);
}

#[test]
fn a_snapshot_of_another_machine_or_host_leaves_the_machine_as_it_was() {
    let machine = paused_counter();
    let (folder, own) = saved_machine(&machine, false);
    for (memory, cpus) in [(96 << 20, 1), (64 << 20, 2)] {
        let other = Machine::blank(memory, cpus).unwrap();
        let error = other.load(&own).unwrap_err();
        assert!(matches!(error, MachineError::Shape { .. }), "{error}");
        assert_eq!(other.ended(), None);
    }
    type Change = fn(&mut MachineState);
    let hosts: [Change; 3] = [
        |state| state.host.cpu.push('x'),
        |state| state.host.cpuid ^= 1,
        |state| state.host.kernel.push('x'),
    ];
    for change in hosts {
        rewrite(folder.path(), change);
        let foreign = opened(folder.path()).unwrap();
        let error = machine.load(&foreign).unwrap_err();
        assert!(
            matches!(error, MachineError::Snapshot(SnapshotError::Host { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("was made on"), "{error}");
        assert!(machine.is_paused());
        assert_runs(&machine);
    }
    let (folder, _) = saved_machine(&machine, false);
    rewrite(folder.path(), |state| {
        state.vcpus[0].tsc_khz += state.vcpus[0].tsc_khz / 10
    });
    let faster = opened(folder.path()).unwrap();
    let error = machine.load(&faster).unwrap_err();
    assert!(matches!(error, MachineError::Frequency { .. }), "{error}");
    assert_runs(&machine);
    machine.resume().unwrap();
    assert!(matches!(machine.load(&own), Err(MachineError::NotPaused)));
    let folder = tempfile::tempdir().unwrap();
    let refused = machine.save(folder.path(), provium_vmm::SaveOptions::default());
    assert!(matches!(refused, Err(MachineError::NotPaused)));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

/// A state that is whole, and that no KVM can have given.
#[test]
fn a_state_that_kvm_or_a_device_refuses_ends_the_machine_with_the_reason() {
    type Change = fn(&mut MachineState);
    let changes: [(&str, Change); 8] = [
        ("XSAVE", |state| state.vcpus[0].xsave.truncate(100)),
        ("XSAVE", |state| state.vcpus[0].xsave.truncate(4092)),
        ("XSAVE", |state| state.vcpus[0].xsave.extend([0; 4096])),
        ("KVM_SET_SREGS", |state| state.vcpus[0].sregs.cr4 = u64::MAX),
        ("KVM_SET_MP_STATE", |state| state.vcpus[0].mp_state.mp_state = 77),
        ("virtio devices", |state| state.devices.virtio.truncate(1)),
        ("belongs to device", |state| state.devices.virtio.swap(0, 1)),
        ("serial port", |state| state.devices.serial.fifo = vec![0; 1000]),
    ];
    let machine = paused_counter();
    let (folder, _) = saved_machine(&machine, false);
    let good = std::fs::read(folder.path().join(STATE_FILE)).unwrap();
    for (expected, change) in changes {
        std::fs::write(folder.path().join(STATE_FILE), &good).unwrap();
        rewrite(folder.path(), change);
        let spoiled = opened(folder.path()).unwrap();
        let shell = Machine::blank(spoiled.memory(), spoiled.cpus()).unwrap();
        let error = shell.load(&spoiled).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let Some(EndReason::Monitor(why)) = shell.ended() else {
            panic!("{expected}: {:?}", shell.ended())
        };
        assert!(why.contains(&error), "{why}");
        assert!(matches!(shell.load(&spoiled), Err(MachineError::Ended(_))));
    }
    assert_runs(&machine);
}

#[test]
fn a_guest_given_a_snapshot_it_cannot_take_goes_on_and_one_without_session_is_no_guest() {
    let mut guest = boot_guest(config());
    let (folder, snapshot) = saved(&guest);
    let other = boot_guest(MachineConfig { cpus: 2, ..config() });
    let (_other_folder, other_snapshot) = saved(&other);
    drop(other);
    let refused = reset(&mut guest, &other_snapshot, ResumeOptions::default()).unwrap_err();
    assert!(
        matches!(refused, ResumeError::Machine(MachineError::Shape { .. })),
        "{refused}"
    );
    assert!(!guest.machine.is_paused());
    assert_eq!(stdout(&mut guest, "echo goes on"), "goes on\n");
    guest.machine.pause().unwrap();
    reset(&mut guest, &other_snapshot, ResumeOptions::default()).unwrap_err();
    assert!(guest.machine.is_paused(), "it was before");
    reset(&mut guest, &snapshot, ResumeOptions::default()).unwrap();
    guest.client.ping().unwrap();

    for note in [b"".to_vec(), b"\x92\x92\x01\x02\x03".to_vec()] {
        rewrite(folder.path(), |state| state.note = note);
        let bare = opened(folder.path()).unwrap();
        let error = resume(&bare, ResumeOptions::default()).unwrap_err();
        assert!(matches!(error, ResumeError::NoSession { .. }), "{error}");
    }
    let bare = opened(folder.path()).unwrap();
    reset(&mut guest, &bare, ResumeOptions::default()).unwrap_err();
    assert_eq!(
        guest.machine.ended(),
        Some(EndReason::Killed),
        "it is neither what it was nor a guest"
    );
}

/// The memory file of the snapshot in `folder`, cut to nothing by somebody else.
fn cut_memory(folder: &Path) {
    let memory = File::options().write(true).open(folder.join(MEMORY_FILE));
    memory.unwrap().set_len(0).unwrap();
}

#[test]
fn a_memory_file_that_is_cut_short_ends_the_guest_that_runs_from_it_and_no_other() {
    let machine = paused_counter();
    let (folder, snapshot) = saved_machine(&machine, false);
    let other = Machine::restore(&snapshot).unwrap();
    cut_memory(folder.path());
    other.resume().unwrap();
    let Some(EndReason::MemoryLost(cause)) = other.wait_end(Some(LONG)) else {
        panic!("{:?}", other.ended());
    };
    let file = format!(
        "the snapshot in {} is damaged: while a machine used it, its file `memory` was cut from {} to 0 bytes",
        folder.path().display(),
        64 << 20
    );
    assert_eq!(cause, file);
    assert_runs(&machine);
}

#[test]
fn what_the_monitor_itself_reads_of_a_file_that_is_cut_short_is_not_taken_for_zeros() {
    let machine = paused_counter();
    let (folder, snapshot) = saved_machine(&machine, false);
    let other = Machine::restore(&snapshot).unwrap();
    cut_memory(folder.path());
    let empty = tempfile::tempdir().unwrap();
    let error = other.save(empty.path(), SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("its file `memory` was cut"), "{error}");
    let error = loop {
        machine.resume().unwrap();
        machine.pause().unwrap();
        match machine.load(&snapshot) {
            // It has not come to write anything yet.
            Ok(copied) => assert_eq!(copied, Some(0)),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("its file `memory` was cut"), "{error}");
    for machine in [other, machine] {
        let end = machine.wait_end(Some(LONG));
        assert!(matches!(end, Some(EndReason::MemoryLost(_))), "{end:?}");
    }
}
