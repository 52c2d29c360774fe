//! What boots: both kernel formats, every size, each way of finding devices, other people's kernels.

use std::path::PathBuf;
use std::sync::Arc;

use provium_tests::*;
use provium_vmm::{Discovery, Machine, MachineConfig};

#[test]
fn our_vmlinux_runs_commands() {
    let mut guest = boot_guest(config());
    assert!(stdout(&mut guest, "uname -r").starts_with("6.12."));
    assert_eq!(stdout(&mut guest, "cat /proc/1/comm"), "agent\n");
}

#[test]
fn a_quiet_boot_is_silent() {
    for cmdline in ["console=ttyS0 quiet", "console=ttyS0 quiet acpi=off"] {
        let guest = boot_guest(config_with(cmdline));
        let console = guest.machine.console_log();
        assert_eq!(String::from_utf8_lossy(&console), "", "{cmdline}");
    }
}

#[test]
fn our_bzimage_runs_commands() {
    let mut guest = boot_guest(MachineConfig {
        kernel: artifact("bzImage"),
        ..config()
    });
    assert!(stdout(&mut guest, "uname -r").starts_with("6.12."));
}

#[test]
fn a_guest_without_initrd_has_the_agent_alone() {
    let guest = boot_guest(MachineConfig {
        initrd: None,
        ..config()
    });
    let mut client = guest.client;
    client.ping().unwrap();
    let version = client
        .ask(provium_guest::ops::read_file(b"/proc/version"))
        .unwrap();
    assert!(version.starts_with(b"Linux version 6.12."));
}

#[test]
fn devices_are_found_without_acpi() {
    let mut guest = boot_guest(config_with("console=ttyS0 quiet acpi=off"));
    assert_eq!(stdout(&mut guest, "ls -d /sys/firmware/acpi 2>/dev/null"), "");
    let cmdline = stdout(&mut guest, "cat /proc/cmdline");
    assert!(
        cmdline.contains("virtio_mmio.device=4K@0xd0000000:5"),
        "{cmdline}"
    );
    assert_eq!(
        stdout(&mut guest, "cat /sys/class/misc/hw_random/rng_current"),
        "virtio_rng.0\n"
    );
}

#[test]
fn devices_are_found_through_acpi() {
    let mut guest = boot_guest(config());
    let cmdline = stdout(&mut guest, "cat /proc/cmdline");
    assert!(!cmdline.contains("virtio_mmio"), "{cmdline}");
    assert_ne!(stdout(&mut guest, "ls /sys/bus/acpi/devices | grep LNRO0005"), "");
    assert_eq!(
        stdout(&mut guest, "cat /sys/class/misc/hw_random/rng_current"),
        "virtio_rng.0\n"
    );
}

#[test]
fn every_vcpu_comes_up() {
    for (cpus, cmdline) in [
        (2, "console=ttyS0 quiet"),
        (8, "console=ttyS0 quiet"),
        (3, "console=ttyS0 quiet acpi=off"),
        (32, "console=ttyS0 quiet acpi=off"),
    ] {
        let mut guest = boot_guest(MachineConfig {
            cpus,
            ..config_with(cmdline)
        });
        // The kernel's NR_CPUS less one.
        let last = stdout(&mut guest, "cat /sys/devices/system/cpu/kernel_max");
        let expected = last.trim().parse::<u64>().unwrap().min(u64::from(cpus) - 1) + 1;
        assert!(expected >= u64::from(cpus.min(8)), "{last}");
        assert_eq!(stdout(&mut guest, "nproc"), format!("{expected}\n"), "{cmdline}");
        guest.machine.kill();
    }
}

#[test]
fn thirty_two_vcpus_are_cores_of_one_processor() {
    let mut guest = boot_guest(MachineConfig {
        kernel: artifact("debian-cloud/vmlinuz"),
        initrd: Some(artifact("debian-cloud/initrd.cpio")),
        memory: 512 << 20,
        cpus: 32,
        ..config()
    });
    assert_eq!(stdout(&mut guest, "nproc"), "32\n");
    for (file, distinct) in [("physical_package_id", "1\n"), ("core_id", "32\n")] {
        let line = format!("cat /sys/devices/system/cpu/cpu*/topology/{file} | sort -u | wc -l");
        assert_eq!(stdout(&mut guest, &line), distinct, "{file}");
    }
}

