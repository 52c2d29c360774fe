//! One request: its header, its data, its status byte.
//!
//! Input: a chain of buffers that a driver made, in any shape. Output: the number of bytes that were written
//! into it. Not here: when it is done. A chain that is no request comes back with an error in its status
//! byte, or, without room for one, empty.

use std::io::{Read, Write};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_queue::{Reader, Writer};
use vm_memory::bitmap::BitmapSlice;

use super::backend::{Access, Backend, ID_BYTES, SECTOR};
use crate::GuestRam;
use crate::virtio::chain::Chain;

const S_OK: u8 = VIRTIO_BLK_S_OK as u8;
const S_IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const S_UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;

/// Most bytes that are moved at once.
const BUFFER: usize = 256 << 10;
/// Most bytes of one request that are moved before anybody else has a turn: a driver may ask for gigabytes.
pub(super) const PIECE: usize = 2 << 20;

/// How far a request has come.
pub(super) enum Progress {
    /// It is done, with this many bytes written into its chain.
    Done(u32),
    /// So many bytes of its data were moved, and there are more.
    Partly(usize),
}

/// A request's header: its kind and its first sector.
struct Header {
    kind: u32,
    sector: u64,
}

fn header(reader: &mut impl Read) -> Option<Header> {
    let mut bytes = [0; 16];
    reader.read_exact(&mut bytes).ok()?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Some(Header {
        kind: word(0),
        sector: u64::from(word(8)) | u64::from(word(12)) << 32,
    })
}

/// What the request in `chain` asks of the medium.
pub(super) fn access(ram: &GuestRam, chain: Chain<'_>) -> Access {
    let (Ok(mut reader), Ok(writer)) = (chain.clone().reader(ram), chain.writer(ram)) else {
        return Access::Other;
    };
    let sectors = |bytes: usize| bytes as u64 / SECTOR;
    match header(&mut reader) {
        Some(Header {
            kind: VIRTIO_BLK_T_IN,
            sector,
        }) => Access::Read(sector, sectors(writer.available_bytes())),
        Some(Header {
            kind: VIRTIO_BLK_T_OUT,
            sector,
        }) => Access::Write(sector, sectors(reader.available_bytes())),
        Some(Header {
            kind: VIRTIO_BLK_T_FLUSH,
            ..
        }) => Access::Flush,
        _ => Access::Other,
    }
}

/// Does the request from byte `done` of its data on, a piece of it at most, or fails it when there is no
/// medium. Between two pieces the driver may have changed what it asks for, so all is checked each time.
pub(super) fn execute(
    medium: Option<&dyn Backend>,
    ram: &GuestRam,
    chain: Chain<'_>,
    done: usize,
) -> Progress {
    const NOTHING: Progress = Progress::Done(0);
    let (Ok(mut reader), Ok(mut writer)) = (chain.clone().reader(ram), chain.writer(ram)) else {
        return NOTHING;
    };
    let Some(room) = writer.available_bytes().checked_sub(1) else {
        return NOTHING;
    };
    let Ok(mut status) = writer.split_at(room) else {
        return NOTHING;
    };
    let performed = match (header(&mut reader), medium) {
        (Some(header), Some(medium)) => perform(medium, &header, &mut reader, &mut writer, done),
        _ => None,
    };
    let (code, written) = match performed {
        Some(Performed::Whole(code, written)) => (code, written),
        Some(Performed::Part(done)) => return Progress::Partly(done),
        None => (S_IOERR, 0),
    };
    match status.write_all(&[code]) {
        Ok(()) => {
            Progress::Done(u32::try_from(written).map_or(u32::MAX, |written| written.saturating_add(1)))
        }
        Err(_) => NOTHING,
    }
}

/// What was done of a request.
enum Performed {
    /// All: its status, and the bytes written before that.
    Whole(u8, usize),
    /// The data up to here.
    Part(usize),
}

/// Does the next piece of a request; `None` is an error of the medium, or of the driver.
fn perform<B: BitmapSlice>(
    medium: &dyn Backend,
    header: &Header,
    reader: &mut Reader<'_, B>,
    writer: &mut Writer<'_, B>,
    done: usize,
) -> Option<Performed> {
    match header.kind {
        VIRTIO_BLK_T_IN => {
            let len = writer.available_bytes();
            check(medium, header.sector, len)?;
            let mut rest = writer.split_at(done).ok()?;
            let end = pieces(header.sector, done, len, |sector, piece| {
                medium.read(sector, piece).ok()?;
                rest.write_all(piece).ok()
            })?;
            Some(match end < len {
                true => Performed::Part(end),
                false => Performed::Whole(S_OK, len),
            })
        }
        VIRTIO_BLK_T_OUT => {
            let len = reader.available_bytes();
            check(medium, header.sector, len)?;
            if medium.is_readonly() {
                return None;
            }
            let mut rest = reader.split_at(done).ok()?;
            let end = pieces(header.sector, done, len, |sector, piece| {
                rest.read_exact(piece).ok()?;
                medium.write(sector, piece).ok()
            })?;
            Some(match end < len {
                true => Performed::Part(end),
                false => Performed::Whole(S_OK, 0),
            })
        }
        VIRTIO_BLK_T_FLUSH => medium.flush().ok().map(|()| Performed::Whole(S_OK, 0)),
        VIRTIO_BLK_T_GET_ID => {
            let id = medium.id();
            let len = writer.available_bytes().min(ID_BYTES);
            writer.write_all(&id[..len]).ok()?;
            Some(Performed::Whole(S_OK, len))
        }
        _ => Some(Performed::Whole(S_UNSUPP, 0)),
    }
}

/// `None` unless `len` bytes from `sector` on are whole sectors that exist.
fn check(medium: &dyn Backend, sector: u64, len: usize) -> Option<()> {
    let len = len as u64;
    let end = sector.checked_add(len / SECTOR)?;
    (len.is_multiple_of(SECTOR) && end <= medium.sectors()).then_some(())
}

/// Calls `each` with sector and buffer for what comes behind byte `done` of `len`, a piece at most; gives the
/// byte it came to.
fn pieces(
    first: u64,
    done: usize,
    len: usize,
    mut each: impl FnMut(u64, &mut [u8]) -> Option<()>,
) -> Option<usize> {
    let end = len.min(done.saturating_add(PIECE));
    let mut at = done.min(end);
    let mut buffer = vec![0; (end - at).min(BUFFER)];
    while at < end {
        let piece = &mut buffer[..(end - at).min(BUFFER)];
        each(first + at as u64 / SECTOR, piece)?;
        at += piece.len();
    }
    Some(end)
}
