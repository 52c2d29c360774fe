//! The model of a host, as far as a saved machine depends on it.
//!
//! Input: this host. Output: a [`HostModel`]. Not here: the comparison, which is the snapshot's.
//!
//! A snapshot holds registers as one kernel's KVM gives them on one model of processor; on another they may
//! be refused, or worse, accepted. So the model is part of every snapshot and compared before anything is
//! restored.

use std::sync::OnceLock;

use kvm_bindings::CpuId;
use kvm_ioctls::Kvm;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{KvmError, call, cpuid};

/// Processor and kernel of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostModel {
    /// The processor's own name for itself.
    pub cpu: String,
    /// A digest of what KVM offers guests of this processor (KVM_GET_SUPPORTED_CPUID), without what differs
    /// from one call to the next.
    pub cpuid: u64,
    /// The running kernel's release.
    pub kernel: String,
}

impl std::fmt::Display for HostModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (features {:016x}, Linux {})",
            self.cpu, self.cpuid, self.kernel
        )
    }
}

/// KVM's CPUID offer and the model of this host, looked up once in a process.
pub(crate) fn offer(kvm: &Kvm) -> Result<&'static (CpuId, HostModel), KvmError> {
    static OFFER: OnceLock<(CpuId, HostModel)> = OnceLock::new();
    if let Some(offer) = OFFER.get() {
        return Ok(offer);
    }
    let offer = cpuid::supported(kvm)?;
    let model = HostModel {
        cpu: brand(&offer),
        cpuid: digest(&offer),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    };
    Ok(OFFER.get_or_init(|| (offer, model)))
}

impl HostModel {
    /// The model of this host.
    ///
    /// # Errors
    /// When there is no usable `/dev/kvm`.
    pub fn of_this_host() -> Result<HostModel, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        if !kvm.check_extension(kvm_ioctls::Cap::ExtCpuid) {
            return Err(call("KVM_GET_SUPPORTED_CPUID")(kvm_ioctls::Error::new(
                libc::ENOSYS,
            )));
        }
        Ok(offer(&kvm)?.1.clone())
    }
}

/// Leaves 0x8000_0002 to 4 hold 48 characters.
fn brand(offer: &CpuId) -> String {
    let mut bytes = Vec::new();
    for leaf in 0x8000_0002..=0x8000_0004u32 {
        if let Some(entry) = offer.as_slice().iter().find(|entry| entry.function == leaf) {
            for register in [entry.eax, entry.ebx, entry.ecx, entry.edx] {
                bytes.extend_from_slice(&register.to_le_bytes());
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() {
        "a processor without a name"
    } else {
        text
    }
    .to_owned()
}

fn digest(offer: &CpuId) -> u64 {
    // As the only vCPU sees it: what depends on where this thread happens to run has been replaced.
    let fitted = cpuid::for_vcpu(offer, 0, 1);
    let mut hash = Xxh3::new();
    for entry in fitted.as_slice() {
        let ebx = match entry.function {
            // The size of the state components enabled just now.
            0xd => 0,
            _ => entry.ebx,
        };
        for word in [
            entry.function,
            entry.index,
            entry.flags,
            entry.eax,
            ebx,
            entry.ecx,
            entry.edx,
        ] {
            hash.update(&word.to_le_bytes());
        }
    }
    hash.digest()
}
