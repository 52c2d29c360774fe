//! A guest that counts, sleeps, computes and talks is put back a thousand times at moments of no meaning, and
//! resumed as often; nothing jumps, hangs or is left behind.
//!
//! `PROVIUM_SOAK_RESETS` and `PROVIUM_SOAK_RESUMES` set how often; `cargo xtask soak` does each a thousand
//! times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provium_guest::{ExecSpec, Guest, GuestError, ResumeOptions, note_touched, reset, resume};
use provium_tests::*;
use provium_vmm::snapshot::Snapshot;
use provium_vmm::{Machine, MachineConfig};

/// What the guest does: a counter that sleeps, checksums of content that another process keeps writing anew,
/// and one that never sleeps.
const WORK: &str = r#"
mkdir /tmp/w; cd /tmp/w
(i=0; while :; do i=$((i+1)); echo $i > next; mv next count; sleep 0.01; done) &
(n=0; while :; do
    n=$((n+1)); yes "round $n" | head -c 65536 > data
    a=$(md5sum < data); sleep 0.005; b=$(md5sum < data); c=$(yes "round $n" | head -c 65536 | md5sum)
    [ "$a" = "$b" ] && [ "$b" = "$c" ] || echo "$n: $a $b $c" >> wrong
    echo $n > next-round; mv next-round rounds
done) &
(k=0; while :; do
    k=$(((k * 1103515245 + 12345) % 2147483648)); j=$((j+1)); [ $j -lt 1000 ] || { j=0; sleep 0.05; }
done) &
"#;

fn start_work(guest: &mut Guest) {
    sh(guest, &format!("({WORK}) > /dev/null 2>&1"));
    sh(guest, "while [ ! -e /tmp/w/rounds ]; do sleep 0.1; done");
}

fn number(guest: &mut Guest, path: &str) -> u64 {
    let text = guest
        .client
        .ask(provium_guest::ops::read_file(path.as_bytes()))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8(text).unwrap().trim().parse().unwrap()
}

