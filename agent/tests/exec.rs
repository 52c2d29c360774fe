//! Programs: arguments, environment, input, output, ends. Needs only what every Unix has.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::{Host, LONG, exited, is_running, program, shell, wait_until};
use provium_protocol::*;

/// Runs a program that is expected to start; its end, output and error output.
fn run(exec: Exec) -> (ExitStatus, String, String) {
    let (output, reply) = Host::new().ask(Request::Exec(exec));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (exited(reply).status, text(output.stdout), text(output.stderr))
}

fn fails(exec: Exec) -> OpError {
    Host::new().refusal(Request::Exec(exec))
}

/// The environment of a shell line, so that the child's own PATH finds the tools of this machine.
fn variable(name: &str, value: &str) -> (serde_bytes::ByteBuf, serde_bytes::ByteBuf) {
    (name.as_bytes().to_vec().into(), value.as_bytes().to_vec().into())
}

fn count(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn output_and_status_come_back() {
    let (status, stdout, stderr) = run(shell("echo out; echo err >&2; exit 3"));
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (ExitStatus::Exited(3), "out\n", "err\n")
    );
    assert_eq!(run(program(&["true"])).0, ExitStatus::Exited(0));
    assert_eq!(run(shell("kill -TERM $$")).0, ExitStatus::Signalled(15));
    assert_eq!(run(shell("kill -KILL $$")).0, ExitStatus::Signalled(9));
}

#[test]
fn arguments_are_passed_as_they_are() {
    let mut exec = program(&["printf", "%s|", "a b", "", "$HOME", "*"]);
    exec.argv.push(b"\xff\n".to_vec().into());
    let (output, reply) = Host::new().ask(Request::Exec(exec));
    assert_eq!(output.stdout, b"a b||$HOME|*|\xff\n|");
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
}

#[test]
fn the_duration_is_that_of_the_program() {
    let (_, reply) = Host::new().ask(Request::Exec(shell("sleep 0.2")));
    let duration = Duration::from_nanos(exited(reply).duration_ns);
    assert!(
        duration >= Duration::from_millis(200) && duration < LONG,
        "{duration:?}"
    );
}

#[test]
fn the_environment_is_the_documented_one() {
    let (_, stdout, _) = run(program(&["env"]));
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["HOME=/root", path, "TERM=dumb"]);

    let mut exec = program(&["env"]);
    exec.env = vec![
        variable("HOME", "/x"),
        variable("A", "1"),
        variable("A", "2=3"),
        variable("E", ""),
    ];
    let (_, stdout, _) = run(exec);
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=2=3", "E=", "HOME=/x", path, "TERM=dumb"]);

    let mut exec = program(&["env"]);
    exec.env = vec![variable("ONLY", "this")];
    exec.env_clear = true;
    assert_eq!(run(exec).1, "ONLY=this\n");
}

#[test]
fn variables_no_environment_can_have_are_refused() {
    for (name, value, message) in [
        (
            "",
            "x",
            "exec: env: ``: a variable's name must not be empty or contain `=`",
        ),
        (
            "A=B",
            "x",
            "exec: env: `A=B`: a variable's name must not be empty or contain `=`",
        ),
        ("A", "x\0y", "exec: env: `A=x\0y` has a NUL byte at 3"),
    ] {
        let mut exec = program(&["true"]);
        exec.env = vec![variable(name, value)];
        assert_eq!(
            fails(exec),
            OpError {
                errno: None,
                message: message.to_owned()
            }
        );
    }
}

#[test]
fn programs_are_found_in_the_childs_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tool");
    fs::write(&path, "#!/bin/sh\necho found $0\n").expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut exec = program(&["tool"]);
    exec.env = vec![variable(
        "PATH",
        &format!("/nowhere:/etc/passwd:{}", folder.path().display()),
    )];
    assert_eq!(run(exec.clone()).1, format!("found {}\n", path.display()));

    // An empty part of PATH is the child's folder.
    exec.env = vec![variable("PATH", "/nowhere:")];
    exec.cwd = Some(folder.path().as_os_str().as_encoded_bytes().to_vec().into());
    assert_eq!(run(exec.clone()).1, "found ./tool\n");

    // What may not be executed is told rather than what is not there.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("not executable");
    exec.env = vec![variable("PATH", ":/nowhere")];
    assert_eq!(
        fails(exec),
        OpError {
            errno: Some(13),
            message: "exec `tool`: Permission denied".to_owned()
        }
    );
}

