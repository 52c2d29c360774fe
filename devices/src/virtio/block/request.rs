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

/// Most bytes that are moved at once: a driver may ask for gigabytes in one request.
const PIECE: usize = 256 << 10;

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

/// Does the request, or fails it when there is no medium; gives the number of bytes written into the chain.
pub(super) fn execute(medium: Option<&dyn Backend>, ram: &GuestRam, chain: Chain<'_>) -> u32 {
    let (Ok(mut reader), Ok(mut writer)) = (chain.clone().reader(ram), chain.writer(ram)) else {
        return 0;
    };
    let Some(room) = writer.available_bytes().checked_sub(1) else {
        return 0;
    };
    let Ok(mut status) = writer.split_at(room) else {
        return 0;
    };
    let (code, written) = match (header(&mut reader), medium) {
        (Some(header), Some(medium)) => {
            let done = perform(medium, &header, &mut reader, &mut writer);
            done.unwrap_or((S_IOERR, 0))
        }
        _ => (S_IOERR, 0),
    };
    match status.write_all(&[code]) {
        Ok(()) => u32::try_from(written).map_or(u32::MAX, |written| written.saturating_add(1)),
        Err(_) => 0,
    }
}

/// The status and the bytes written before it; `None` is an error of the medium, or of the driver.
fn perform<B: BitmapSlice>(
    medium: &dyn Backend,
    header: &Header,
    reader: &mut Reader<'_, B>,
    writer: &mut Writer<'_, B>,
) -> Option<(u8, usize)> {
    match header.kind {
        VIRTIO_BLK_T_IN => {
            let len = writer.available_bytes();
            check(medium, header.sector, len)?;
            pieces(header.sector, len, |sector, piece| {
                medium.read(sector, piece).ok()?;
                writer.write_all(piece).ok()
            })?;
            Some((S_OK, len))
        }
        VIRTIO_BLK_T_OUT => {
            let len = reader.available_bytes();
            check(medium, header.sector, len)?;
            if medium.is_readonly() {
                return None;
            }
            pieces(header.sector, len, |sector, piece| {
                reader.read_exact(piece).ok()?;
                medium.write(sector, piece).ok()
            })?;
            Some((S_OK, 0))
        }
        VIRTIO_BLK_T_FLUSH => medium.flush().ok().map(|()| (S_OK, 0)),
        VIRTIO_BLK_T_GET_ID => {
            let id = medium.id();
            let len = writer.available_bytes().min(ID_BYTES);
            writer.write_all(&id[..len]).ok()?;
            Some((S_OK, len))
        }
        _ => Some((S_UNSUPP, 0)),
    }
}

/// `None` unless `len` bytes from `sector` on are whole sectors that exist.
fn check(medium: &dyn Backend, sector: u64, len: usize) -> Option<()> {
    let len = len as u64;
    let end = sector.checked_add(len / SECTOR)?;
    (len.is_multiple_of(SECTOR) && end <= medium.sectors()).then_some(())
}

/// Calls `each` with sector and buffer of each piece of `len` bytes.
fn pieces(first: u64, len: usize, mut each: impl FnMut(u64, &mut [u8]) -> Option<()>) -> Option<()> {
    let mut buffer = vec![0; len.min(PIECE)];
    let mut at = 0;
    while at < len {
        let piece = &mut buffer[..(len - at).min(PIECE)];
        each(first + at as u64 / SECTOR, piece)?;
        at += piece.len();
    }
    Some(())
}
