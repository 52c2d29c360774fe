//! The emulated host: runs any command on this machine's own file system, but on a machine that has a working
//! KVM.
//!
//! Input: a command. Output: its output and its exit code; events on the way. Not here: anything about tests
//! and guests; nothing in Provium depends on this except for the command line's choice of where to run.
//!
//! QEMU emulates an x86-64 machine with AMD-V; Debian's kernel boots in it with `kvm_amd`; its root is this
//! machine's file system, read-only below a layer in memory; folders named for it can be written. The command
//! runs there as the same user, in the same folder, with the same environment. "Outside" is this machine,
//! "inside" is the emulated host.
//!
//! ```text
//! reexec         running the present command line inside
//! supervise      starts, watches, starts again; with request, plan and error
//! availability   whether this machine could: program, kernel
//! prepare        makes what is needed: fetch (the kernel), image (what QEMU boots), elf
//! qemu           one QEMU
//! session        one start, seen from outside; outside: stdin, terminal and signals of this process; output
//! frame          the messages between outside and inside
//! init.sh        inside, first: root file system
//! inside         inside, then: PID 1; machine and spawn are its parts
//! ```

mod availability;
mod confine;
mod elf;
mod environment;
mod error;
mod fetch;
mod frame;
mod image;
mod inside;
mod kernel;
mod machine;
mod output;
mod outside;
mod plan;
mod poll;
mod prepare;
mod program;
mod qemu;
mod reexec;
mod request;
mod scratch;
mod session;
mod spawn;
mod supervise;

pub use availability::{
    Availability, KernelSource, Missing, available, cache_folder, kernel_package, qemu_version,
    static_busybox,
};
pub use confine::can_confine;
pub use environment::{ATTEMPT, INSIDE, is_inside};
pub use error::EmulatedError;
pub use fetch::FetchError;
#[doc(hidden)]
pub use frame::count_messages;
pub use inside::main as init;
pub use kernel::{KERNEL_ROOT, Kernel};
pub use outside::{Signals, Stdin, Streams};
pub use plan::default_memory_mib;
pub use prepare::PrepareError;
pub use reexec::{command_line, reexec};
pub use request::{EmulatedRun, Limits};
pub use supervise::run;
