//! Guests are saved, resumed and put back, and do not notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium::guest::{Arrival, Guest, reset, resume, save};
use provium_tests::*;
use provium_vmm::snapshot::Snapshot;

fn saved(guest: &Guest) -> (tempfile::TempDir, Arc<Snapshot>) {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = save(guest, folder.path(), false, Arrival::default()).unwrap();
    (folder, snapshot)
}

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
        let mut resumed = resume(&snapshot, Arrival::default()).unwrap();
        resumed.client.ping().unwrap();
        println!("resume to first reply: {:?}", start.elapsed());
        assert_eq!(
            stdout(&mut resumed, "cat /tmp/mark; echo changed > /tmp/mark"),
            "kept\n"
        );
    }
    let before = Instant::now();
    let pages = reset(&mut guest, &snapshot, Arrival::default()).unwrap();
    guest.client.ping().unwrap();
    println!("reset of {pages:?} pages: {:?}", before.elapsed());
    assert!(pages.is_some_and(|pages| pages > 0));
    assert_eq!(
        stdout(&mut guest, "cat /tmp/mark; sleep 0.1; echo slept"),
        "kept\nslept\n"
    );
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
        let arrival = Arrival {
            correct_clock,
            ..Arrival::default()
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
