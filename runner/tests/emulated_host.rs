//! The emulated host, really started: what a command in it sees, how it is interrupted, what happens when it
//! freezes.
//!
//! Needs QEMU and busybox, and says so where they are missing: `apt-get install qemu-system-x86
//! busybox-static`.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use provium_base::events::{Event, HostEvent, Sink};
use provium_emulated::{EmulatedError, EmulatedRun, Limits, Stdin, run};
use rustix::process::{Pid, Signal, kill_process};

const PROVIUM: &str = env!("CARGO_BIN_EXE_provium");

fn host(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROVIUM);
    command.arg("host").args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn cache_home() -> std::path::PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, Into::into)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {stdout}\nstderr: {stderr}"
    );
}

/// QEMU, the only child that `provium host` has.
fn children(parent: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether a process still runs; one that only waits to be reaped does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn assert_ends(pid: u32) {
    let begun = Instant::now();
    while runs(pid) {
        // Not how fast it ends: whether it does.
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "process {pid} is left behind"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// Reads lines until one is `line`.
fn wait_for(output: &mut impl BufRead, line: &str, child: &mut Child) {
    let mut seen = String::new();
    while !seen.lines().any(|one| one == line) {
        if output.read_line(&mut seen).unwrap() == 0 {
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            panic!("`{line}` never came, but: {seen}\nstderr: {stderr}");
        }
    }
}

#[test]
fn a_command_runs_as_if_it_ran_here_but_for_kvm_and_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("a, b");
    fs::create_dir(&shared).unwrap();
    fs::write(folder.path().join("before"), "from outside").unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/key"), "secret").unwrap();
    fs::write(home.join(".profile"), "no secret").unwrap();
    let script = r#"
        cat ~/.profile; echo; cat ~/.ssh/key 2>/dev/null || echo "hides keys"
        unshare -m sh -c 'umount -l /proc; cat /proc/version' 2>/dev/null || echo "hides the kernel's files"
        echo "to stdout: $(cat)"; echo "to stderr: $WORD" >&2
        echo "$PROVIUM_EMULATED_HOST $PROVIUM_HOST_ATTEMPT $(id -u) $(umask)"
        pwd; cat before; echo
        echo lost > not-shared && cat not-shared
        echo kept > "a, b/file"
        [ -w /dev/kvm ] && echo "has kvm"
        exit 7"#;
    let mut child = host(&[
        "--rw",
        shared.to_str().unwrap(),
        "--mem",
        "1024",
        "--",
        "sh",
        "-c",
        script,
    ])
    .current_dir(folder.path())
    .env("WORD", "ärger")
    .env("HOME", &home)
    // Where what the emulated host starts from is kept, whatever the home is.
    .env("XDG_CACHE_HOME", cache_home())
    .stdin(Stdio::piped())
    .spawn()
    .unwrap();
    child.stdin.take().unwrap().write_all(b"typed").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 7);
    let uid = rustix::process::geteuid().as_raw();
    let umask = Command::new("sh").args(["-c", "umask"]).output().unwrap();
    let expected = format!(
        "no secret\nhides keys\nhides the kernel's files\nto stdout: typed\n1 1 {uid} {}{}\nfrom outside\nlost\nhas kvm\n",
        text(&umask.stdout),
        fs::canonicalize(folder.path()).unwrap().display(),
    );
    assert_eq!(text(&output.stdout), expected);
    assert!(
        text(&output.stderr).ends_with("to stderr: ärger\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "kept\n");
    assert!(
        !folder.path().join("not-shared").exists(),
        "only shared folders are written"
    );
}

#[test]
fn shared_folders_do_what_databases_and_build_tools_expect_and_kvm_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old"), "old").unwrap();
    let script = r#"
        set -e
        flock lock -c 'flock -n lock true && exit 1 || echo locked'
        touch inside; date +%s.%N > clock
        echo new > new; mv new old; mkdir a; echo x > a/x; mv a b; ln -s old link; ln old hard
        dd if=/dev/urandom of=big bs=1M count=3 status=none; cp --sparse=always big copy; cmp big copy
        "$PROVIUM" doctor --json > doctor || { cat doctor >&2; exit 9; }
        kill -TERM $$"#;
    let output = host(&["--rw", folder.path().to_str().unwrap(), "--", "sh", "-c", script])
        .current_dir(folder.path())
        .env("PROVIUM", PROVIUM)
        .output()
        .unwrap();
    assert_code(&output, 128 + 15);
    assert_eq!(text(&output.stdout), "locked\n");
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!((read("link"), read("b/x")), (b"new\n".to_vec(), b"x\n".to_vec()));
    assert_eq!((read("big").len(), read("big") == read("copy")), (3 << 20, true));
    // Both clocks agree: a file made inside is no younger there than it is here.
    let clock: f64 = text(&read("clock")).trim().parse().unwrap();
    let made = fs::metadata(folder.path().join("inside"))
        .unwrap()
        .modified()
        .unwrap();
    let made = made.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(
        (clock - made).abs() < 0.5,
        "made at {made}, when it was {clock} inside"
    );
    let doctor: serde_json::Value = serde_json::from_slice(&read("doctor")).unwrap();
    assert_eq!(doctor["inside"], true, "{doctor:#}");
    assert_eq!(doctor["kvm"]["sound"], true, "{doctor:#}");
    assert_eq!(doctor["accel_auto"]["way"], "kvm", "{doctor:#}");
}

#[test]
fn the_first_ctrl_c_is_for_the_command_and_the_second_ends_everything() {
    let script = "trap 'echo interrupted' INT; echo up; while :; do sleep 0.1; done";
    let mut child = host(&["--mem", "1024", "--", "sh", "-c", script])
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut stdout, "up", &mut child);
    let qemu = children(child.id());
    assert_eq!(qemu.len(), 1, "one QEMU, nothing else");
    signal(child.id(), Signal::INT);
    wait_for(&mut stdout, "interrupted", &mut child);
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_ends(qemu[0]);
}

/// Starts, waits for QEMU, and gives both process ids.
fn starting() -> (Child, u32) {
    let mut child = host(&["--mem", "1024", "--", "true"]).spawn().unwrap();
    loop {
        if let Some(&qemu) = children(child.id()).iter().find(|&&pid| is_qemu(pid)) {
            return (child, qemu);
        }
        if child.try_wait().unwrap().is_some() {
            panic!("{}", text(&child.wait_with_output().unwrap().stderr));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_qemu(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
        exe.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"qemu"))
    })
}

