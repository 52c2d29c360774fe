//! The built command and its surroundings: signals, and who writes to its streams. No guest is needed.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use provium::doctor::{self, Accel};
use rustix::process::{Pid, Signal, kill_process};

use support::project;

/// The command in that folder, with pipes to read.
fn provium(dir: &Path, args: &[&str]) -> Command {
    let mut command = support::provium(dir, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until a run has written a file, and gives its content once that ends with a newline.
fn until_written(path: &Path, run: &mut Child) -> String {
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
        if let Some(status) = run.try_wait().expect("its state") {
            let mut said = String::new();
            let stderr = run
                .stderr
                .take()
                .map(|mut stderr| stderr.read_to_string(&mut said));
            panic!("{status} before {}: {said} {stderr:?}", path.display());
        }
    }
}

/// Waits until no process of this number runs.
fn until_gone(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the process is there");
}

/// Its exit code, stdout and stderr.
fn finished(child: Child) -> (Option<i32>, String, String) {
    let ran = support::finished(child.wait_with_output().expect("its end"));
    (ran.code, ran.stdout, ran.stderr)
}

/// A file whose second test writes the number of the command it waits for to `pid`.
const WAITS_FOR_A_COMMAND: &str = "test('done', function() end)\n\
     test('waits', function() os.execute('sleep 600 & echo $! >pid; wait') end)\n\
     test('never', function() end)\n";

#[test]
fn each_signal_ends_the_run_and_its_commands_with_a_report() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = project(&[("a.test.lua", WAITS_FOR_A_COMMAND)]);
        let mut child = provium(dir.path(), &[]).spawn().expect("the command starts");
        let command = until_written(&dir.path().join("pid"), &mut child);
        send(&child, signal);
        let (code, stdout, _) = finished(child);
        assert_eq!(code, Some(130), "{signal:?}: {stdout}");
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!(
            lines[0],
            "STOP a.test.lua (1 passed, 0 failed, 1 skipped, 1 not run)"
        );
        assert_eq!(lines[1], "  skip waits: interrupted, waiting in os.execute");
        until_gone(&command);
    }
}

#[test]
fn a_second_signal_ends_what_no_token_can_and_the_commands_with_it() {
    // One pattern match that takes hours and in which no Lua instruction is counted.
    let stuck = "test('stuck', function()\n\
                   command = io.popen('echo $$ >pid; exec sleep 600')\n\
                   while not io.open('pid') do end\n\
                   io.open('stuck', 'w'):write('now\\n'):close()\n\
                   string.find(string.rep('a', 5000), string.rep('.-', 50) .. 'b') end)\n";
    let dir = project(&[("a.test.lua", stuck)]);
    let mut child = provium(dir.path(), &[]).spawn().expect("the command starts");
    until_written(&dir.path().join("stuck"), &mut child);
    let command = until_written(&dir.path().join("pid"), &mut child);
    send(&child, Signal::HUP);
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    stderr.read_line(&mut line).expect("a line");
    assert_eq!(
        line,
        "provium: ending the running tests; Ctrl-C again to quit at once\n"
    );
    send(&child, Signal::TERM);
    assert_eq!(finished(child).0, Some(130));
    until_gone(&command);
}

