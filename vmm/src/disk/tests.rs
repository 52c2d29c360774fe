//! A disk against an array that does the same, and what it refuses.

use std::io::Write;
use std::path::Path;

use provium_devices::virtio::block::{Access, Backend, FaultEffect, SECTOR};

use super::saved::SavedDisk;
use super::store::BLOCK;
use super::*;

const SECTORS: u64 = 67; // eight blocks and three sectors

fn spec(image: Option<&Path>) -> DiskSpec {
    DiskSpec {
        id: "data".to_owned(),
        image: image.map(Path::to_owned),
        size: image.is_none().then_some(SECTORS * SECTOR),
        readonly: false,
        writable: false,
    }
}

/// An image whose sectors hold their own numbers.
fn image() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for sector in 0..SECTORS {
        file.write_all(&[sector as u8; SECTOR as usize]).unwrap();
    }
    file
}

fn all(disk: &Disk) -> Vec<u8> {
    disk.read_sectors(0, SECTORS).unwrap()
}

/// Small, fast and the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The disk does what an array does: reads, writes, flushes, power cuts, host writes and snapshots in any
/// order.
#[test]
fn a_disk_is_an_array_that_a_power_cut_takes_back_to_the_last_flush() {
    let original = image();
    for round in 0..60 {
        let mut dice = Dice(round);
        let own = image();
        let mut now = match round % 3 {
            0 => vec![0; (SECTORS * SECTOR) as usize],
            _ => std::fs::read(original.path()).unwrap(),
        };
        let mut flushed = now.clone();
        let mut disk = Disk::create(match round % 3 {
            0 => spec(None),
            1 => spec(Some(original.path())),
            _ => DiskSpec {
                writable: true,
                ..spec(Some(own.path()))
            },
        })
        .unwrap();
        for step in 0..120u64 {
            let first = dice.below(SECTORS);
            let count = 1 + dice.below((SECTORS - first).min(20));
            let bytes = (first * SECTOR) as usize..((first + count) * SECTOR) as usize;
            match dice.below(12) {
                0..=5 => {
                    let data: Vec<u8> = (0..bytes.len()).map(|at| (at as u64 / 64 + step) as u8).collect();
                    Backend::write(&*disk, first, &data).unwrap();
                    now[bytes].copy_from_slice(&data);
                }
                6 | 7 => {
                    let mut data = vec![0; bytes.len()];
                    Backend::read(&*disk, first, &mut data).unwrap();
                    assert!(data == now[bytes], "round {round}, step {step}");
                }
                8 => {
                    disk.flush().unwrap();
                    flushed.clone_from(&now);
                }
                9 => {
                    disk.power_cut().unwrap();
                    assert!(disk.flush().is_err(), "there is no power");
                    now.clone_from(&flushed);
                    disk.power_on();
                }
                10 => {
                    let data = vec![0xee; bytes.len()];
                    disk.write_sectors(first, &data).unwrap();
                    now[bytes.clone()].copy_from_slice(&data);
                    flushed[bytes].copy_from_slice(&data);
                }
                _ if !disk.writes_image() => {
                    let folder = tempfile::tempdir().unwrap();
                    let state = disk.save(folder.path(), 3, None).unwrap();
                    state.check(8).unwrap();
                    let saved = SavedDisk::open(folder.path(), &state).unwrap();
                    saved.verify().unwrap();
                    disk = saved.disk().unwrap();
                }
                _ => {}
            }
            assert!(all(&disk) == now, "round {round}, step {step}");
        }
        if round % 3 == 2 {
            assert!(std::fs::read(own.path()).unwrap() == now, "the image is written");
        }
    }
    assert!(std::fs::read(original.path()).unwrap() == std::fs::read(image().path()).unwrap());
}

#[test]
fn a_snapshot_gives_as_many_disks_as_are_wanted_each_with_an_overlay_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(spec(None)).unwrap();
    disk.write_sectors(1, &[1; 512]).unwrap();
    let state = disk.save(folder.path(), 0, None).unwrap();
    let saved = SavedDisk::open(folder.path(), &state).unwrap();
    let (one, two) = (saved.disk().unwrap(), saved.disk().unwrap());
    one.write_sectors(1, &[2; 1024]).unwrap();
    disk.write_sectors(1, &[3; 512]).unwrap();
    assert_eq!(two.read_sectors(1, 1).unwrap(), [1; 512]);
    assert_eq!(two.read_sectors(2, 1).unwrap(), [0; 512]);
    assert_eq!(one.read_sectors(2, 1).unwrap(), [2; 512]);
}

#[test]
fn an_image_that_has_changed_is_named_unless_its_content_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let image = image();
    let disk = Disk::create(spec(Some(image.path()))).unwrap();
    let state = disk.save(folder.path(), 0, Some([7; 32])).unwrap();
    let open = || SavedDisk::open(folder.path(), &state).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    image.as_file().set_modified(later).unwrap();
    let error = |saved: &SavedDisk| saved.disk().unwrap_err().to_string();
    assert!(error(&open()).contains(&format!("{}: it has changed", image.path().display())));
    let saved = open();
    assert!(saved.confirm(&|_| Ok([8; 32])).is_err());
    saved.confirm(&|_| Ok([7; 32])).unwrap();
    saved.disk().unwrap();
    // Opened once, it is still looked at each time.
    image.as_file().set_len(512).unwrap();
    assert!(error(&saved).contains("it has changed"));
    drop(image);
    assert!(error(&open()).contains("No such file"));
}