fn uptime(guest: &mut Guest) -> f64 {
    let text = guest
        .client
        .ask(provium_guest::ops::read_file(b"/proc/uptime"))
        .unwrap();
    String::from_utf8(text)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn exists(guest: &mut Guest, path: &str) -> bool {
    match guest.client.ask(provium_guest::ops::stat(path.as_bytes(), false)) {
        Ok(_) => true,
        Err(GuestError::Op(error)) if error.errno == Some(2) => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

fn pseudo_random(round: usize) -> u64 {
    (round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// Waits until the reaper has given back what machines held, and the kernel what threads did.
fn wait_for_reaper(before: &Holdings) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let same = |now: Holdings| now.descriptors == before.descriptors && now.threads == before.threads;
    while !same(Holdings::now()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn assert_nothing_left(before: &Holdings) {
    wait_for_reaper(before);
    Holdings::now().assert_no_more_than(before, 64 << 10);
}

/// What this process holds once there is what stays for good: the reaper's thread, the allocator's arenas.
fn settled() -> Holdings {
    let before = Holdings::now();
    let guest = boot_guest(config());
    let (folder, snapshot) = saved(&guest);
    dispose(guest);
    dispose(resume(&snapshot, ResumeOptions::default()).unwrap());
    drop((snapshot, folder));
    let before = Holdings {
        threads: Holdings::now()
            .threads
            .into_iter()
            .filter(|name| name.contains("reaper") || before.threads.contains(name))
            .collect(),
        ..before
    };
    wait_for_reaper(&before);
    Holdings::now()
}

fn dispose(guest: Guest) {
    drop(guest.client);
    Arc::into_inner(guest.machine)
        .expect("nobody else has it")
        .dispose();
}

fn put_back_again_and_again(cpus: u8, by_default: usize) {
    let resets = times("PROVIUM_SOAK_RESETS", by_default);
    let before = settled();
    let watch = Watch::default();
    let mut guest = boot_guest(MachineConfig { cpus, ..config() });
    let step = |what: &str, round: usize, machine: &Arc<Machine>| {
        watch.feed(format!("reset {round}, {what}"), machine)
    };
    step("work", 0, &guest.machine);
    start_work(&mut guest);
    let (at_count, at_uptime) = (number(&mut guest, "/tmp/w/count"), uptime(&mut guest));
    let (folder, snapshot) = saved(&guest);
    let (mut pages, mut spent, started) = (0, Duration::ZERO, Instant::now());
    for round in 0..resets {
        std::thread::sleep(Duration::from_micros(pseudo_random(round) % 15_000));
        step("reset", round, &guest.machine);
        let begin = Instant::now();
        pages += reset(&mut guest, &snapshot, ResumeOptions::default())
            .unwrap()
            .expect("it was this one's");
        step("answer", round, &guest.machine);
        guest.client.ping().unwrap();
        spent += begin.elapsed();
        let now = uptime(&mut guest);
        assert!(
            (at_uptime..at_uptime + 3.0).contains(&now),
            "{at_uptime} then, {now} now"
        );
        assert!(
            !exists(&mut guest, "/tmp/late"),
            "what was written after the snapshot is still there"
        );
        guest
            .client
            .push_file(b"/tmp/late", None, &mut &b"late"[..])
            .unwrap();
        assert!(exists(&mut guest, "/tmp/late"));
        let count = number(&mut guest, "/tmp/w/count");
        assert!(
            (at_count..at_count + 300).contains(&count),
            "{at_count} then, {count} now"
        );
        if round % 10 == 9 {
            step("sleep", round, &guest.machine);
            let (line, from) = ("sleep 0.01; echo slept", Instant::now());
            assert_eq!(stdout(&mut guest, line), "slept\n");
            while number(&mut guest, "/tmp/w/count") <= count {
                assert!(from.elapsed() < LONG, "the counter stands at {count}");
            }
        }
        if round % 50 == 49 {
            step("checksums", round, &guest.machine);
            let rounds = number(&mut guest, "/tmp/w/rounds");
            while number(&mut guest, "/tmp/w/rounds") < rounds + 2 {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if exists(&mut guest, "/tmp/w/wrong") {
            panic!("wrong checksums: {}", stdout(&mut guest, "cat /tmp/w/wrong"));
        }
    }
    println!(
        "{cpus} vCPU(s): {resets} resets in {:.1?}, reset to reply {:?}, {} pages, on average",
        started.elapsed(),
        spent / resets as u32,
        pages / resets as u64
    );
    drop((guest, snapshot, folder, watch));
    assert_nothing_left(&before);
}

#[test]
fn a_busy_guest_is_put_back_again_and_again() {
    put_back_again_and_again(1, 100);
}

#[test]
fn a_busy_guest_of_two_vcpus_is_put_back_again_and_again() {
    put_back_again_and_again(2, 100);
}

#[test]
fn a_busy_guest_of_four_vcpus_is_put_back_again_and_again() {
    put_back_again_and_again(4, 10);
}

fn resumed_again_and_again(cpus: u8, by_default: usize) {
    let resumes = times("PROVIUM_SOAK_RESUMES", by_default);
    let before = settled();
    let watch = Watch::default();
    let mut guest = boot_guest(MachineConfig { cpus, ..config() });
    sh(&mut guest, "(while :; do sleep 0.01; done) > /dev/null 2>&1 &");
    sh(&mut guest, "echo kept > /tmp/mark");
    let (folder, snapshot) = saved(&guest);
    dispose(guest);
    let (mut spent, started) = (Duration::ZERO, Instant::now());
    for round in 0..resumes {
        let begin = Instant::now();
        let mut guest = resume(&snapshot, ResumeOptions::default()).unwrap();
        watch.feed(format!("resume {round}"), &guest.machine);
        guest.client.ping().unwrap();
        spent += begin.elapsed();
        assert_eq!(
            guest
                .client
                .ask(provium_guest::ops::read_file(b"/tmp/mark"))
                .unwrap(),
            b"kept\n"
        );
        guest
            .client
            .push_file(b"/tmp/mark", None, &mut &b"changed"[..])
            .unwrap();
        if round % 20 == 19 {
            assert_eq!(stdout(&mut guest, "sleep 0.01; echo slept"), "slept\n");
        }
        dispose(guest);
    }
    println!(
        "{cpus} vCPU(s): {resumes} resumes in {:.1?}, resume to reply {:?} on average",
        started.elapsed(),
        spent / resumes as u32
    );
    snapshot.verify().unwrap();
    drop((snapshot, folder, watch));
    assert_nothing_left(&before);
}

#[test]
fn a_snapshot_is_resumed_again_and_again() {
    resumed_again_and_again(1, 100);
}

#[test]
fn a_snapshot_of_two_vcpus_is_resumed_again_and_again() {
    resumed_again_and_again(2, 100);
}

#[test]
fn a_snapshot_of_four_vcpus_is_resumed_again_and_again() {
    resumed_again_and_again(4, 10);
}

#[test]
fn a_guest_is_put_back_in_the_midst_of_what_the_host_sends_or_reads() {
    let watch = Watch::default();
    let mut guest = boot_guest(config());
    // Much to put back: that takes a while, in which a stream that still lived could write.
    let fill = "head -c 8000000 /dev/urandom > /tmp/fill";
    let (_folder, snapshot) = saved(&guest);
    for round in 0..16usize {
        watch.feed(format!("transfer {round}"), &guest.machine);
        if round % 4 == 3 {
            sh(&mut guest, fill);
        }
        let machine = Arc::clone(&guest.machine);
        let busy = std::thread::spawn(move || {
            let result = if round % 2 == 0 {
                let data = vec![round as u8; 16 << 20];
                guest
                    .client
                    .push_file(b"/tmp/big", None, &mut &data[..])
                    .map(drop)
            } else {
                let line = "head -c 30000000 /dev/zero";
                guest
                    .client
                    .ask(provium_guest::ops::exec(ExecSpec::shell(line)))
                    .map(drop)
            };
            (guest, result)
        });
        std::thread::sleep(Duration::from_millis(20 + pseudo_random(round) % 150));
        machine.pause().unwrap();
        machine.load(&snapshot).unwrap();
        let (mut back, result) = busy.join().unwrap();
        let error = result.expect_err("the transfer cannot have ended");
        assert!(!error.session_lives(), "{error}");
        assert!(back.client.ping().is_err(), "the old session is over");
        reset(&mut back, &snapshot, ResumeOptions::default()).unwrap();
        assert_eq!(stdout(&mut back, "ls /tmp; echo whole"), "whole\n");
        let data = vec![1u8; 500_000];
        back.client
            .push_file(b"/tmp/after", None, &mut &data[..])
            .unwrap();
        assert!(
            back.client
                .ask(provium_guest::ops::read_file(b"/tmp/after"))
                .unwrap()
                == data
        );
        guest = back;
    }
}

#[test]
fn a_guest_that_prints_or_draws_random_numbers_is_put_back_and_goes_on() {
    let watch = Watch::default();
    let mut guest = boot_guest(config());
    sh(
        &mut guest,
        "(while :; do echo 'a line on the console'; done) > /dev/console 2>&1 &",
    );
    sh(
        &mut guest,
        "(while :; do dd if=/dev/hwrng of=/dev/null bs=64 count=1000; echo > /tmp/drawn; done) > /dev/null 2>&1 &",
    );
    sh(&mut guest, "sleep 0.1");
    let (_folder, snapshot) = saved(&guest);
    for round in 0..15 {
        watch.feed(format!("console {round}"), &guest.machine);
        std::thread::sleep(Duration::from_micros(pseudo_random(round) % 20_000));
        reset(&mut guest, &snapshot, ResumeOptions::default()).unwrap();
        let mut other = (round % 5 == 0).then(|| resume(&snapshot, ResumeOptions::default()).unwrap());
        for guest in [Some(&mut guest), other.as_mut()].into_iter().flatten() {
            watch.feed(format!("console {round}, answer"), &guest.machine);
            guest.client.ping().unwrap();
            wait_until(|| guest.machine.console_log().len() > 200, "the console goes on");
            if round % 5 == 0 {
                sh(
                    guest,
                    "rm -f /tmp/drawn; while [ ! -e /tmp/drawn ]; do sleep 0.02; done",
                );
            }
            let console = String::from_utf8(guest.machine.console_log()).unwrap();
            let whole = console.replace('\r', "");
            let lines: Vec<&str> = whole.split('\n').collect();
            let middle = &lines[1..lines.len() - 1];
            let wrong = middle.iter().find(|line| **line != "a line on the console");
            assert_eq!(wrong, None, "{middle:?}");
        }
    }
}

#[test]
fn a_guest_of_a_snapshot_that_was_tried_copies_less_by_itself() {
    let guest = boot_guest(config());
    let (folder, snapshot) = saved(&guest);
    drop(guest);
    let faults = |snapshot: &Arc<Snapshot>| {
        let mut guest = resume(snapshot, ResumeOptions::default()).unwrap();
        guest.client.ping().unwrap();
        guest.machine.pause().unwrap();
        guest.machine.kvm_counts().unwrap().faults
    };
    let untried = faults(&snapshot);
    note_touched(&snapshot).unwrap();
    let tried = faults(&snapshot);
    assert!(tried + 30 < untried, "{untried} page faults before, {tried} then");
    let opened = Snapshot::open(folder.path()).unwrap();
    opened.verify().unwrap();
    let tried = faults(&opened);
    assert!(
        tried + 30 < untried,
        "{untried} page faults before, {tried} for others"
    );
}

fn wait_until(mut done: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