#[test]
fn what_cannot_be_executed_is_named() {
    let mut exec = program(&["no-such-program"]);
    exec.env = vec![variable("PATH", "/bin:/nowhere")];
    let message = "exec `no-such-program`: No such file or directory (PATH is `/bin:/nowhere`)".to_owned();
    assert_eq!(
        fails(exec),
        OpError {
            errno: Some(2),
            message
        }
    );

    let error = |path: &str| {
        let error = fails(program(&[path]));
        (error.errno, error.message.replace(path, "PATH"))
    };
    let (errno, message) = error("/no/such/program");
    assert_eq!(
        (errno, message.as_str()),
        (Some(2), "exec `PATH`: No such file or directory")
    );
    assert_eq!(error("/etc/passwd/x").0, Some(20));
    assert_eq!(
        error("/etc"),
        (Some(13), "exec `PATH`: Permission denied".to_owned())
    );

    let folder = tempfile::tempdir().expect("a folder");
    let script = |name: &str, content: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        error(path.to_str().expect("a text path"))
    };
    assert_eq!(
        script("plain", "echo", 0o644),
        (Some(13), "exec `PATH`: Permission denied".to_owned())
    );
    assert_eq!(
        script("no-format", "echo", 0o755),
        (Some(8), "exec `PATH`: Exec format error".to_owned())
    );
    let missing = "exec `PATH`: No such file or directory (the file exists; the interpreter or loader it asks \
                   for does not)";
    assert_eq!(
        script("no-shell", "#!/no/shell\n", 0o755),
        (Some(2), missing.to_owned())
    );
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let message = |exec| fails(exec).message;
    assert_eq!(
        message(program(&[])),
        "exec: there is no program to run: argv is empty"
    );
    assert_eq!(
        message(program(&[""])),
        "exec ``: No such file or directory (PATH is `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`)"
    );
    assert_eq!(
        message(program(&["a\0b"])),
        "exec: the program: `/usr/local/sbin/a\0b` has a NUL byte at 17"
    );
    assert_eq!(
        message(program(&["true", "x\0"])),
        "exec: argument 1: `x\0` has a NUL byte at 1"
    );
    let mut exec = program(&["true"]);
    exec.cwd = Some(b"/\0".to_vec().into());
    assert_eq!(message(exec), "exec: cwd: `/\0` has a NUL byte at 1");
    // More than the kernel takes in one argument.
    let error = fails(program(&["true", &"x".repeat(200_000)]));
    assert_eq!(
        (error.errno, error.message.as_str()),
        (Some(7), "exec `true`: Argument list too long")
    );
}

#[test]
fn the_folder_is_the_asked_one() {
    let mut exec = program(&["pwd"]);
    exec.cwd = Some(b"/usr".to_vec().into());
    assert_eq!(run(exec.clone()).1, "/usr\n");
    exec.cwd = Some(b"/no/such/folder".to_vec().into());
    let message = "exec `pwd`: cannot change to cwd `/no/such/folder`: No such file or directory".to_owned();
    assert_eq!(
        fails(exec.clone()),
        OpError {
            errno: Some(2),
            message
        }
    );
    exec.cwd = Some(b"/etc/passwd".to_vec().into());
    assert_eq!(fails(exec).errno, Some(20));
}

#[test]
fn input_arrives_and_ends() {
    let mut exec = program(&["cat"]);
    assert_eq!(run(exec.clone()).1, "", "no input is an empty one");
    exec.has_stdin = true;
    for body in [&b""[..], b"x", b"\0\xff\n"] {
        let (output, reply) = Host::new().ask_with(Request::Exec(exec.clone()), body);
        assert_eq!(
            (output.stdout.as_slice(), exited(reply).status),
            (body, ExitStatus::Exited(0))
        );
    }
    // Empty pieces are no end.
    let mut host = Host::new();
    host.send(&Frame::Request(Request::Exec(exec)));
    for bytes in [&b""[..], b"a", b"", b"b", b""] {
        host.send(&Frame::Data {
            channel: BODY,
            bytes: bytes.to_vec(),
        });
    }
    host.send(&Frame::End { channel: BODY });
    assert_eq!(host.answer().0.stdout, b"ab");
}

