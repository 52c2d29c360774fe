//! What the fuzz targets share: choices out of an input, a driver that makes them, first inputs.
//!
//! Input: libFuzzer's bytes. Output: calls of what reads them, and panics where that breaks a promise. The
//! targets are in `fuzz_targets/`, one for each kind of bytes that come from somebody who is not trusted;
//! `cargo xtask fuzz` builds and runs them.

pub mod device;
pub mod disk;
pub mod folder;
pub mod input;
pub mod seeds;
pub mod sockets;
