//! A guest where nothing else is said.
//!
//! Input: paths and numbers. Output: a [`GuestSpec`]. Not here: names, inheritance and defaults of
//! configuration files.

use std::path::PathBuf;

use super::disk::DiskOption;
use super::modules::modules_of;
use super::share::ShareOption;

/// Bytes of memory where nothing else is said.
const MEMORY: u64 = 512 << 20;

/// What a guest boots; [`BootOptions`](super::boot::BootOptions) are changes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSpec {
    /// bzImage or ELF vmlinux.
    pub kernel: PathBuf,
    /// The user's initrd; never modified.
    pub initrd: Option<PathBuf>,
    /// The disk image, or the folder to make one of, that becomes `/`; never modified.
    pub rootfs: Option<PathBuf>,
    /// Whether the host's own root becomes `/`, below a layer of memory; there is no `rootfs` then.
    pub host_root: bool,
    /// The folder `lib/modules/VERSION` of the kernel, where its drivers are modules; without, the one beside
    /// `boot/vmlinuz-VERSION`.
    pub modules: Option<PathBuf>,
    /// The kernel's command line; what the agent and the devices need is added to it.
    pub cmdline: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u8,
    /// Disks besides the root; those of the options take their place.
    pub disks: Vec<DiskOption>,
    /// Folders of the host that the guest sees; those of the options take their place.
    pub shares: Vec<ShareOption>,
    /// Whether the agent is added to the initramfs at boot.
    pub inject_agent: bool,
    /// What a resumed guest's wall clock shows.
    pub wall_clock: WallClock,
}

impl GuestSpec {
    /// The folder with the kernel's modules, if it has any.
    pub fn modules(&self) -> Option<PathBuf> {
        self.modules.clone().or_else(|| modules_of(&self.kernel))
    }

    /// A kernel with the agent, 512 MiB and one vCPU.
    pub fn new(kernel: impl Into<PathBuf>) -> GuestSpec {
        GuestSpec {
            kernel: kernel.into(),
            initrd: None,
            rootfs: None,
            host_root: false,
            modules: None,
            cmdline: "console=ttyS0 quiet".to_owned(),
            memory: MEMORY,
            cpus: 1,
            disks: Vec::new(),
            shares: Vec::new(),
            inject_agent: true,
            wall_clock: WallClock::default(),
        }
    }
}

/// What a guest's wall clock shows when it is resumed from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WallClock {
    /// The host's time.
    #[default]
    Corrected,
    /// The time of the snapshot, going on from there.
    Kept,
}