#[test]
fn qemu_does_not_outlive_provium() {
    // While it starts there is no command yet to be asked: it ends at once.
    let (mut child, qemu) = starting();
    signal(child.id(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert_ends(qemu);
    // And when there is no time for anything.
    let (mut child, qemu) = starting();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ends(qemu);
}

#[test]
fn a_signal_at_any_moment_of_a_start_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = || {
        let mut command = host(&["--mem", "1024", "--", "true"]);
        command.env("TMPDIR", folder.path()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert_code(&spawn().wait_with_output().unwrap(), 0);
    let whole = begun.elapsed();
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    for (round, sent) in [Signal::INT, Signal::TERM, Signal::HUP]
        .into_iter()
        .cycle()
        .take(6)
        .enumerate()
    {
        let part = (since.subsec_nanos() as u64 * (round as u64 + 1) % 1000) as f64 / 1000.0;
        let child = spawn();
        thread::sleep(whole.mul_f64(part));
        let processes = children(child.id());
        signal(child.id(), sent);
        let output = child.wait_with_output().unwrap();
        let said = format!(
            "{sent:?} after {part} of {whole:?}: {}, {}",
            output.status,
            text(&output.stderr)
        );
        // Of a command that had begun, or had not; or it came before anything else, or when all was over.
        let expected = [128 + sent.as_raw(), 130, 0];
        match output.status.code() {
            Some(code) => assert!(expected.contains(&code), "{said}"),
            None => assert!(output.stderr.is_empty(), "{said}"),
        }
        processes.into_iter().for_each(assert_ends);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{said}");
    }
}

fn request<'a>(script: &str, folder: &Path, limits: Limits, sink: &'a dyn Sink) -> EmulatedRun<'a> {
    let mut request = EmulatedRun::new(["sh", "-c", script].map(OsString::from).to_vec(), sink);
    request.cwd = folder.to_owned();
    request.writable = vec![folder.to_owned()];
    request.memory_mib = Some(1024);
    request.stdin = Stdin::Null;
    request.exe = Some(PROVIUM.into());
    request.limits = limits;
    request
}

#[test]
fn a_frozen_host_is_noticed_and_the_command_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        silence: Duration::from_secs(8),
        starts: 4,
    };
    let script = "echo $PROVIUM_HOST_ATTEMPT >> attempts; [ $PROVIUM_HOST_ATTEMPT -gt 1 ] || sleep 1000";
    let seen = Mutex::new((Vec::new(), Vec::new()));
    let sink = |event: &Event| {
        let (pids, causes) = &mut *seen.lock().unwrap();
        match event {
            Event::Host(HostEvent::Starting { pid, .. }) => pids.push(*pid),
            // Stopped some time after the command has begun, as a freeze would.
            Event::Host(HostEvent::Running { .. }) if pids.len() == 1 => {
                let pid = pids[0];
                thread::spawn(move || {
                    thread::sleep(Duration::from_secs(2));
                    signal(pid, Signal::STOP);
                });
            }
            Event::Host(HostEvent::Again { cause, .. }) => causes.push(cause.to_owned()),
            _ => {}
        }
    };
    let request = request(script, folder.path(), limits, &sink);
    assert_eq!(run(request).unwrap(), 0);
    let (pids, causes) = &*seen.lock().unwrap();
    assert!(causes[0].contains("froze: no sign of life for 8 s"), "{causes:?}");
    assert_eq!(causes.len() + 1, pids.len());
    let attempts = fs::read_to_string(folder.path().join("attempts")).unwrap();
    assert!(attempts.starts_with("1\n2\n"), "{attempts:?}");
    pids.iter().for_each(|&pid| assert_ends(pid));
}

