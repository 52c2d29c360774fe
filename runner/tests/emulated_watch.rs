//! `--watch` with an emulated host, really started: it stays up between rounds and sees what is edited.
//!
//! Needs QEMU and busybox, as `emulated_host` does.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use support::{project, provium};

#[test]
fn a_watch_keeps_its_host_and_the_host_sees_edits() {
    let test = |mark: &str| {
        format!(
            "test('notes', function()\n\
             local id = io.open('/proc/sys/kernel/random/boot_id'):read('l')\n\
             local notes = io.open('notes', 'a') notes:write('{mark} ' .. id .. '\\n') notes:close() end)\n"
        )
    };
    let profile = "[profiles.none]\nkernel = \"kernel\"\ncmdline = \"quiet\"\n";
    let dir = project(&[
        ("provium.toml", profile),
        ("kernel", ""),
        ("a.test.lua", &test("first")),
    ]);
    let mut command = provium(dir.path(), &["--watch", "--accel=tcg"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mut until_watching = || {
        let mut line = String::new();
        while !line.contains("watching 1 test file(s)") {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("UTF-8") > 0, "it has ended");
        }
    };
    until_watching();
    fs::write(dir.path().join("a.test.lua"), test("second")).expect("write");
    until_watching();
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    let notes = fs::read_to_string(dir.path().join("notes")).expect("the marks");
    let notes: Vec<_> = notes.lines().filter_map(|line| line.split_once(' ')).collect();
    let [("first", first), ("second", second)] = notes[..] else {
        panic!("{notes:?}");
    };
    let own = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("this machine's");
    assert_eq!(first, second, "one host for both rounds");
    assert_ne!(first, own.trim(), "and not this machine");
}