#[test]
fn stdout_has_the_report_alone_whatever_a_test_writes_there() {
    let noisy = "os.execute('echo one')\n\
         test('noisy', function()\n\
           io.popen('cat', 'w'):write('two\\n'):close()\n\
           io.stdout:write('three\\n')\n\
           io.write('four\\n')\n\
           os.execute('echo five; echo six >/proc/self/fd/1')\n\
         end)\n";
    let dir = project(&[("a.test.lua", noisy)]);
    let child = provium(dir.path(), &["--json"])
        .spawn()
        .expect("the command starts");
    let (code, stdout, stderr) = finished(child);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for line in stdout.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    assert_eq!(stdout.lines().count(), 1);
    for word in ["one", "two", "three", "four", "five", "six"] {
        assert!(stderr.lines().any(|line| line == word), "{word}: {stderr}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dir = project(&[("a.test.lua", "")]);
    for args in [
        &["list"][..],
        &["list", "--fixtures"],
        &["fixture", "list"],
        &["completions", "bash"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        let mut child = provium(dir.path(), args).spawn().expect("the command starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        let mut stream = child.stderr.take().expect("stderr");
        stream.read_to_string(&mut stderr).expect("UTF-8");
        assert_eq!(stderr, "", "{args:?}");
        let status = child.wait().expect("its end");
        assert!(
            status.code() == Some(0) || args[0] == "doctor" && status.code() == Some(2),
            "{args:?}: {status}"
        );
    }
}

#[test]
fn a_terminal_that_has_gone_away_takes_no_exit_code_with_it() {
    let dir = project(&[("a.test.lua", WAITS_FOR_A_COMMAND)]);
    let mut child = provium(dir.path(), &[]).spawn().expect("the command starts");
    let pid: PathBuf = dir.path().join("pid");
    until_written(&pid, &mut child);
    drop((child.stdout.take(), child.stderr.take()));
    send(&child, Signal::HUP);
    assert_eq!(child.wait().expect("its end").code(), Some(130));
}

#[test]
fn an_image_that_is_being_made_ends_with_the_run_and_leaves_nothing() {
    if doctor::choose(Accel::Auto).is_err() {
        return; // neither here nor in an emulated host would an image be made
    }
    let toml = "[provium]\ncache_dir = 'cache'\n[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'quiet'\nrootfs = 'root'\n";
    let boots = "test('boots', function() provium:vm('v', 'p'):boot() end)\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", boots)]);
    fs::create_dir(dir.path().join("root")).expect("a folder");
    fs::write(dir.path().join("root/file"), "content").expect("a file");
    // Stands in for mke2fs, and never ends.
    let (bin, pid) = (dir.path().join("bin"), dir.path().join("pid"));
    fs::create_dir(&bin).expect("a folder");
    let script = format!("#!/bin/sh\necho $$ >{}\nexec sleep 600\n", pid.display());
    fs::write(bin.join("mke2fs"), script).expect("a script");
    fs::set_permissions(bin.join("mke2fs"), fs::Permissions::from_mode(0o755)).expect("executable");
    let path = std::env::var("PATH").expect("a PATH");
    let mut command = provium(dir.path(), &[]);
    command.env("PATH", format!("{}:{path}", bin.display()));
    let mut child = command.spawn().expect("the command starts");
    let mke2fs = until_written(&pid, &mut child);
    send(&child, Signal::INT);
    let (code, stdout, stderr) = finished(child);
    assert_eq!(code, Some(130), "{stdout}{stderr}");
    let root = dir.path().join("root").canonicalize().expect("it is there");
    let line = format!("provium: making an image of {}\n", root.display());
    assert!(stderr.contains(&line), "{stderr}");
    until_gone(&mke2fs);
    let left = fs::read_dir(dir.path().join("cache/rootfs")).expect("the cache's folder");
    let names: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert!(
        names.iter().all(|name| name.to_string_lossy().ends_with(".used")),
        "{names:?}"
    );
}

#[test]
fn a_pipe_in_place_of_a_file_of_the_configuration_is_named_at_once() {
    let toml = "[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'q'\ncmdline_file = 'pipe'\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", "")]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe"), mode).expect("a pipe");
    let list = provium(dir.path(), &["list"]).spawn();
    let (code, stdout, stderr) = finished(list.expect("the command starts"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("it is not a regular file but a pipe"), "{stderr}");
}

/// The next number of a sequence that the seed determines.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Numbers of the processes that work in a folder.
fn working_in(folder: &Path) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let here = all.filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder));
    here.map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_signal_at_any_moment_of_a_run_leaves_a_report_and_nothing_else() {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
    let seed = std::env::var("PROVIUM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(since.as_nanos() as u64 | 1);
    println!("PROVIUM_SEED={seed}");
    let mut state = seed;
    let body = "for i = 1, 10 do test('t' .. i, function(t)\n\
           local left = io.popen('exec sleep 600')\n\
           t:assert(os.execute('sleep 0.01; : >ran.$$'))\n\
           local f <close> = io.tmpfile()\n\
           f:write(('x'):rep(1000))\n\
         end) end\n";
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.test.lua"));
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), body)).collect();
    let whole = {
        let dir = project(&files);
        let started = std::time::Instant::now();
        let child = provium(dir.path(), &["-j2"]).spawn().expect("the command starts");
        let (code, stdout, _) = finished(child);
        assert_eq!(code, Some(0), "{stdout}");
        started.elapsed()
    };
    for _ in 0..30 {
        let dir = project(&files);
        let temporary = dir.path().join("tmp");
        fs::create_dir(&temporary).expect("a folder");
        let signal = [Signal::INT, Signal::TERM, Signal::HUP][(next(&mut state) % 3) as usize];
        let moment = whole.mul_f64((next(&mut state) % 1000) as f64 / 1000.0);
        let mut command = provium(dir.path(), &["-j2"]);
        let child = command
            .env("TMPDIR", &temporary)
            .spawn()
            .expect("the command starts");
        std::thread::sleep(moment);
        send(&child, signal);
        let output = child.wait_with_output().expect("its end");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let said = format!("{signal:?} after {moment:?}, {}: {stdout}", output.status);
        match output.status.code() {
            // It came before the process could be told, or behind the last test.
            None => assert_eq!(stdout, "", "{said}"),
            Some(0) => assert!(stdout.contains("50 passed, 0 failed"), "{said}"),
            Some(130) => {
                let last = stdout.lines().last().unwrap_or_default();
                assert!(last.contains(" passed, 0 failed, "), "{said}");
            }
            Some(_) => panic!("{said}"),
        }
        assert_eq!(fs::read_dir(&temporary).expect("the folder").count(), 0, "{said}");
        while !working_in(dir.path()).is_empty() {
            std::thread::yield_now();
        }
    }
}
