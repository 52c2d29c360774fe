//! Guests are saved and resumed, and do not notice.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use provium_devices::virtio::DeviceState;
use provium_guest::{Guest, GuestClient, ResumeError, ResumeOptions, reset, resume, save};
use provium_protocol::{AGENT_PORT, Syscall};
use provium_tests::*;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{Machine, MachineConfig};

/// A shell line that keeps a guest busy: timers, processes, memory.
const BUSY: &str =
    "(while :; do head -c 20000 /dev/urandom | md5sum > /tmp/sum; sleep 0.01; done) >/dev/null 2>&1 &";

#[test]
fn a_resumed_guest_goes_on_where_it_was() {
    let mut guest = boot_guest(config());
    assert_eq!(
        stdout(&mut guest, "echo kept > /tmp/mark; cat /tmp/mark"),
        "kept\n"
    );
    let (_folder, snapshot) = saved(&guest);
    assert_eq!(
        stdout(&mut guest, "echo more >> /tmp/mark; cat /tmp/mark"),
        "kept\nmore\n",
        "the guest goes on"
    );
    for _ in 0..3 {
        let start = Instant::now();
        let mut resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
        resumed.client.ping().unwrap();
        println!("resume to first reply: {:?}", start.elapsed());
        assert_eq!(
            stdout(&mut resumed, "cat /tmp/mark; echo changed > /tmp/mark"),
            "kept\n"
        );
    }
    let before = Instant::now();
    let pages = reset(&mut guest, &snapshot, ResumeOptions::default()).unwrap();
    guest.client.ping().unwrap();
    println!("reset of {pages:?} pages: {:?}", before.elapsed());
    assert!(pages.is_some_and(|pages| pages > 0));
    assert_eq!(
        stdout(&mut guest, "cat /tmp/mark; sleep 0.1; echo slept"),
        "kept\nslept\n"
    );
}

#[test]
fn a_guest_that_is_restored_and_saved_before_it_runs_is_the_same() {
    for cpus in [1, 2] {
        let mut guest = boot_guest(MachineConfig { cpus, ..config() });
        sh(&mut guest, BUSY);
        sh(&mut guest, "sleep 0.2");
        for round in 0..3 {
            guest.machine.pause().unwrap();
            let (folder, snapshot) = saved(&guest);
            let first = state_of(folder.path());
            let elsewhere = Machine::restore(&snapshot).unwrap();
            let pages = guest.machine.load(&snapshot).unwrap();
            assert!(pages.is_some(), "it was this snapshot's");
            for (machine, what) in [(&elsewhere, "resumed"), (&*guest.machine, "put back")] {
                let (folder, again) = saved_machine(machine, false);
                again.verify().unwrap();
                let mut second = state_of(folder.path());
                second.note.clone_from(&first.note);
                let (left, right) = (essence(first.clone()), essence(second.clone()));
                let where_ = first_differences(&left, &right);
                assert!(left == right, "{cpus} vCPUs, round {round}, {what}:\n{where_}");
                // Only time has gone on, and for all vCPUs the same.
                let ticks: Vec<u64> = second
                    .vcpus
                    .iter()
                    .zip(&first.vcpus)
                    .map(|(b, a)| b.tsc - a.tsc)
                    .collect();
                assert!(ticks.iter().all(|other| *other == ticks[0]), "{ticks:?}");
                let clock = second.chips.clock_ns - first.chips.clock_ns;
                assert!(clock < 20_000_000_000, "{clock} ns");
            }
            reset(&mut guest, &snapshot, ResumeOptions::default()).unwrap();
            sh(&mut guest, "sleep 0.02");
        }
    }
}