#[test]
fn large_input_may_be_sent_before_any_output_is_read() {
    let body: Vec<u8> = (0..16_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut exec = shell("tee /dev/stderr");
    exec.has_stdin = true;
    let mut host = Host::new();
    let (output, reply) = host.ask_with(Request::Exec(exec), &body);
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    assert!(
        output.stdout == body && output.stderr == body,
        "both outputs are the input"
    );
}

#[test]
fn a_child_that_writes_before_it_reads_blocks_nobody() {
    let mut exec = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; cat");
    exec.has_stdin = true;
    let (output, reply) = Host::new().ask_with(Request::Exec(exec), &vec![1; 2_000_000]);
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    assert_eq!((output.stdout.len(), output.stderr.len()), (5_000_000, 3_000_000));
}

#[test]
fn input_nobody_reads_is_dropped() {
    let mut exec = program(&["true"]);
    exec.has_stdin = true;
    let mut host = Host::new();
    for _ in 0..3 {
        let (_, reply) = host.ask_with(Request::Exec(exec.clone()), &vec![0; 1_000_000]);
        assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    }
    // It is read even when there is no program to give it to.
    exec.argv[0] = b"/no/such/program".to_vec().into();
    let (_, reply) = host.ask_with(Request::Exec(exec), &vec![0; 1_000_000]);
    assert_eq!(reply.expect_err("an error").errno, Some(2));
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn children_start_with_clean_signals_and_descriptors() {
    let sigpipe = 1u64 << (13 - 1);
    let field = |status: &str, name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("the field");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    // This process ignores SIGPIPE, as the agent does.
    let own = fs::read_to_string("/proc/self/status").expect("the status");
    assert_ne!(field(&own, "SigIgn:") & sigpipe, 0);
    let (_, stdout, _) = run(program(&["cat", "/proc/self/status"]));
    assert_eq!(field(&stdout, "SigIgn:") & sigpipe, 0);
    assert_eq!(field(&stdout, "SigBlk:"), 0);
    // Beside its own three and the folder it lists, a child has what this process itself was left by whoever
    // started it, and nothing that the agent has opened.
    let inherited = |name: &str| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap_or_default();
        u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 0o2_000_000 == 0)
    };
    let (_, stdout, _) = run(program(&["ls", "/proc/self/fd"]));
    for name in stdout.lines() {
        assert!(
            ["0", "1", "2", "3"].contains(&name) || inherited(name),
            "descriptor {name}"
        );
    }
    // So a reader that has seen enough ends a writer.
    assert_eq!(run(shell("yes | head -n 1")).1, "y\n");
}

#[test]
fn each_child_leads_a_process_group() {
    let (_, stdout, _) = run(shell("echo $$; cut -d ' ' -f 5 /proc/$$/stat"));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn a_timeout_kills_the_whole_group_and_keeps_the_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let line = format!(
        "echo before; echo noise >&2; sleep 1000 & echo $! >> {0}; (sleep 1000 & echo $! >> {0}; wait) & \
         echo $$ >> {0}; wait",
        pids.display()
    );
    let mut host = Host::new();
    let exec = Exec {
        timeout_ms: Some(1500),
        ..shell(&line)
    };
    let (output, reply) = host.ask(Request::Exec(exec));
    let exited = exited(reply);
    assert_eq!(exited.status, ExitStatus::TimedOut);
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"before\n"[..], &b"noise\n"[..])
    );
    assert!(exited.duration_ns >= 1_500_000_000, "{}", exited.duration_ns);
    assert_eq!(count(&pids), 3, "all three had started");
    for pid in fs::read_to_string(&pids).expect("pids").lines() {
        wait_until("its processes are gone", || !is_running(pid.trim()));
    }
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn a_timeout_is_not_a_problem_for_who_is_faster() {
    for timeout_ms in [60_000, u64::MAX] {
        let (status, stdout, _) = run(Exec {
            timeout_ms: Some(timeout_ms),
            ..shell("echo quick")
        });
        assert_eq!((status, stdout.as_str()), (ExitStatus::Exited(0), "quick\n"));
    }
    let (status, _, _) = run(Exec {
        timeout_ms: Some(0),
        ..program(&["sleep", "1000"])
    });
    assert_eq!(status, ExitStatus::TimedOut);
    // Whoever ignores other signals as well.
    let stubborn = shell("trap '' TERM INT HUP; while :; do sleep 1000; done");
    assert_eq!(
        run(Exec {
            timeout_ms: Some(200),
            ..stubborn
        })
        .0,
        ExitStatus::TimedOut
    );
}