#[test]
fn a_host_that_freezes_every_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        silence: Duration::from_secs(1),
        starts: 2,
    };
    let sink = |event: &Event| {
        if let Event::Host(HostEvent::Starting { pid, .. }) = event {
            signal(*pid, Signal::STOP);
        }
    };
    let request = request("true", folder.path(), limits, &sink);
    let error = run(request).unwrap_err();
    assert!(
        matches!(error, EmulatedError::GaveUp { starts: 2, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("started 2 times and failed each time"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_run_is_an_error_in_words() {
    for (arguments, code, words) in [
        (&["--rw", "/nonexistent", "--", "true"][..], 2, "/nonexistent"),
        (&["--mem", "64", "--", "true"], 2, "at least 512 MiB"),
        (
            &["--mem", "1024", "--", "/no/such/program"],
            127,
            "/no/such/program",
        ),
    ] {
        let output = host(arguments).output().unwrap();
        assert_code(&output, code);
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    let output = host(&["--", "true"])
        .env("PROVIUM_HOST_KERNEL_ROOT", "/nonexistent")
        .output()
        .unwrap();
    assert_code(&output, 2);
    assert!(
        text(&output.stderr).contains("PROVIUM_HOST_KERNEL_ROOT=/nonexistent"),
        "{}",
        text(&output.stderr)
    );
    // The variable alone makes no emulated host of this one.
    let output = host(&["--", "sh", "-c", "exit 7"])
        .env("PROVIUM_EMULATED_HOST", "1")
        .output()
        .unwrap();
    assert_code(&output, 7);
}