#[test]
fn a_snapshot_on_its_parent_has_only_what_differs_and_needs_it() {
    let mut base_guest = boot_guest(config());
    sh(
        &mut base_guest,
        "echo base > /tmp/mark; head -c 1000000 /dev/urandom > /tmp/blob",
    );
    let sum = stdout(&mut base_guest, "md5sum /tmp/blob");
    let (base_folder, base) = saved(&base_guest);
    // On the guest that was saved, and on one that was resumed from it.
    let mut resumed = resume(&base, ResumeOptions::default()).unwrap();
    for guest in [&mut base_guest, &mut resumed] {
        sh(guest, "echo child >> /tmp/mark; echo only here > /tmp/child");
        let (folder, child) = saved_as(guest, true);
        let runs = state_of(folder.path()).memory.index.runs.len();
        println!(
            "base {} pages, child {} pages in {runs} runs",
            base.own_pages(),
            child.own_pages()
        );
        assert!(child.own_pages() > 0 && child.own_pages() < base.own_pages() / 5);
        assert_eq!(child.parents(), [base_folder.path()]);
        sh(guest, "rm /tmp/child");
        let (top_folder, _) = saved_as(guest, true);
        for (path, listing) in [
            (folder.path(), "/tmp/blob /tmp/child /tmp/mark"),
            (top_folder.path(), "/tmp/blob /tmp/mark"),
        ] {
            let opened = Snapshot::open(path).unwrap();
            opened.verify().unwrap();
            let mut again = resume(&opened, ResumeOptions::default()).unwrap();
            assert_eq!(stdout(&mut again, "echo /tmp/*"), format!("{listing}\n"));
            assert_eq!(stdout(&mut again, "cat /tmp/mark"), "base\nchild\n");
            assert_eq!(stdout(&mut again, "md5sum /tmp/blob"), sum);
        }
        // Back down from the child to what lies below it.
        reset(guest, &base, ResumeOptions::default()).unwrap();
        assert_eq!(
            stdout(guest, "echo /tmp/*; cat /tmp/mark"),
            "/tmp/blob /tmp/mark\nbase\n"
        );
    }
    let (child_folder, _) = saved_as(&resumed, true);
    let (other_folder, _) = saved(&resumed);
    // Their memory is the files that are about to change.
    drop((base_guest, resumed));
    for file in ["state", "memory"] {
        std::fs::copy(other_folder.path().join(file), base_folder.path().join(file)).unwrap();
    }
    let error = Snapshot::open(child_folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("cannot be used without its parent") && error.contains("replaced"),
        "{error}"
    );
    let gone = base_folder.path().to_owned();
    drop(base_folder);
    let error = Snapshot::open(child_folder.path()).unwrap_err().to_string();
    assert!(error.contains(&gone.display().to_string()), "{error}");
}

#[test]
fn time_goes_on_without_a_jump_and_the_wall_clock_is_right() {
    let uptime = |guest: &mut Guest| -> f64 {
        let text = stdout(guest, "cat /proc/uptime");
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let mut guest = boot_guest(config());
    let (_folder, snapshot) = saved(&guest);
    let at_save = uptime(&mut guest);
    std::thread::sleep(Duration::from_secs(2));
    for correct_clock in [true, false] {
        let arrival = ResumeOptions {
            correct_clock,
            ..ResumeOptions::default()
        };
        let mut resumed = resume(&snapshot, arrival).unwrap();
        let at_resume = uptime(&mut resumed);
        assert!(
            (at_save - 1.5..at_save + 1.5).contains(&at_resume),
            "{at_save} at the save, {at_resume} after"
        );
        let date: i64 = stdout(&mut resumed, "date +%s").trim().parse().unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let late = now as i64 - date;
        assert_eq!(late < 2, correct_clock, "the guest's clock is {late} s late");
    }
}

#[test]
fn a_paused_guest_is_saved_and_stays_paused() {
    let mut guest = boot_guest(config());
    sh(&mut guest, "echo kept > /tmp/mark");
    guest.machine.pause().unwrap();
    let (_folder, snapshot) = saved(&guest);
    assert!(guest.machine.is_paused());
    guest.machine.resume().unwrap();
    assert_eq!(stdout(&mut guest, "cat /tmp/mark"), "kept\n");
    let mut resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
    assert!(!resumed.machine.is_paused());
    assert_eq!(stdout(&mut resumed, "cat /tmp/mark"), "kept\n");
}

#[test]
fn a_guest_with_another_connection_open_is_not_saved() {
    let mut guest = boot_guest(config());
    let stream = guest.machine.connect(AGENT_PORT, LONG).unwrap();
    let mut other = GuestClient::handshake(Box::new(stream), LONG).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = save(&guest, folder.path(), false, ResumeOptions::default()).unwrap_err();
    assert!(matches!(error, ResumeError::OpenConnections(1)), "{error}");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was written"
    );
    assert!(!guest.machine.is_paused());
    other.ping().unwrap();
    guest.client.ping().unwrap();
    drop(other);
    let snapshot = save(&guest, folder.path(), false, ResumeOptions::default()).unwrap();
    resume(&snapshot, ResumeOptions::default())
        .unwrap()
        .client
        .ping()
        .unwrap();
}

