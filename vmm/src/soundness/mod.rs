//! Whether this host's `/dev/kvm` can run a guest: a self-test guest of a few instructions, in well under 100
//! ms.
//!
//! Input: nothing but the host. Output: a [`Soundness`]: the verdict, what was found wrong, what was
//! measured. Not here: Linux, devices, interrupts, and what to do about a host that fails (see the runner).
//!
//! A KVM may be there, pass every capability query, and still be unable to run a kernel: software KVMs inside
//! virtual machines emulate ring-0 code an instruction at a time, lack instructions, or enter SYSCALL's
//! handler without the privilege that belongs to it. Nothing announces that, so it is tried:
//!
//! ```text
//! supervise  the check as a whole, on a thread of its own
//! probe      one vCPU that runs one entry of the guest after the other
//! image      the guest: page tables, descriptor tables, the code (real assembler source)
//! notes      what the probe has seen
//! judge      what the notes come to; knows no KVM
//! verdict    the answer, as data and in words
//! ```

mod image;
mod judge;
mod notes;
mod probe;
mod supervise;
mod verdict;

pub use supervise::{check, check_known};
pub use verdict::{Finding, Measured, Soundness, Verdict};
