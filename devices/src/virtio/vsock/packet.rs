//! The packet header, virtio 1.2 section 5.10.6: 44 bytes, little-endian.
//!
//! Input: bytes, or a [`Header`]. Output: the other. Not here: payload.

/// The host's context id, virtio 1.2 section 5.10.4.
pub(crate) const HOST_CID: u64 = 2;
/// Bytes of a header on the wire.
pub(crate) const HEADER_SIZE: usize = 44;
/// Most bytes of payload in one packet; Linux's limit is the same.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024;
/// Type of a stream socket, the only one here.
pub(crate) const TYPE_STREAM: u16 = 1;

/// Operations: what a packet says.
#[allow(dead_code)]
pub(crate) mod op {
    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const RESPONSE: u16 = 2;
    pub(crate) const RST: u16 = 3;
    pub(crate) const SHUTDOWN: u16 = 4;
    pub(crate) const RW: u16 = 5;
    pub(crate) const CREDIT_UPDATE: u16 = 6;
    pub(crate) const CREDIT_REQUEST: u16 = 7;
}

/// SHUTDOWN's flag: the sender will receive no more.
pub(crate) const SHUTDOWN_RECEIVE: u32 = 1;
/// SHUTDOWN's flag: the sender will send no more.
pub(crate) const SHUTDOWN_SEND: u32 = 2;

/// One packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) src_cid: u64,
    pub(crate) dst_cid: u64,
    pub(crate) src_port: u32,
    pub(crate) dst_port: u32,
    pub(crate) len: u32,
    pub(crate) socket_type: u16,
    pub(crate) op: u16,
    pub(crate) flags: u32,
    pub(crate) buf_alloc: u32,
    pub(crate) fwd_cnt: u32,
}

impl Header {
    /// The header in `bytes`; any bytes are one.
    pub(crate) fn parse(bytes: &[u8; HEADER_SIZE]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | (u32::from(u16_at(at + 2)) << 16);
        let u64_at = |at: usize| u64::from(u32_at(at)) | (u64::from(u32_at(at + 4)) << 32);
        Self {
            src_cid: u64_at(0),
            dst_cid: u64_at(8),
            src_port: u32_at(16),
            dst_port: u32_at(20),
            len: u32_at(24),
            socket_type: u16_at(28),
            op: u16_at(30),
            flags: u32_at(32),
            buf_alloc: u32_at(36),
            fwd_cnt: u32_at(40),
        }
    }

    /// The header as on the wire.
    pub(crate) fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[0..8].copy_from_slice(&self.src_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.dst_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.src_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.dst_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.len.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.socket_type.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.op.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buf_alloc.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.fwd_cnt.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        let mut bytes = [0; HEADER_SIZE];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = i as u8;
        }
        let header = Header::parse(&bytes);
        assert_eq!(header.src_cid, 0x0706_0504_0302_0100);
        assert_eq!(header.dst_port, 0x1716_1514);
        assert_eq!(header.socket_type, 0x1d1c);
        assert_eq!(header.op, 0x1f1e);
        assert_eq!(header.fwd_cnt, 0x2b2a_2928);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_the_way_there_and_back(bytes in any::<[u8; 32]>(), rest in any::<[u8; 12]>()) {
            let mut all = [0; HEADER_SIZE];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&rest);
            prop_assert_eq!(Header::parse(&all).to_bytes(), all);
        }
    }
}