#[test]
fn memory_from_64_mib_to_64_gib_is_all_there() {
    for mib in [64u64, 3072, 4096, 8192, 65_536] {
        let mut guest = boot_guest(MachineConfig {
            memory: mib << 20,
            ..config()
        });
        let total = stdout(&mut guest, "awk '/MemTotal/ {print $2}' /proc/meminfo");
        let seen = total.trim().parse::<u64>().unwrap() / 1024;
        // The kernel keeps some for itself: its image, a page's description for each page and, where there
        // is memory above 4 GiB, 64 MiB of bounce buffers.
        let bounce_buffers = if mib > 3072 { 64 } else { 0 };
        assert!(
            seen <= mib && seen > mib - 40 - bounce_buffers - mib / 50,
            "{seen} of {mib} MiB"
        );
        guest.machine.kill();
    }
}

#[test]
fn debians_cloud_kernel_boots_and_answers() {
    let mut guest = boot_guest(MachineConfig {
        kernel: artifact("debian-cloud/vmlinuz"),
        initrd: Some(artifact("debian-cloud/initrd.cpio")),
        memory: 256 << 20,
        ..config()
    });
    let release = stdout(&mut guest, "uname -r");
    assert!(release.trim().ends_with("-cloud-amd64"), "{release}");
    assert!(stdout(&mut guest, "cat /proc/modules").contains("vmw_vsock_virtio_transport"));
}

#[test]
fn the_users_initrd_keeps_its_own_init() {
    let mut guest = boot_guest(MachineConfig {
        early_initrd: Vec::new(),
        extra_initrds: {
            let script = b"#!/bin/sh\necho \"init is $$\" >/init-ran\nexec sleep 100000\n";
            let file = provium_base::initramfs::InitramfsFile {
                path: "/init",
                mode: 0o755,
                content: script,
            };
            let own = provium_base::initramfs::archive(&[file]).unwrap();
            vec![own.into(), Arc::clone(provium_guest::agent_archive())]
        },
        ..config()
    });
    assert_eq!(
        stdout(&mut guest, "cat /init-ran; cat /proc/1/comm"),
        "init is 1\nsleep\n"
    );
}

#[test]
fn orphans_are_reaped() {
    let mut guest = boot_guest(config());
    sh(&mut guest, "for i in 1 2 3 4 5; do (sleep 0.1 & ) ; done");
    let zombies = stdout(
        &mut guest,
        "sleep 0.5; grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l",
    );
    assert_eq!(zombies, "0\n");
}

#[test]
fn a_seeded_rng_repeats_and_an_unseeded_one_does_not() {
    let draw = |rng_seed| {
        let mut guest = boot_guest(MachineConfig { rng_seed, ..config() });
        stdout(&mut guest, "head -c 16 /dev/hwrng | od -An -tx1")
    };
    let unseeded = draw(None);
    assert_ne!(unseeded, draw(None));
    assert_eq!(unseeded.split_whitespace().count(), 16, "{unseeded}");
}

#[test]
fn what_cannot_boot_is_refused_before_anything_runs() {
    let before = Holdings::now();
    let refused = |config: MachineConfig| Machine::create(config).expect_err("refused").to_string();
    let missing = refused(MachineConfig {
        kernel: PathBuf::from("/no/such/kernel"),
        ..config()
    });
    assert_eq!(
        missing,
        "cannot read the kernel `/no/such/kernel`: No such file or directory (os error 2)"
    );
    let image = std::fs::read(artifact("bzImage")).unwrap();
    let truncated = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(truncated.path(), &image[..image.len() / 2]).unwrap();
    let error = refused(MachineConfig {
        kernel: truncated.path().to_owned(),
        ..config()
    });
    assert!(error.contains("is truncated: its header announces"), "{error}");
    std::fs::write(
        truncated.path(),
        &std::fs::read(artifact("vmlinux")).unwrap()[..1 << 20],
    )
    .unwrap();
    let error = refused(MachineConfig {
        kernel: truncated.path().to_owned(),
        ..config()
    });
    assert!(error.contains("is truncated: a segment ends at byte"), "{error}");
    assert_eq!(
        refused(MachineConfig { cpus: 0, ..config() }),
        "0 vCPUs: a machine has 1 to 32"
    );
    assert!(
        refused(MachineConfig {
            memory: 1 << 20,
            ..config()
        })
        .starts_with("1048576 bytes of memory")
    );
    let huge = vec![0; 60 << 20];
    let error = refused(MachineConfig {
        memory: 64 << 20,
        early_initrd: Vec::new(),
        extra_initrds: vec![huge.into()],
        ..config()
    });
    assert!(
        error.contains("64 MiB of memory is too small: the kernel with its initrd needs"),
        "{error}"
    );
    let error = refused(MachineConfig {
        cmdline: "x".repeat(3000),
        discovery: Discovery::Acpi,
        ..config()
    });
    assert!(
        error.contains("the kernel command line has 3000 bytes"),
        "{error}"
    );
    drop(truncated);
    Holdings::now().assert_no_more_than(&before, 64 << 10);
}
