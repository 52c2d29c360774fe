//! The tests of an event stream that was saved.
//!
//! Input: frames. Output: [`Coverage`]. Not here: how a stream is written.

use std::collections::BTreeMap;
use std::io::{self, Read};

use provium_base::meta::{Meta, MetaValue};
use serde::Deserialize;

use super::{CameTo, Coverage};

/// Most bytes of a frame.
const FRAME_MAX: usize = 256 << 20;

/// Why an event stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame is none.
    #[error("it is no event stream: frame {number}, at byte {at}: {what}")]
    Frame {
        /// From 1.
        number: usize,
        /// Where it begins.
        at: u64,
        /// What is wrong.
        what: String,
    },
}

/// What of a frame is of interest.
#[derive(Deserialize)]
struct Frame {
    kind: String,
    payload: BTreeMap<String, MetaValue>,
}

/// Reads a stream to its end. A last frame that was cut off, by a run that was killed, is left out.
///
/// # Errors
/// [`ReadError`].
pub fn read(mut stream: impl Read) -> Result<Coverage, ReadError> {
    let mut coverage = Coverage::default();
    let (mut number, mut at) = (0, 0);
    while let Some(length) = whole(&mut stream, 4)? {
        number += 1;
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        let wrong = |what: String| ReadError::Frame { number, at, what };
        if length > FRAME_MAX {
            return Err(wrong(format!("it would have {length} bytes")));
        }
        let Some(bytes) = whole(&mut stream, length)? else {
            break;
        };
        let frame: Frame = rmp_serde::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        add(&mut coverage, frame);
        at += 4 + length as u64;
    }
    Ok(coverage)
}

/// So many bytes, if there are as many.
fn whole(stream: &mut impl Read, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    Ok((bytes.len() == length).then_some(bytes))
}

fn add(coverage: &mut Coverage, mut frame: Frame) {
    let came_to = match frame.kind.as_str() {
        "test_passed" => CameTo::Passed,
        "test_failed" => CameTo::Failed,
        "test_skipped" => CameTo::Skipped,
        _ => return,
    };
    let meta = match frame.payload.remove("meta") {
        Some(MetaValue::Map(meta)) => meta,
        _ => Meta::new(),
    };
    if let (Some(MetaValue::Text(path)), Some(MetaValue::Text(name))) =
        (frame.payload.get("path"), frame.payload.get("name"))
    {
        coverage.add(path, name, meta, came_to);
    }
}
