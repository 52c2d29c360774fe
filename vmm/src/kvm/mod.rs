//! KVM: the only place in the monitor that knows its ioctls.
//!
//! Order matters to speed: memory slots come before the interrupt chips, because a slot that changes
//! afterwards waits for a grace period of the kernel's I/O bus.

pub(crate) mod chips_state;
pub(crate) mod cpuid;
pub(crate) mod host;
pub(crate) mod msrs;
pub(crate) mod regs;
pub(crate) mod tsc;
pub(crate) mod vcpu;
pub(crate) mod vcpu_state;
pub(crate) mod vm;

/// Why KVM could not do something.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The device cannot be opened.
    #[error("cannot open /dev/kvm: {0}; `provium doctor` says what this host can do")]
    Open(kvm_ioctls::Error),
    /// The kernel's KVM lacks something.
    #[error("this kernel's KVM lacks {0}")]
    Lacks(&'static str),
    /// An ioctl failed.
    #[error("{call} failed: {source}")]
    Call {
        /// The ioctl's name in `linux/kvm.h`.
        call: &'static str,
        /// What the kernel said.
        source: kvm_ioctls::Error,
    },
    /// Fewer model-specific registers than given were accepted.
    #[error("KVM refused the model-specific register {0:#x}")]
    Msr(u32),
    /// Guest memory has no place for the first instructions' tables.
    #[error("cannot write the boot tables: {0}")]
    Tables(String),
}

/// Names the ioctl that an error came from.
pub(crate) fn call(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |source| KvmError::Call { call, source }
}
