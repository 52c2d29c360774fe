//! Readers of bytes that nobody vouches for, each by itself and without a machine, for fuzz targets.
//!
//! Input: bytes. Output: what a machine would make of them. Not here: anything that a machine does.

use std::error::Error;
use std::path::Path;

use provium_devices::GuestRam;

use crate::boot::{kernel, params};
use crate::snapshot::SnapshotError;
use crate::snapshot::state::MachineState;

/// Loads a kernel and an initrd, and writes the boot parameters, as the start of a machine does.
///
/// # Errors
/// Those of a machine's start.
pub fn load_kernel(
    ram: &GuestRam,
    path: &Path,
    initrd: Option<&Path>,
    cmdline: &str,
) -> Result<(), Box<dyn Error>> {
    let loaded = kernel::load_kernel(ram, path)?;
    let initrd = kernel::load_initrd(ram, &loaded, &[], initrd, &[])?;
    let params = params::Params {
        header: loaded.header,
        cmdline,
        initrd,
        rsdp: None,
    };
    Ok(params::write(ram, &params)?)
}

/// The state that a snapshot's file has, of which `payload` is all but the frame with its checksum.
///
/// # Errors
/// Those of opening a snapshot.
pub fn read_state(payload: &[u8]) -> Result<MachineState, SnapshotError> {
    let folder = Path::new("/snapshot");
    let state = crate::snapshot::read_state(folder, payload)?;
    state.check(folder)?;
    Ok(state)
}

/// The same the other way round.
pub fn state_payload(state: &MachineState) -> Vec<u8> {
    rmp_serde::to_vec_named(state).expect("plain data is written to memory")
}