#[test]
fn answers_that_are_still_owed_are_part_of_the_snapshot() {
    let guest = boot_guest(config());
    let (_folder, mut snapshot) = saved(&guest);
    let mut folders = Vec::new();
    // Each is saved before it was asked anything, with the answers to what it was told at its resumes under
    // way.
    for _ in 0..3 {
        let resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
        let (folder, next) = saved_as(&resumed, true);
        snapshot = next;
        folders.push(folder);
    }
    let mut resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
    for number in 0..5 {
        assert_eq!(
            stdout(&mut resumed, &format!("echo {number}")),
            format!("{number}\n")
        );
    }
}

#[test]
fn a_guest_that_takes_nothing_when_it_is_resumed_is_an_error_and_no_hang() {
    let guest = boot_guest(config());
    let (folder, _) = saved(&guest);
    rewrite(folder.path(), |state| {
        for transport in &mut state.devices.virtio {
            if let DeviceState::Vsock(vsock) = &mut transport.device {
                // Its buffer is full, for ever: it does not run yet.
                vsock
                    .connections
                    .iter_mut()
                    .for_each(|connection| connection.guest_buffer = 0);
            }
        }
    });
    let snapshot = Snapshot::open(folder.path()).unwrap();
    let error = resume(&snapshot, ResumeOptions::default()).unwrap_err();
    assert!(matches!(error, ResumeError::Guest(_)), "{error}");
}

#[test]
fn a_vcpu_that_was_never_started_is_started_after_a_restore() {
    let online = "echo 1 > /sys/devices/system/cpu/cpu1/online && nproc";
    let mut guest = boot_guest(MachineConfig {
        cpus: 2,
        ..config_with("console=ttyS0 quiet maxcpus=1")
    });
    assert_eq!(stdout(&mut guest, "nproc"), "1\n");
    let (_folder, snapshot) = saved(&guest);
    assert_eq!(stdout(&mut guest, online), "2\n");
    let mut resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
    for _ in 0..3 {
        for guest in [&mut guest, &mut resumed] {
            reset(guest, &snapshot, ResumeOptions::default()).unwrap();
            assert_eq!(stdout(guest, "nproc"), "1\n");
            assert_eq!(stdout(guest, online), "2\n");
            assert_eq!(
                stdout(guest, "taskset 2 sh -c 'sleep 0.01; echo there'"),
                "there\n"
            );
        }
    }
    // And one that was taken offline again.
    sh(&mut guest, "echo 0 > /sys/devices/system/cpu/cpu1/online");
    let (_folder, snapshot) = saved(&guest);
    let mut resumed = resume(&snapshot, ResumeOptions::default()).unwrap();
    assert_eq!(stdout(&mut resumed, online), "2\n");
}

/// What the memory file and the guest that is mapped from it hold at different addresses of the guest.
fn different_pages(file: &std::path::Path) -> Vec<u64> {
    let (content, name) = (std::fs::read(file).unwrap(), file.display().to_string());
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut different = Vec::new();
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.ends_with(&name) || words[1] != "rw-p" {
            continue;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let ((from, to), offset) = (words[0].split_once('-').unwrap(), hex(words[2]));
        let mut bytes = vec![0; (hex(to) - hex(from)) as usize];
        memory.read_exact_at(&mut bytes, hex(from)).unwrap();
        let expected = content[offset as usize..].chunks(4096);
        let pages = bytes.chunks(4096).zip(expected).enumerate();
        different.extend(
            pages
                .filter(|(_, (a, b))| a != b)
                .map(|(page, _)| offset / 4096 + page as u64),
        );
    }
    different
}

