//! Whether this host's `/dev/kvm` can run a guest: a self-test guest of a few instructions, in well under 100 ms.
//!
//! Enters: nothing but the host. Leaves: a [`Soundness`]: the verdict, what was found wrong, what was measured.
//! Absent on purpose: Linux, devices, interrupts, and what to do about a host that fails (see the runner).
//!
//! A KVM may be there, pass every capability query, and still be unable to run a kernel: software KVMs inside
//! virtual machines emulate ring-0 code an instruction at a time, lack instructions, or enter SYSCALL's handler
//! without the privilege that belongs to it. Nothing announces that, so it is tried:
//!
//! ```text
//! image     the guest: page tables, descriptor tables, the code (real assembler source)
//! probe     one vCPU that runs one entry of it and notes what the guest says
//! judge     what the notes come to; knows no KVM
//! ```

mod image;
mod judge;
mod notes;
mod probe;
mod supervise;
mod verdict;

pub use supervise::check;
pub use verdict::{Finding, Measured, Soundness, Verdict};
