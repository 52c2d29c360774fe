//! Many requests for one fixture, and fixtures that need each other.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread;

use super::*;
use provium_base::cancel::CancelReason;

#[test]
fn of_16_processes_one_builds_and_15_say_whom_they_wait_for() {
    let bench = Bench::new(&[("a.fixture.lua", "await go")]);
    let (sender, receiver) = mpsc::channel();
    let children: Vec<_> = (0..16)
        .map(|_| {
            let mut child = helper::command(&bench, "obtain a").spawn().expect("a process");
            let (pid, stdout) = (child.id(), child.stdout.take().expect("stdout"));
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = sender.send((pid, line));
                }
            });
            child
        })
        .collect();
    drop(sender);
    let mut lines: Vec<(u32, String)> = Vec::new();
    let mut waiting = 0;
    while waiting < 15 {
        let (pid, line) = receiver.recv_timeout(LONG).expect("all come to wait");
        waiting += usize::from(line.contains("waiting for"));
        lines.push((pid, line));
    }
    bench.write("go", "");
    lines.extend(receiver);
    for child in children {
        let output = child.wait_with_output().expect("an end");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let with = |text: &str| -> Vec<_> { lines.iter().filter(|(_, line)| line.contains(text)).collect() };
    let builders = with("EVENT fixture `a`: building");
    let [(builder, _)] = builders.as_slice() else {
        panic!("{lines:#?}")
    };
    assert_eq!(
        (with("from the cache").len(), with("DONE").len()),
        (15, 16),
        "{lines:#?}"
    );
    let waits = with("waiting for");
    assert_eq!(waits.len(), 15, "each says it once: {lines:#?}");
    let holder = format!("EVENT fixture `a`: waiting for process {builder} (");
    assert!(waits.iter().all(|(_, line)| line.contains(&holder)), "{waits:#?}");
}

#[test]
fn a_wait_can_be_cancelled() {
    let bench = Bench::new(&[("a.fixture.lua", "await go")]);
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let builder = scope.spawn(|| bench.obtain("a"));
        wait_for("the build", || {
            let locks = bench.path("cache/locks");
            let announced = |file: fs::DirEntry| file.metadata().is_ok_and(|file| file.len() > 0);
            fs::read_dir(locks).is_ok_and(|mut files| files.any(|file| file.is_ok_and(announced)))
        });
        let waiter = {
            let (bench, cancel) = (&bench, &cancel);
            scope.spawn(move || bench.try_obtain("a", cancel))
        };
        thread::sleep(Duration::from_millis(60));
        cancel.cancel(CancelReason::Interrupted);
        let error = waiter.join().expect("no panic").expect_err("cancelled");
        assert_eq!(error.to_string(), "fixture `a`: interrupted");
        bench.write("go", "");
        assert!(builder.join().expect("no panic").built());
    });
}

#[test]
fn a_cycle_is_named_and_no_deadlock() {
    let bench = Bench::new(&[
        ("a.fixture.lua", "meet here\nuses b"),
        ("b.fixture.lua", "meet here\nuses a"),
        ("c.fixture.lua", "uses d"),
        ("d.fixture.lua", "uses e"),
        ("e.fixture.lua", "uses d"),
        ("self.fixture.lua", "uses self"),
    ]);
    let error = |name: &str| {
        let got = bench.try_obtain(name, &Cancel::new());
        got.expect_err("a cycle").to_string()
    };
    assert_eq!(error("self"), "fixture cycle: self → self");
    assert_eq!(error("c"), "fixture cycle: d → e → d");
    // Two builders, each with what the other waits for.
    thread::scope(|scope| {
        let both = ["a", "b"].map(|name| scope.spawn(move || error(name)));
        for thread in both {
            let error = thread.join().expect("no panic");
            assert!(
                ["fixture cycle: a → b → a", "fixture cycle: b → a → b"].contains(&error.as_str()),
                "{error}"
            );
        }
    });
    assert!(bench.names_in("staging").is_empty());
}

#[test]
fn two_copies_of_a_project_share_an_entry() {
    let bench = Bench::new(&[("a.fixture.lua", "profile minimal")]);
    let first = bench.obtain("a");
    // As a second checkout: the same name and content at another path.
    fs::create_dir(bench.path("sub")).expect("a folder");
    fs::rename(bench.path("a.fixture.lua"), bench.path("sub/a.lua")).expect("rename");
    bench.write(
        "provium.toml",
        &TOML.replace("[provium]", "[provium]\nroots = ['elsewhere']"),
    );
    fs::create_dir(bench.path("elsewhere")).expect("a folder");
    fs::rename(bench.path("sub/a.lua"), bench.path("elsewhere/a.fixture.lua")).expect("rename");
    let second = bench.obtain("a");
    assert!(second.built(), "its inputs are not known there");
    assert_eq!(second.entry.build_id(), first.entry.build_id());
    assert!(!bench.obtain("a").built());
}