#[test]
fn a_guest_that_is_put_back_has_every_byte_of_its_memory_as_it_was() {
    for cpus in [1, 2] {
        let mut guest = boot_guest(MachineConfig {
            cpus,
            memory: 96 << 20,
            ..config()
        });
        sh(&mut guest, BUSY);
        let (folder, snapshot) = saved(&guest);
        drop(guest);
        let file = folder.path().join("memory");
        let mut guest = resume(&snapshot, ResumeOptions::default()).unwrap();
        for round in 0..3u64 {
            sh(&mut guest, "head -c 1000000 /dev/urandom > /tmp/more; sleep 0.05");
            std::thread::sleep(Duration::from_micros(round * 1700));
            guest.machine.pause().unwrap();
            let changed = different_pages(&file).len() as u64;
            let copied = guest.machine.load(&snapshot).unwrap().unwrap();
            assert!(
                changed > 250 && copied >= changed,
                "{changed} pages changed, {copied} put back"
            );
            assert_eq!(different_pages(&file), [0u64; 0], "{cpus} vCPUs, round {round}");
            reset(&mut guest, &snapshot, ResumeOptions::default()).unwrap();
        }
    }
}

fn getrandom(guest: &mut Guest) -> Vec<u8> {
    let call = Syscall {
        nr: 318,
        args: [0, 16, 0, 0, 0, 0],
        bufs: vec![vec![0; 16].into()],
        ptrs: vec![(0, 0)],
        nested: Vec::new(),
    };
    let (ret, mut bufs) = guest.client.ask(provium_guest::ops::syscall(call)).unwrap();
    assert_eq!(ret, 16);
    bufs.remove(0)
}

#[test]
fn two_guests_of_one_snapshot_draw_different_numbers_unless_that_is_not_wanted() {
    let mut guest = boot_guest(config());
    // The kernel renews its key from time to time on its own; now it just has.
    getrandom(&mut guest);
    let (_folder, snapshot) = saved(&guest);
    let draw = |reseed| {
        let arrival = ResumeOptions {
            reseed,
            correct_clock: false,
        };
        let mut resumed = resume(&snapshot, arrival).unwrap();
        let drawn = getrandom(&mut resumed);
        (drawn, stdout(&mut resumed, "head -c 16 /dev/urandom | md5sum"))
    };
    let (own, other) = (draw(true), draw(true));
    assert_ne!(own.0, other.0);
    assert_ne!(own.1, other.1);
    let (own, other) = (draw(false), draw(false));
    assert_eq!(own.0, other.0);
    assert_ne!(own.0, draw(true).0);
}

/// KiB of pages that are no longer the file's, in writable mappings of it. (A page of the file that only one
/// guest has read counts as private too; it costs nothing.)
fn written_kib(file: &std::path::Path) -> Vec<u64> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (name, mut mine, mut all) = (file.display().to_string(), false, Vec::new());
    for line in smaps.lines() {
        // `start-end access offset device inode name` begins a mapping; lines about it are `Word: value`.
        if line
            .split(' ')
            .next()
            .is_some_and(|range| range.contains('-') && !range.ends_with(':'))
        {
            mine = line.ends_with(&name) && line.contains(" rw-p ");
            all.extend(mine.then_some(0));
        } else if mine && let Some(kib) = line.strip_prefix("Anonymous:") {
            *all.last_mut().unwrap() += kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        }
    }
    all
}

#[test]
fn resumed_guests_share_the_pages_they_do_not_write() {
    const GUESTS: usize = 8;
    let mut guest = boot_guest(config());
    sh(&mut guest, "head -c 20000000 /dev/urandom > /tmp/blob");
    let (folder, snapshot) = saved(&guest);
    drop(guest);
    let mut guests: Vec<Guest> = (0..GUESTS)
        .map(|_| resume(&snapshot, ResumeOptions::default()).unwrap())
        .collect();
    for guest in &mut guests {
        guest.client.ping().unwrap();
        guest.machine.pause().unwrap();
    }
    let written = written_kib(&folder.path().join("memory"));
    assert_eq!(written.len(), GUESTS, "a mapping each");
    // In the order of their addresses, which is none of ours.
    let pages = guests
        .iter()
        .map(|guest| guest.machine.load(&snapshot).unwrap().unwrap());
    let own: Vec<u64> = pages.map(|pages| pages * 4).collect();
    println!("private: {written:?} KiB, written by their guests: {own:?} KiB");
    let most = own.iter().max().unwrap() + 1024;
    assert!(
        written.iter().all(|kib| *kib <= most),
        "private: {written:?} KiB, written by their guests: {own:?} KiB"
    );
}