#[test]
fn background_processes_do_not_hold_the_reply() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pid, log) = (folder.path().join("pid"), folder.path().join("log"));
    // The background process goes on writing to the output it inherited, and says so each time.
    let line = format!(
        "(while echo tick; do echo x >> {}; sleep 0.01; done) & echo $! > {}; echo done",
        log.display(),
        pid.display()
    );
    let mut host = Host::new();
    let (output, reply) = host.ask(Request::Exec(shell(&line)));
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("done\n"));
    // It is neither killed by writing nor stopped by a full pipe.
    let seen = count(&log);
    wait_until("it goes on", || count(&log) >= seen + 20);
    let pid = fs::read_to_string(&pid).expect("its pid");
    assert!(is_running(pid.trim()));
    assert_eq!(run(program(&["kill", "-9", pid.trim()])).0, ExitStatus::Exited(0));
}

#[test]
fn output_of_the_last_moment_is_not_lost() {
    let mut host = Host::new();
    for _ in 0..30 {
        let (output, reply) = host.ask(Request::Exec(shell("head -c 60000 /dev/zero; echo end >&2")));
        assert_eq!(exited(reply).status, ExitStatus::Exited(0));
        assert_eq!(
            (output.stdout.len(), output.stderr.as_slice()),
            (60_000, &b"end\n"[..])
        );
    }
    // A process that the shell does not wait for may finish a moment after it. On a busy machine the moment
    // can be too long; not every time.
    let mut late = || {
        host.ask(Request::Exec(shell("(sleep 0.005; echo late) & exit 0")))
            .0
            .stdout
    };
    assert!((0..50).any(|_| late() == b"late\n"));
}

#[test]
fn a_writer_without_end_in_the_background_does_not_hold_the_reply() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let line = format!("yes & echo $! > {}; sleep 0.1", pid.display());
    let (output, reply) = Host::new().ask(Request::Exec(shell(&line)));
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    assert!(output.stdout.starts_with(b"y\ny\n"));
    let pid = fs::read_to_string(&pid).expect("its pid");
    assert_eq!(run(program(&["kill", "-9", pid.trim()])).0, ExitStatus::Exited(0));
}

#[test]
fn a_host_that_goes_away_takes_its_program_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let line = format!(
        "sleep 1000 & echo $! >> {0}; echo $$ >> {0}; wait",
        pids.display()
    );
    let mut host = Host::new();
    host.send(&Frame::Request(Request::Exec(shell(&line))));
    wait_until("both run", || count(&pids) == 2);
    host.close()
        .expect_err("a session that ends in the middle of a request");
    for pid in fs::read_to_string(&pids).expect("pids").lines() {
        wait_until("its processes are gone", || !is_running(pid.trim()));
    }
}

#[test]
fn a_slow_reader_gets_everything_and_disturbs_nobody() {
    let mut slow = Host::new();
    slow.send(&Frame::Request(Request::Exec(shell(
        "head -c 8000000 /dev/zero; echo end >&2",
    ))));
    thread::sleep(Duration::from_millis(200));
    // Another session goes on meanwhile.
    assert_eq!(run(shell("echo here")).1, "here\n");
    let (output, reply) = slow.answer();
    assert_eq!(exited(reply).status, ExitStatus::Exited(0));
    assert_eq!(
        (output.stdout.len(), output.stderr.as_slice()),
        (8_000_000, &b"end\n"[..])
    );
}

#[test]
fn nothing_is_left_open() {
    let descriptors = || fs::read_dir("/proc/self/fd").expect("descriptors").count();
    let mut host = Host::new();
    let mut exec = shell("cat; echo x >&2");
    exec.has_stdin = true;
    let missing = program(&["/no/such/program"]);
    let round = |host: &mut Host| {
        host.ask_with(Request::Exec(exec.clone()), b"x")
            .1
            .expect("it runs");
        host.ask(Request::Exec(missing.clone()))
            .1
            .expect_err("it is not there");
    };
    round(&mut host);
    // Other tests of this file run beside it and open some; the fewest seen are what counts.
    let fewest = |host: &mut Host| {
        let look = || {
            round(host);
            descriptors()
        };
        std::iter::repeat_with(look).take(10).min().expect("a number")
    };
    let before = fewest(&mut host);
    for _ in 0..200 {
        round(&mut host);
    }
    let after = fewest(&mut host);
    assert!(
        after < before + 100,
        "{before} descriptors before 200 rounds, {after} after them"
    );
}
