//! The event stream and coverage, by the built command and a reader in another language.
//!
//! Input: runs without a guest. Output: what Python makes of their events. Not here: events of VMs, which
//! need a guest: tests/lua/events.test.lua.

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{finished, project, provium, run};
use tempfile::TempDir;

/// Two files: one with a test of each sort, one that claims and fails by itself.
fn two_files() -> TempDir {
    project(&[
        (
            "a.test.lua",
            "test('passes', {spec = {'S-1', 'S-2'}, level = 3, raw = '\\xFF'}, function(t) end)\n\
             test('fails', {spec = 'S-1'}, function(t) t:fail('\\27[31mno\\n::error::x') end)\n\
             test('skips', {skip = 'no clock', spec = 'S-3'}, function() end)\n\
             test('skips itself', function(t) t:skip('no disk') end)\n\
             test('parts', function(t) t:subtest('one', function() end) end)\n",
        ),
        (
            "b.test.lua",
            "provium:claim{memory = '1M', cpus = 1}\nif false then provium:vm_fixture('net/router') end\nerror('broken')\n",
        ),
    ])
}

/// What the reader makes of a stream: it checks the promises.
#[track_caller]
fn read(source: &[&str], stdin: Stdio) -> Vec<Value> {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/events.py");
    let mut command = Command::new("python3");
    let ran = command.arg(reader).args(source).stdin(stdin).output();
    parsed(finished(ran.expect("python3, of the package `python3`")))
}

#[track_caller]
fn parsed(ran: support::Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let frames = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    frames.collect()
}

fn of_kind<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let frames = frames.iter().filter(|frame| frame["kind"] == kind);
    frames.map(|frame| &frame["payload"]).collect()
}

