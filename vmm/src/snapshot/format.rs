//! The frame of the file `state`; the [module above](super) describes it.
//!
//! Input: a [`MachineState`], or a folder. Output: the file, or the state in it. Not here: whether a machine
//! can have been in that state ([`MachineState::check`]).

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::error::SnapshotError;
use super::files::{FORMAT_VERSION, STATE_FILE};
use super::state::MachineState;
use crate::layer::io_error;

const MAGIC: &[u8; 8] = b"PROVIUM\0";
const HEADER: usize = 8 + 4 + 8;
const CHECKSUM: usize = 8;
/// Most bytes of a state; a typical one has some twenty thousand.
const MAX_STATE: u64 = 64 << 20;

/// Writes the file `state` through to the disk; the last step of a save.
pub(crate) fn write(folder: &Path, state: &MachineState) -> Result<(), SnapshotError> {
    let path = folder.join(STATE_FILE);
    let bytes = encode(state);
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    let mut file = options.map_err(io_error(&path))?;
    let written = file.write_all(&bytes).and_then(|()| file.sync_all());
    Ok(written.map_err(io_error(&path))?)
}

/// Reads and checks the file.
pub(super) fn read(folder: &Path) -> Result<MachineState, SnapshotError> {
    let path = folder.join(STATE_FILE);
    let file = File::open(&path).map_err(io_error(&path))?;
    let mut bytes = Vec::new();
    file.take(MAX_STATE + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error(&path))?;
    decode(folder, &bytes)
}

fn encode(state: &MachineState) -> Vec<u8> {
    frame(&rmp_serde::to_vec_named(state).expect("plain data is written to memory"))
}

/// The state in a file whose frame is right, around this payload.
pub(crate) fn read_payload(folder: &Path, payload: &[u8]) -> Result<MachineState, SnapshotError> {
    decode(folder, &frame(payload))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len() + CHECKSUM);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    bytes
}

fn decode(folder: &Path, bytes: &[u8]) -> Result<MachineState, SnapshotError> {
    let damaged = |what: &str| SnapshotError::Damaged {
        folder: folder.to_owned(),
        what: format!("its file `{STATE_FILE}` {what}"),
    };
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Err(damaged(&format!("has only {} bytes", bytes.len())));
    };
    if &header[..8] != MAGIC {
        return Err(damaged("is no state of a machine"));
    }
    let number = |range: std::ops::Range<usize>| {
        let mut word = [0; 8];
        word[..range.len()].copy_from_slice(&header[range]);
        u64::from_le_bytes(word)
    };
    let version = number(8..12) as u32;
    if version != FORMAT_VERSION {
        return Err(SnapshotError::Version {
            folder: folder.to_owned(),
            found: version,
        });
    }
    let len = number(12..20);
    if len > MAX_STATE || rest.len() as u64 != len + CHECKSUM as u64 {
        return Err(damaged(&format!(
            "should have {len} bytes of state, and has {} of all",
            rest.len()
        )));
    }
    let (covered, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if xxh3_64(covered).to_le_bytes() != checksum {
        return Err(damaged("has another checksum than when it was written"));
    }
    rmp_serde::from_slice(&covered[HEADER..]).map_err(|error| damaged(&format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::sample;
    use super::*;

    /// The first 16 digits of a digest of the sample's bytes, by version. A structure that changes makes
    /// another digest, and needs another version.
    const FINGERPRINTS: [(u32, u64); 4] = [
        (1, 0x8991_2a04_64e5_5742),
        (2, 0xcbd8_19a8_30b0_000f),
        // The same structures, of which the interrupt of the first virtio device means another thing.
        (3, 0xcbd8_19a8_30b0_000f),
        // Shared folders, whose slot every machine has.
        (4, 0x3831_3a5d_966a_38cd),
    ];

    #[test]
    fn a_changed_format_has_a_new_version() {
        let fingerprint = xxh3_64(&rmp_serde::to_vec_named(&sample()).unwrap());
        let known = FINGERPRINTS.last().copied();
        assert_eq!(
            known,
            Some((FORMAT_VERSION, fingerprint)),
            "the format has changed: raise FORMAT_VERSION and add {fingerprint:#x} to FINGERPRINTS"
        );
    }

    /// Where the fuzzer begins: the sample, but for most of its vCPUs, whose bytes say nothing to a reader.
    #[test]
    fn the_fuzzers_first_state_is_one_of_this_version() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/state/sample");
        let mut state = sample();
        state.shape.cpus = 1;
        state.vcpus.truncate(1);
        state.vcpus[0].xsave.truncate(64);
        let payload = rmp_serde::to_vec_named(&state).unwrap();
        if std::env::var_os("PROVIUM_WRITE_SAMPLE").is_some() {
            std::fs::write(&path, &payload).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == payload, "run this test once with PROVIUM_WRITE_SAMPLE=1");
    }

    #[test]
    fn what_is_written_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = sample();
        write(folder.path(), &state).unwrap();
        let back = read(folder.path()).unwrap();
        assert_eq!(encode(&back), encode(&state));
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let good = encode(&sample());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(decode(folder.path(), &bad).is_err(), "byte {at} flipped");
            assert!(decode(folder.path(), &good[..at]).is_err(), "cut at {at}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(decode(folder.path(), &longer).is_err());
        let mut newer = good.clone();
        newer[8] = 99;
        let error = decode(folder.path(), &newer).unwrap_err().to_string();
        assert!(error.contains("has format 99, and this is"), "{error}");
    }
}
