//! Snapshots as files: made, looked into, and written anew with something else in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_guest::{Guest, ResumeOptions, save};
use provium_vmm::snapshot::state::MachineState;
use provium_vmm::snapshot::{STATE_FILE, Snapshot, SnapshotId};
use provium_vmm::{Machine, SaveOptions};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the state: magic, version, length.
const HEADER: usize = 20;
const CHECKSUM: usize = 8;

/// A guest saved into a folder of its own, whole.
pub fn saved(guest: &Guest) -> (TempDir, Arc<Snapshot>) {
    saved_as(guest, false)
}

/// A guest saved into a folder of its own, perhaps only what differs from its parent.
pub fn saved_as(guest: &Guest, on_parent: bool) -> (TempDir, Arc<Snapshot>) {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = save(guest, folder.path(), on_parent, ResumeOptions::default())
        .unwrap_or_else(|error| panic!("save: {error}"));
    (folder, snapshot)
}

/// A paused machine saved into a folder of its own.
pub fn saved_machine(machine: &Machine, on_parent: bool) -> (TempDir, Arc<Snapshot>) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SaveOptions {
        on_parent,
        ..SaveOptions::default()
    };
    let snapshot = machine.save(folder.path(), options);
    (folder, snapshot.unwrap_or_else(|error| panic!("save: {error}")))
}

/// What is in the file `state`.
pub fn state_of(folder: &Path) -> MachineState {
    let bytes = std::fs::read(state_file(folder)).expect("a state");
    rmp_serde::from_slice(&bytes[HEADER..bytes.len() - CHECKSUM]).expect("as it is documented")
}

/// Writes the state anew with a change that its checksum does not betray.
pub fn rewrite(folder: &Path, change: impl FnOnce(&mut MachineState)) {
    let mut state = state_of(folder);
    change(&mut state);
    let before = std::fs::read(state_file(folder)).expect("a state");
    let payload = rmp_serde::to_vec_named(&state).expect("plain data");
    let mut bytes = before[..12].to_vec();
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    std::fs::write(state_file(folder), bytes).expect("written");
}

fn state_file(folder: &Path) -> PathBuf {
    folder.join(STATE_FILE)
}

/// Where SYSENTER goes. Of KVM on AMD, where that instruction is for 32-bit code alone, a write takes the
/// lower half and a read gives what the guest wrote.
const SYSENTER: [u32; 2] = [0x175, 0x176];

/// The local APIC's processor priority (Intel SDM, volume 3, 11.8.3.1). It follows from the task priority and
/// the interrupts in service, which are compared; KVM brings it up to date when it next needs it, and when a
/// state is set.
const PROCESSOR_PRIORITY: std::ops::Range<usize> = 0xa0..0xa4;

/// The state without what no two saves have in common, as text: the name, the time of the save, the clocks,
/// which go on while a machine is paused.
pub fn essence(mut state: MachineState) -> String {
    state.id = SnapshotId(0, 0);
    state.saved_at_ns = 0;
    state.chips.clock_ns = 0;
    for vcpu in &mut state.vcpus {
        vcpu.tsc = 0;
        let sysenter = vcpu.msrs.iter_mut().filter(|msr| SYSENTER.contains(&msr.index));
        sysenter.for_each(|msr| msr.data &= 0xffff_ffff);
        vcpu.lapic.regs[PROCESSOR_PRIORITY].fill(0);
    }
    format!("{state:#?}")
}

/// The first lines in which two texts differ.
pub fn first_differences(left: &str, right: &str) -> String {
    let mut before = "";
    let mut shown = Vec::new();
    for (left, right) in left.lines().zip(right.lines()) {
        if left != right {
            shown.push(format!("{} {} / {}", before.trim(), left.trim(), right.trim()));
        }
        before = left;
    }
    shown.truncate(20);
    shown.join("\n")
}
