//! KVM: the only place in the monitor that knows its ioctls, beside the vCPU loop and the self-test.
//!
//! Input: memory, states, registers. Output: machines and vCPUs that run. Not here: what a vCPU leaves the
//! guest for (`machine/vcpu_thread.rs`).
//!
//! Order matters to speed: memory slots come before the interrupt chips, because a slot that changes
//! afterwards waits for a grace period of the kernel's I/O bus.

pub(crate) mod capacity;
pub(crate) mod chips_state;
pub(crate) mod cpuid;
pub(crate) mod host;
pub(crate) mod msrs;
pub(crate) mod regs;
pub(crate) mod stats;
pub(crate) mod tsc;
pub(crate) mod vcpu;
pub(crate) mod vcpu_place;
pub(crate) mod vcpu_state;
pub(crate) mod vm;

/// Why KVM did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// `/dev/kvm` cannot be opened.
    #[error("cannot open /dev/kvm: {0}; `provium doctor` says what this host can do")]
    Open(kvm_ioctls::Error),
    /// The kernel's KVM has not got something; the text names it.
    #[error("this kernel's KVM lacks {0}")]
    Lacks(&'static str),
    /// The machine has more vCPUs than KVM gives one on this host.
    #[error("{asked} vCPUs: this host's KVM gives a machine {most} at most; ask for fewer")]
    TooManyCpus {
        /// The machine's vCPUs.
        asked: u8,
        /// KVM_CAP_MAX_VCPUS.
        most: usize,
    },
    /// The machine's memory takes more slots than KVM gives one on this host.
    #[error(
        "{asked} memory slots: this host's KVM gives a machine {most} at most; \
         ask for 3 GiB of memory or less"
    )]
    TooManySlots {
        /// The machine's ranges of memory.
        asked: usize,
        /// KVM_CAP_NR_MEMSLOTS.
        most: usize,
    },
    /// The machine's memory goes beyond what the processor addresses.
    #[error(
        "memory up to address {last:#x}: this host's processor has addresses of {bits} bits; ask for less"
    )]
    TooHighMemory {
        /// The last address with memory.
        last: u64,
        /// Bits of a guest's physical address.
        bits: u8,
    },
    /// An ioctl failed.
    #[error("{call} failed: {source}")]
    Call {
        /// The ioctl's name in `linux/kvm.h`.
        call: &'static str,
        /// What the kernel said.
        source: kvm_ioctls::Error,
    },
    /// A model-specific register was refused; the number is the register's.
    #[error("KVM refused the model-specific register {0:#x}")]
    Msr(u32),
    /// Guest memory does not take the tables for the first instructions; the text says why.
    #[error("cannot write the boot tables: {0}")]
    Tables(String),
}

/// Turns an error of the ioctl `call` into a [`KvmError`] that names it.
pub(crate) fn call(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |source| KvmError::Call { call, source }
}
