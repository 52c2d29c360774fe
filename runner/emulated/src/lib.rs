//! The emulated host: any command, run on this machine's own file system, but on a machine that has a sound KVM.
//!
//! Enters: a command. Leaves: its output and its exit code. Absent on purpose: anything about tests and guests;
//! nothing in Provium depends on this but the command line's choice of where to run.
//!
//! QEMU emulates an x86-64 machine with AMD-V; Debian's kernel boots in it with `kvm_amd`; its root is this
//! machine's file system, read-only below a layer in memory; folders named for it can be written. The command runs
//! there as the same user, in the same folder, with the same environment.
//!
//! ```text
//! command      `provium host`, and running the present command line inside
//! supervise    starts, watches, starts again
//! prepare      what is needed: kernel (find it, fetch it), modules, image (what QEMU boots)
//! qemu         one QEMU
//! session      one start, seen from outside; outside: the streams, terminal and signals it stands in for
//! frame        what outside and inside say to each other
//! init.sh      inside, first: root file system
//! inside       inside, then: PID 1; machine and spawn are its parts
//! ```

mod command;
mod fetch;
mod frame;
mod image;
mod inside;
mod kernel;
mod live;
mod machine;
mod modules;
mod outside;
mod prepare;
mod qemu;
mod scratch;
mod session;
mod spawn;
mod supervise;

pub use command::{HostArgs, InitArgs, reexec, run_host, run_init};
pub use fetch::FetchError;
pub use kernel::{KERNEL_ROOT, Kernel};
pub use modules::ModuleError;
pub use outside::Stdin;
pub use prepare::{Availability, KernelSource, Missing, PrepareError, available, cache_folder};
pub use supervise::{EmulatedError, EmulatedRun, Event, Limits, default_memory_mib, run};

/// Set to `1` for commands in the emulated host.
pub const INSIDE: &str = "PROVIUM_EMULATED_HOST";
/// Tells a command in the emulated host which start this is: `1`, and more after the emulated host froze.
pub const ATTEMPT: &str = "PROVIUM_HOST_ATTEMPT";

/// Whether this process runs in an emulated host.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some_and(|value| value == "1")
}

/// What QEMU calls itself, such as `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
pub fn qemu_version(availability: &Availability) -> Option<String> {
    let output = std::process::Command::new(&availability.qemu)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// The package that would be downloaded for its kernel, as far as the package lists tell.
pub fn kernel_package() -> Option<String> {
    fetch::listed().ok().flatten()
}