#[test]
fn saved_events_are_read_in_another_language() {
    let dir = two_files();
    let ran = run(&dir, &["--save-events", "new/events", "-j1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let path = dir.path().join("new/events");
    let frames = read(&[path.to_str().expect("UTF-8")], Stdio::null());
    let found = of_kind(&frames, "file_discovered");
    assert_eq!(found[0], &json!({"path": "a.test.lua", "fixture_refs": []}));
    let claim = json!({"memory_bytes": 1 << 20, "cpus": 1});
    assert_eq!(found[1]["fixture_refs"], json!(["net/router"]));
    assert_eq!(found[1]["declared_claim"], claim);
    let passed = of_kind(&frames, "test_passed");
    let meta = json!({"spec": ["S-1", "S-2"], "level": 3, "raw": {"binary": [255]}});
    assert_eq!(
        (&passed[0]["name"], &passed[0]["meta"]),
        (&json!("passes"), &meta)
    );
    assert_eq!(passed[0]["attempts"], 1);
    assert_eq!(
        passed[1]["subtests"],
        json!([{"path": "one", "status": "passed"}])
    );
    let failed = of_kind(&frames, "test_failed");
    assert_eq!(
        (&failed[0]["name"], &failed[0]["line"]),
        (&json!("fails"), &json!(2))
    );
    let reason = failed[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("no\n: :error::x\n"),
        "no escape sequence, no command: {reason:?}"
    );
    let skipped = of_kind(&frames, "test_skipped");
    assert_eq!(
        (&skipped[0]["name"], &skipped[0]["reason"]),
        (&json!("skips"), &json!("no clock"))
    );
    let started: Vec<_> = of_kind(&frames, "test_started")
        .iter()
        .map(|test| test["name"].clone())
        .collect();
    assert_eq!(
        started,
        ["passes", "fails", "skips itself", "parts"],
        "what is skipped beforehand has no start"
    );
    assert_eq!(of_kind(&frames, "claim_acquired")[0]["amount"], claim);
    assert_eq!(of_kind(&frames, "claim_released").len(), 1);
    let pool = &of_kind(&frames, "pool_state")[0];
    assert_eq!(pool["used"], json!({"memory_bytes": 0, "cpus": 0}));
    assert!(
        pool["available"]["memory_bytes"].as_u64() > Some(1 << 20),
        "{pool}"
    );
    let completed = of_kind(&frames, "file_completed");
    let statuses: Vec<_> = completed.iter().map(|file| file["status"].as_str()).collect();
    assert_eq!(statuses, [Some("failed"), Some("failed")]);
    let ended = &of_kind(&frames, "run_ended")[0];
    assert_eq!(
        (&ended["exit_code"], &ended["counts"]["passed"]),
        (&json!(1), &json!(2))
    );
    // Another run adds to the file.
    run(&dir, &["--save-events", "new/events"]);
    let both = fs::read(&path).expect("the events");
    assert_eq!(
        both.windows(14).filter(|part| part == b"provium-events").count(),
        2
    );
}

#[test]
fn events_on_stdout_leave_the_report_to_stderr() {
    let dir = two_files();
    let mut command = provium(dir.path(), &["--events-stdout"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let stdout = child.stdout.take().expect("stdout");
    let frames = read(&[], Stdio::from(stdout));
    assert_eq!(of_kind(&frames, "file_completed").len(), 2);
    let ran = finished(child.wait_with_output().expect("its end"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("FAIL a.test.lua ("), "{}", ran.stderr);
    let ran = run(&dir, &["--events-stdout", "--json"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("cannot be used with"),
        "{}",
        ran.stderr
    );
}

#[test]
fn clients_of_the_socket_read_along_and_it_is_gone_afterwards() {
    let waits = "test('waits', function() while not io.open('go') do os.execute('sleep 0.02') end end)\n";
    let dir = project(&[("a.test.lua", waits)]);
    let socket = dir.path().join("run/events");
    fs::create_dir(dir.path().join("run")).expect("a folder");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("what an earlier run has left"));
    let mut command = provium(dir.path(), &["--events-socket", "run/events"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Refused until it is the run's.
    let lazy = loop {
        match std::os::unix::net::UnixStream::connect(&socket) {
            Ok(client) => break client,
            Err(_) => std::thread::yield_now(),
        }
    };
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/events.py");
    let mut python = Command::new("python3");
    python
        .arg(reader)
        .arg("--socket")
        .arg(&socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut python = python.spawn().expect("python3, of the package `python3`");
    // Once the reader is connected the test may end.
    let mut said = [0; 10];
    python
        .stderr
        .as_mut()
        .expect("stderr")
        .read_exact(&mut said)
        .expect("its first line");
    assert_eq!(&said, b"connected\n");
    fs::write(dir.path().join("go"), "").expect("write");
    let frames = finished(python.wait_with_output().expect("its end"));
    assert!(
        frames.stdout.contains("\"run_started\"") && frames.stdout.contains("\"run_ended\""),
        "{frames:?}"
    );
    let ran = finished(child.wait_with_output().expect("its end"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!socket.exists(), "the socket is removed");
    drop(lazy);
    let ran = run(&dir, &["--events-socket", "a.test.lua"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("events to a.test.lua"),
        "{}",
        ran.stderr
    );
}

#[test]
fn pairs_close_after_ctrl_c() {
    let waits = "provium:claim{cpus = 1}\n\
                 test('waits', function() os.execute('echo $$ >pid; exec sleep 600') end)\ntest('never', print)\n";
    let dir = project(&[("a.test.lua", waits)]);
    let mut command = provium(
        dir.path(),
        &["--save-events", "events", "--events-socket", "socket"],
    );
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    while fs::read_to_string(dir.path().join("pid")).map_or(true, |text| !text.ends_with('\n')) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("the command runs");
    let ran = finished(child.wait_with_output().expect("its end"));
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let path = dir.path().join("events");
    let frames = read(&[path.to_str().expect("UTF-8")], Stdio::null());
    assert_eq!(of_kind(&frames, "claim_released").len(), 1);
    assert_eq!(of_kind(&frames, "run_ended")[0]["exit_code"], 130);
    assert!(!dir.path().join("socket").exists());
}

#[test]
fn coverage_is_text_json_and_a_page() {
    let dir = two_files();
    let ran = run(&dir, &["--save-events", "events", "--coverage", "-q"]);
    let expected = "coverage by `spec`:\n\
                    \x20 S-1: 2 tests (1 passed, 1 failed, 0 skipped)\n\
                    \x20 S-2: 1 tests (1 passed, 0 failed, 0 skipped)\n\
                    \x20 S-3: 1 tests (0 passed, 0 failed, 1 skipped)\n\
                    \x20 <unset>: 2 tests (1 passed, 0 failed, 1 skipped)\n\
                    \x20 ---\n\
                    \x20 total: 5 tests (2 passed, 1 failed, 2 skipped)\n";
    assert!(ran.stdout.ends_with(expected), "{}", ran.stdout);
    assert_eq!(run(&dir, &["coverage", "--from", "events"]).stdout, expected);
    let events = fs::File::open(dir.path().join("events")).expect("the events");
    let mut piped = provium(
        dir.path(),
        &["coverage", "--from", "-", "--by", "level", "--json"],
    );
    let piped = finished(piped.stdin(events).output().expect("the command starts"));
    let json: Value = serde_json::from_str(&piped.stdout).expect("JSON");
    let all = json!({"passed": 2, "failed": 1, "skipped": 2});
    assert_eq!(json, json!({"buckets": {}, "uncategorised": all}), "3 is no text");
    fs::write(dir.path().join("ids"), "# all of them\nS-1\nS-3\nS-4\n").expect("write");
    let ran = run(&dir, &["coverage", "--from", "events", "--expect", "ids"]);
    assert_eq!(
        ran.stdout,
        format!("{expected}never ran: 2 id(s)\n  S-3\n  S-4\n")
    );
    let ran = run(
        &dir,
        &[
            "coverage",
            "--from",
            "events",
            "--html",
            "page.html",
            "--expect",
            "ids",
        ],
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    let page = fs::read_to_string(dir.path().join("page.html")).expect("the page");
    assert!(
        page.contains("<b>S-1</b>") && page.contains("Never ran: 2"),
        "{page}"
    );
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("href="),
        "{page}"
    );
    let ran = run(&dir, &["coverage", "--from", "ids"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("ids: it is no event stream"),
        "{}",
        ran.stderr
    );
}
