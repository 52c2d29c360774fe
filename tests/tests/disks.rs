//! Disks and root disks, where a machine and its agent are enough: no Lua.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;
use provium_cache::Store;
use provium_guest::{BootError, Vm, with_agent};
use provium_tests::*;
use provium_vmm::disk::{Disk, DiskSpec};
use provium_vmm::{Machine, MachineConfig};

fn spec(id: &str, image: Option<&Path>) -> DiskSpec {
    DiskSpec {
        id: id.to_owned(),
        image: image.map(Path::to_owned),
        size: image.is_none().then_some(1 << 20),
        readonly: false,
        writable: false,
    }
}

/// A machine whose root is the disk `rootfs`, and nothing else.
fn on_root(disk: DiskSpec) -> MachineConfig {
    MachineConfig {
        initrd: None,
        cmdline: with_agent("provium.rootfs console=ttyS0 quiet"),
        disks: vec![Disk::create(disk).unwrap()],
        ..config()
    }
}

/// An image of a folder with a busybox in it.
fn root_image(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("usr/lib")).unwrap();
    std::fs::create_dir_all(root.join("etc")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "mount", "ls", "touch", "stat", "head", "id"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::fs::write(root.join("etc/hostname"), "from-the-folder\n").unwrap();
    std::fs::write(root.join("etc/secret"), "s").unwrap();
    std::fs::set_permissions(root.join("etc/secret"), PermissionsExt::from_mode(0o600)).unwrap();
    let cache = folder.join("cache");
    let store = Store::look(&cache, 1 << 30);
    provium_cache::rootfs::image(
        &root,
        &cache,
        store.digests(),
        &provium_cache::Reading::undisturbed(),
    )
    .unwrap()
    .path()
    .to_owned()
}

#[test]
fn a_folder_becomes_a_root_that_can_be_written_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let image = root_image(folder.path());
    let before = std::fs::read(&image).unwrap();
    let mut config = on_root(spec("rootfs", Some(&image)));
    config
        .extra_initrds
        .push(archive_of(".provium/files/lib/injected", b"by the host").into());
    let mut guest = boot_guest(config);
    assert_eq!(stdout(&mut guest, "cat /etc/hostname"), "from-the-folder\n");
    assert_eq!(stdout(&mut guest, "stat -c %a /etc/secret"), "600\n");
    assert_eq!(stdout(&mut guest, "cat /usr/lib/injected"), "by the host");
    let mounts = stdout(&mut guest, "cat /proc/mounts");
    assert!(mounts.contains(" / ext4 rw"), "{mounts}");
    assert_eq!(stdout(&mut guest, "touch /new && ls -d /new"), "/new\n");
    assert!(!stdout(&mut guest, "ls /.provium 2>&1 || :").contains("agent"));
    drop(guest);
    assert!(std::fs::read(&image).unwrap() == before);

    // One that cannot be written gets memory on top.
    let fixed = DiskSpec {
        readonly: true,
        ..spec("rootfs", Some(&image))
    };
    let mut guest = boot_guest(on_root(fixed));
    let mounts = stdout(&mut guest, "cat /proc/mounts");
    assert!(mounts.contains(" / overlay rw"), "{mounts}");
    assert_eq!(stdout(&mut guest, "touch /new && ls -d /new"), "/new\n");
}

