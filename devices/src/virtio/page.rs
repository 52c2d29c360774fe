//! A page of memory in place of a transport's registers.
//!
//! Input: what each register reads as. Output: the page. Not here: where the page is, which is the monitor's;
//! what a register is for (`mmio`).

use super::registers::reg;

/// Bytes of config space that a page of registers has; no device that is on one has more.
const CONFIG_SHOWN: u64 = 64;

/// A page of memory that the guest reads a transport's registers from without leaving. Writes leave as ever,
/// but for those to InterruptACK, which need not arrive.
pub trait RegisterPage: Send {
    /// Shows `value` at `offset`, a multiple of four below [`MMIO_SIZE`].
    fn show(&self, offset: u64, value: u32);
}

/// Shows all registers, each as `read` fills a word for its offset.
pub(super) fn show(page: &dyn RegisterPage, read: impl Fn(u64, &mut [u8; 4])) {
    for offset in (0..reg::CONFIG + CONFIG_SHOWN).step_by(4) {
        let mut word = [0; 4];
        read(offset, &mut word);
        page.show(offset, u32::from_le_bytes(word));
    }
}
