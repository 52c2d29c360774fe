//! What Provium needs of a kernel, feature by feature.
//!
//! Input: nothing. Output: a table, and a fragment of a configuration with all of it. Not here: whether a
//! kernel has it.

use std::fmt::Write as _;

/// Something that Provium does, and the options for it.
#[derive(Debug)]
pub struct Feature {
    /// One word for it.
    pub name: &'static str,
    /// What does not work without.
    pub without: &'static str,
    /// Whether there is no guest without it.
    pub essential: bool,
    /// All of these.
    pub needs: &'static [Need],
}

/// One of several options, the first of which is the better.
#[derive(Debug)]
pub struct Need {
    /// Names of options without `CONFIG_`.
    pub options: &'static [&'static str],
    /// Name of the module that the first one is, where it can be one that is loaded before it is needed.
    pub module: Option<&'static str>,
}

const fn built_in(options: &'static [&'static str]) -> Need {
    Need {
        options,
        module: None,
    }
}

const fn module(options: &'static [&'static str], module: &'static str) -> Need {
    Need {
        options,
        module: Some(module),
    }
}

/// What finds the devices in place of ACPI, with `acpi=off` on the command line.
pub(super) const CMDLINE_DEVICES: &str = "VIRTIO_MMIO_CMDLINE_DEVICES";

/// All of them, in the order in which a guest comes to need them.
pub static FEATURES: [Feature; 10] = [
    Feature {
        name: "system",
        without: "no guest: its first program does not run",
        essential: true,
        needs: &[
            built_in(&["64BIT"]),
            built_in(&["BLK_DEV_INITRD"]),
            built_in(&["BINFMT_ELF"]),
            built_in(&["PROC_FS"]),
            built_in(&["SYSFS"]),
            built_in(&["DEVTMPFS"]),
            built_in(&["TMPFS"]),
            built_in(&["SHMEM"]),
            built_in(&["MULTIUSER"]),
            built_in(&["FUTEX"]),
            built_in(&["EVENTFD"]),
            built_in(&["SIGNALFD"]),
            built_in(&["POSIX_TIMERS"]),
        ],
    },
    Feature {
        name: "clocks",
        without: "no guest: its kernel learns from nothing how fast its clocks go",
        essential: true,
        needs: &[
            built_in(&["HYPERVISOR_GUEST"]),
            built_in(&["PARAVIRT"]),
            built_in(&["KVM_GUEST"]),
            built_in(&["HIGH_RES_TIMERS"]),
        ],
    },
    Feature {
        name: "channel",
        without: "no guest: its agent does not reach the host",
        essential: true,
        needs: &[
            // ACPI refuses its tables where there is no PCI.
            built_in(&["PCI", CMDLINE_DEVICES]),
            built_in(&["ACPI", CMDLINE_DEVICES]),
            built_in(&["VIRTIO_MENU"]),
            module(&["VIRTIO_MMIO"], "virtio_mmio"),
            built_in(&["NET"]),
            module(&["VSOCKETS"], "vsock"),
            module(&["VIRTIO_VSOCKETS"], "vmw_vsock_virtio_transport"),
        ],
    },
    Feature {
        name: "console",
        without: "the kernel says nothing; panics, splats and failed boots are not explained",
        essential: false,
        needs: &[
            built_in(&["PRINTK"]),
            built_in(&["TTY"]),
            built_in(&["SERIAL_8250"]),
            built_in(&["SERIAL_8250_CONSOLE"]),
            built_in(&["UNIX98_PTYS"]),
        ],
    },
    Feature {
        name: "disks",
        without: "no `disks`",
        essential: false,
        needs: &[
            built_in(&["BLOCK"]),
            built_in(&["BLK_DEV"]),
            module(&["VIRTIO_BLK"], "virtio_blk"),
        ],
    },
    Feature {
        name: "rootfs",
        without: "no `rootfs` of a folder or of Debian's userland; of other images, without their file systems",
        essential: false,
        needs: &[
            built_in(&["BLOCK"]),
            built_in(&["BLK_DEV"]),
            module(&["VIRTIO_BLK"], "virtio_blk"),
            module(&["EXT4_FS"], "ext4"),
            module(&["OVERLAY_FS"], "overlay"),
        ],
    },
    Feature {
        name: "shares",
        without: "no `shares`, and no `rootfs = \"host\"`",
        essential: false,
        needs: &[
            module(&["FUSE_FS"], "fuse"),
            module(&["VIRTIO_FS"], "virtiofs"),
            module(&["OVERLAY_FS"], "overlay"),
        ],
    },
    Feature {
        name: "networks",
        without: "no network but the loopback",
        essential: false,
        needs: &[
            built_in(&["INET"]),
            built_in(&["NETDEVICES"]),
            built_in(&["NET_CORE"]),
            module(&["VIRTIO_NET"], "virtio_net"),
        ],
    },
    Feature {
        name: "splats",
        without: "reports of the kernel's own faults are fewer, come late or have no names",
        essential: false,
        needs: &[
            built_in(&["PRINTK"]),
            built_in(&["BUG"]),
            built_in(&["KALLSYMS"]),
            built_in(&["PVPANIC"]),
            module(&["PVPANIC_MMIO"], "pvpanic_mmio"),
            built_in(&["DETECT_HUNG_TASK"]),
        ],
    },
    Feature {
        name: "random",
        without: "random numbers come late, and no `rng_seed`",
        essential: false,
        needs: &[
            built_in(&["HW_RANDOM"]),
            module(&["HW_RANDOM_VIRTIO"], "virtio_rng"),
        ],
    },
];

/// A fragment for the kernel's `scripts/kconfig/merge_config.sh` that switches on the first option of each
/// need that `wanted` says.
pub fn fragment(wanted: impl Fn(&Feature, &Need) -> bool) -> String {
    let mut text = String::new();
    let mut named = Vec::new();
    for feature in &FEATURES {
        let needs = feature.needs.iter().filter(|need| wanted(feature, need));
        let options: Vec<_> = needs
            .map(|need| need.options[0])
            .filter(|option| !named.contains(option))
            .collect();
        if options.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# {}; without: {}", feature.name, feature.without);
        for option in options {
            let _ = writeln!(text, "CONFIG_{option}=y");
            named.push(option);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::GUEST_NEEDS;

    #[test]
    fn a_fragment_has_each_option_once() {
        let text = fragment(|_, _| true);
        let mut options: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(options.contains(&"CONFIG_VIRTIO_MMIO=y") && options.contains(&"CONFIG_ACPI=y"));
        let all = options.len();
        options.sort_unstable();
        options.dedup();
        assert_eq!(options.len(), all);
        assert_eq!(fragment(|_, _| false), "");
        let some = fragment(|feature, need| feature.name == "disks" && need.module.is_some());
        assert_eq!(some, "# disks; without: no `disks`\nCONFIG_VIRTIO_BLK=y\n");
    }

    #[test]
    fn what_may_be_a_module_is_loaded() {
        // What those depend on comes along.
        let depended_on = ["vsock", "fuse"];
        for module in FEATURES
            .iter()
            .flat_map(|feature| feature.needs)
            .filter_map(|need| need.module)
        {
            assert!(
                GUEST_NEEDS.contains(&module) || depended_on.contains(&module),
                "{module}"
            );
        }
    }
}