/// A newc archive with one file and the folders above it.
fn archive_of(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut entry = |name: &str, mode: u32, content: &[u8]| {
        let numbers = [
            1,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        archive.extend_from_slice(b"070701");
        for number in numbers {
            archive.extend_from_slice(format!("{number:08X}").as_bytes());
        }
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    for (at, _) in path.match_indices('/') {
        entry(&path[..at], 0o40755, b"");
    }
    entry(path, 0o100644, content);
    entry("TRAILER!!!", 0, b"");
    archive
}

#[test]
fn a_root_that_cannot_be_is_told_by_the_boot() {
    let console = |config: MachineConfig| match try_boot(config, Duration::from_secs(60)) {
        Err(error @ BootError::Ended { .. }) => error.console().to_owned(),
        other => panic!("{other:?}"),
    };
    let none = console(on_root(spec("other", None)));
    assert!(
        none.contains("there are vda and none has the serial number `rootfs`"),
        "{none}"
    );
    let empty = console(on_root(spec("rootfs", None)));
    assert!(
        empty.contains("no file system on /dev/vda that can be mounted: ext4 (not on the disk)"),
        "{empty}"
    );
    let bare = console(MachineConfig {
        disks: Vec::new(),
        ..on_root(spec("rootfs", None))
    });
    assert!(bare.contains("there is no disk at all"), "{bare}");
}

#[test]
fn disks_come_and_go_without_acpi_too() {
    for cmdline in ["console=ttyS0 quiet", "console=ttyS0 quiet acpi=off"] {
        let cancel = Cancel::new();
        let mut vm = Vm::new("disks".to_owned(), config_with(cmdline), Duration::from_secs(60));
        vm.set_disks(&[spec("one", None)]).unwrap();
        vm.boot(&cancel).unwrap();
        let line = |vm: &mut Vm, line: &str| {
            let spec = provium_guest::ExecSpec::shell(line);
            let outcome = vm
                .call(&cancel, |client| {
                    client.ask(provium_guest::ops::exec(spec.clone()))
                })
                .unwrap();
            String::from_utf8(outcome.stdout).unwrap()
        };
        assert_eq!(line(&mut vm, "cat /sys/block/vd*/serial"), "one");
        for round in 0..3 {
            let disk = vm.attach_disk(spec("two", None), &cancel).unwrap();
            disk.write_sectors(0, &[b'a' + round; 512]).unwrap();
            let seen = line(&mut vm, "cat /sys/block/vdb/serial; head -c 1 /dev/vdb");
            assert_eq!(seen, format!("two{}", (b'a' + round) as char), "{cmdline}");
            vm.detach_disk("two", &cancel).unwrap();
            assert_eq!(line(&mut vm, "ls /sys/block | grep vd"), "vda\n");
        }
        // As many as there are slots, and one more.
        for index in 0..7 {
            vm.attach_disk(spec(&format!("more{index}"), None), &cancel)
                .unwrap();
        }
        let error = vm
            .attach_disk(spec("much", None), &cancel)
            .unwrap_err()
            .to_string();
        assert!(error.contains("all 8 slots for disks are taken"), "{error}");
        assert_eq!(line(&mut vm, "ls /sys/block | grep -c vd"), "8\n");
        // What was attached is there after a reset as well, and what was written after another boot.
        line(&mut vm, "echo written > /dev/vda && sync");
        vm.reset(&cancel).unwrap();
        assert_eq!(line(&mut vm, "ls /sys/block | grep -c vd"), "8\n");
        vm.shutdown(&cancel).unwrap();
        vm.set_disks(&[spec("one", None)]).unwrap();
        vm.boot(&cancel).unwrap();
        assert_eq!(line(&mut vm, "head -n 1 /dev/vda"), "written\n");
    }
}

#[test]
fn a_guest_that_writes_all_the_time_can_be_saved_and_goes_on() {
    let mut guest = boot_guest(MachineConfig {
        disks: vec![Disk::create(spec("busy", None)).unwrap()],
        ..config()
    });
    let write = "while :; do i=$((i+1)); echo $i | dd of=/dev/vda bs=512 seek=$((i % 2000)) conv=fsync 2>/dev/null; \
                 echo $i > /tmp/new; mv /tmp/new /tmp/done; done >/dev/null 2>&1 &";
    sh(&mut guest, write);
    sh(&mut guest, "until [ -s /tmp/done ]; do sleep 0.01; done");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(100));
        let (_folder, snapshot) = saved(&guest);
        let machine = Machine::restore(&snapshot).unwrap();
        let [(0, disk)] = &machine.disks()[..] else {
            panic!("one disk");
        };
        assert_eq!(disk.id(), "busy");
        drop(machine);
        let mut copy = provium_guest::resume(&snapshot, provium_guest::ResumeOptions::default()).unwrap();
        let before: u64 = stdout(&mut copy, "cat /tmp/done").trim().parse().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let after: u64 = stdout(&mut copy, "cat /tmp/done").trim().parse().unwrap();
        assert!(after > before, "{before} to {after}");
        assert_eq!(stdout(&mut copy, "dmesg | grep -i 'error' || :"), "");
    }
}

#[test]
fn a_machine_lets_go_of_its_disks_when_it_ends() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[1; 4096]).unwrap();
    let disk = Disk::create(spec("held", Some(file.path()))).unwrap();
    let guest = boot_guest(MachineConfig {
        disks: vec![Arc::clone(&disk)],
        ..config()
    });
    drop(guest);
    assert_eq!(Arc::strong_count(&disk), 1);
}