#[test]
fn every_damaged_file_of_a_saved_disk_is_noticed() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(spec(None)).unwrap();
    Backend::write(&*disk, 8, &[1; 4096]).unwrap();
    disk.flush().unwrap();
    Backend::write(&*disk, 8, &[2; 4096]).unwrap();
    let state = disk.save(folder.path(), 2, None).unwrap();
    for name in ["disk-2", "disk-2.undo"] {
        let file = std::fs::File::options()
            .write(true)
            .open(folder.path().join(name))
            .unwrap();
        let saved = SavedDisk::open(folder.path(), &state).unwrap();
        saved.verify().unwrap();
        file.write_all_at(&[9], BLOCK + 5).unwrap();
        assert!(saved.verify().unwrap_err().to_string().contains(name));
        file.write_all_at(&[if name == "disk-2" { 2 } else { 1 }], BLOCK + 5)
            .unwrap();
        file.set_len(512).unwrap();
        assert!(SavedDisk::open(folder.path(), &state).is_err());
        file.set_len(9 * BLOCK).unwrap();
        file.write_all_at(&[if name == "disk-2" { 2 } else { 1 }; 4096], BLOCK)
            .unwrap();
    }
}

#[test]
fn disks_that_cannot_be_are_refused_in_words() {
    let image = image();
    let refused = |spec: DiskSpec| Disk::create(spec).unwrap_err().to_string();
    let sized = |size| DiskSpec {
        size: Some(size),
        ..spec(None)
    };
    assert!(
        refused(DiskSpec {
            id: "a b".into(),
            ..spec(None)
        })
        .contains("`a b` is no name")
    );
    assert!(
        refused(DiskSpec {
            id: "x".repeat(21),
            ..spec(None)
        })
        .contains("is no name")
    );
    assert!(
        refused(DiskSpec {
            size: None,
            ..spec(None)
        })
        .contains("an image or a size")
    );
    assert!(refused(sized(0)).contains("0 bytes are no disk"));
    assert!(refused(sized(1000)).contains("not whole sectors"));
    assert!(refused(sized(MAX_DISK + 512)).contains("more than"));
    let smaller = DiskSpec {
        size: Some(512),
        ..spec(Some(image.path()))
    };
    assert!(refused(smaller).contains("less than its image has"));
    let missing = spec(Some(Path::new("/nowhere/at/all")));
    assert!(refused(missing).contains("/nowhere/at/all: No such file"));
    assert!(refused(spec(Some(Path::new("/dev/null")))).contains("not a regular file"));

    let disk = Disk::create(DiskSpec {
        readonly: true,
        ..spec(None)
    })
    .unwrap();
    assert!(
        disk.write_sectors(0, &[0; 512])
            .unwrap_err()
            .to_string()
            .contains("read-only")
    );
    assert!(
        disk.read_sectors(60, 8)
            .unwrap_err()
            .to_string()
            .contains("67 sectors; 8 sectors from")
    );
    assert!(disk.read_sectors(u64::MAX, 2).is_err());
    assert!(
        disk.write_sectors(0, &[0; 5])
            .unwrap_err()
            .to_string()
            .contains("not whole sectors")
    );
}

#[test]
fn an_image_of_another_format_is_known_by_its_beginning_or_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let format = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        foreign_format(&path).unwrap()
    };
    for content in [&b""[..], b"conect", b"\x1f\x8b", &[0; 2048]] {
        assert_eq!(format(content), None, "{content:?}");
    }
    let vdi = [&[b' '; 64][..], b"\x7f\x10\xda\xbe", &[0; 512]].concat();
    let fixed = [&[0; 4096][..], b"conectix", &[0; 504]].concat();
    for (content, name) in [
        (&b"QFI\xfb and more"[..], "qcow2"),
        (b"KDMV", "vmdk"),
        (b"# Disk DescriptorFile\nversion=1", "vmdk"),
        (b"conectix", "vhd"),
        (&fixed, "vhd"),
        (b"vhdxfile", "vhdx"),
        (&vdi, "vdi"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh9", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ] {
        assert_eq!(format(content).map(|format| format.name), Some(name));
    }
    let command = |content: &[u8]| format(content).map(|format| format.conversion(Path::new("a.img")));
    assert_eq!(
        command(b"QFI\xfb").as_deref(),
        Some("qemu-img convert -O raw a.img a.img.raw")
    );
    assert_eq!(command(b"\xfd7zXZ\0").as_deref(), Some("xz -dk a.img"));
    let pipe = dir.path().join("pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    assert!(foreign_format(&pipe).is_err(), "and it did not wait");
}

#[test]
fn a_disk_of_terabytes_takes_no_space() {
    let disk = Disk::create(DiskSpec {
        size: Some(4 << 40),
        ..spec(None)
    })
    .unwrap();
    let last = (4 << 40) / SECTOR - 1;
    disk.write_sectors(last, &[5; 512]).unwrap();
    assert_eq!(disk.read_sectors(last, 1).unwrap(), [5; 512]);
    assert_eq!(disk.fault_effect(Access::Read(last, 1)), FaultEffect::default());
}
