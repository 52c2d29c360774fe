//! Started programs: output buffered and read again, input, signals, ends. Needs only what every Unix has.

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::{Host, Output, is_running, program, shell, wait_until};
use provium_protocol::*;

/// Most bytes that the agent buffers of an output.
const BUFFER: u64 = 16 << 20;

fn start(host: &mut Host, exec: Exec) -> (u64, u32) {
    match host.ask(Request::Start(exec)).1 {
        Ok(Response::Started { handle, pid }) => (handle, pid),
        other => panic!("{other:?}"),
    }
}

fn wait(handle: u64) -> WaitProcess {
    WaitProcess {
        handle,
        timeout_ms: None,
        kill: false,
        from: [0, 0],
    }
}

fn wait_for(host: &mut Host, wait: WaitProcess) -> (Output, Process) {
    let (output, reply) = host.ask(Request::WaitProcess(wait));
    (output, process(reply))
}

fn process(reply: Reply) -> Process {
    match reply {
        Ok(Response::Process(process)) => process,
        other => panic!("{other:?}"),
    }
}

fn status(process: &Process) -> ExitStatus {
    process.ended.as_ref().expect("its end").status
}

fn state(host: &mut Host, handle: u64) -> Process {
    process(host.ask(Request::ProcessState { handle }).1)
}

fn ended(host: &mut Host, handle: u64) {
    wait_until("it has ended", || state(host, handle).ended.is_some());
}

fn write_stdin(host: &mut Host, handle: u64, body: &[u8]) -> Reply {
    host.ask_with(Request::WriteStdin { handle }, body).1
}

#[test]
fn a_program_runs_while_other_things_are_done() {
    let mut host = Host::new();
    let (handle, pid) = start(
        &mut host,
        shell("read line; echo \"got $line\"; echo err >&2; exit 3"),
    );
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
    let doing = state(&mut host, handle);
    assert_eq!((doing.pid, doing.ended), (pid, None));
    assert_eq!(
        write_stdin(&mut host, handle, b"this\n"),
        Ok(Response::Written { bytes: 5 })
    );
    let (output, process) = wait_for(&mut host, wait(handle));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"got this\n"[..], &b"err\n"[..])
    );
    assert_eq!(
        (status(&process), process.pid, process.from),
        (ExitStatus::Exited(3), pid, [0, 0])
    );
    // Waited for, it is no more.
    for request in [
        Request::WaitProcess(wait(handle)),
        Request::ProcessState { handle },
        Request::SignalProcess { handle, signal: 15 },
        Request::CloseStdin { handle },
    ] {
        let error = host.refusal(request);
        assert_eq!(
            error.message,
            format!("there is no process with handle {handle}: it has been waited for or ended")
        );
    }
    write_stdin(&mut host, handle, &[0; 300_000]).expect_err("it is gone");
    assert_eq!(host.ask(Request::EndProcess { handle }).1, Ok(Response::Done));
}

#[test]
fn errors_of_starting_are_those_of_exec() {
    let mut host = Host::new();
    let (_, started) = host.ask(Request::Start(program(&["/no/such/program"])));
    let (_, executed) = host.ask(Request::Exec(program(&["/no/such/program"])));
    assert_eq!(started, executed);
    assert_eq!(started.expect_err("an error").errno, Some(2));
}

#[test]
fn the_end_is_known_before_it_is_waited_for() {
    let mut host = Host::new();
    let (handle, _) = start(&mut host, shell("echo x; exit 5"));
    ended(&mut host, handle);
    let exited = state(&mut host, handle).ended.expect("its end");
    assert_eq!(exited.status, ExitStatus::Exited(5));
    let (output, process) = wait_for(&mut host, wait(handle));
    assert_eq!(
        (output.stdout, process.ended),
        (b"x\n".to_vec(), Some(exited)),
        "and it is the same"
    );
}

#[test]
fn waiting_has_an_end() {
    let mut host = Host::new();
    let (handle, pid) = start(&mut host, shell("echo before; sleep 1000 & wait"));
    let patient = WaitProcess {
        timeout_ms: Some(300),
        ..wait(handle)
    };
    let (output, process) = wait_for(&mut host, patient.clone());
    assert_eq!(
        (output.stdout.as_slice(), process.ended),
        (&b"before\n"[..], None)
    );
    assert!(is_running(pid));
    // Only what is new, and then all.
    let from = [7, 0];
    let (output, _) = wait_for(&mut host, WaitProcess { from, ..patient });
    assert_eq!(output.stdout, b"");
    let killed = WaitProcess {
        timeout_ms: Some(10),
        kill: true,
        ..wait(handle)
    };
    let (output, process) = wait_for(&mut host, killed);
    assert_eq!(
        (output.stdout.as_slice(), status(&process)),
        (&b"before\n"[..], ExitStatus::TimedOut)
    );
    assert!(!is_running(pid));
    host.refusal(Request::ProcessState { handle });
}

#[test]
fn output_beyond_the_buffer_waits_for_a_reader() {
    let total = 3 * BUFFER;
    let mut host = Host::new();
    let line = format!("head -c {total} /dev/zero; echo end >&2");
    let (handle, pid) = start(&mut host, shell(&line));
    // Nobody takes it: the program stops, and nothing else does.
    let (other, _) = start(&mut host, shell("head -c 100000 /dev/zero"));
    ended(&mut host, other);
    thread::sleep(Duration::from_millis(300));
    assert!(is_running(pid), "it has more to say than the buffer holds");
    let (output, process) = wait_for(&mut host, wait(handle));
    assert_eq!((output.stdout.len() as u64, process.from), (total, [0, 0]));
    assert_eq!(output.stderr, b"end\n");
    assert_eq!(status(&process), ExitStatus::Exited(0));
    assert_eq!(wait_for(&mut host, wait(other)).0.stdout.len(), 100_000);
}

#[test]
fn what_has_been_sent_makes_room() {
    let mut host = Host::new();
    let line = format!(
        "head -c {} /dev/zero; echo half; read line; head -c {BUFFER} /dev/zero; read line",
        BUFFER
    );
    let (handle, _) = start(&mut host, shell(&line));
    let mut had = 0;
    let mut first = None;
    let mut take = |host: &mut Host, until: u64| {
        while had < until {
            let (output, process) = wait_for(
                host,
                WaitProcess {
                    timeout_ms: Some(20),
                    from: [had, 0],
                    ..wait(handle)
                },
            );
            first.get_or_insert(process.from[0]);
            assert_eq!(process.from[0], had);
            had += output.stdout.len() as u64;
        }
    };
    take(&mut host, BUFFER + 5);
    write_stdin(&mut host, handle, b"\n").expect("written");
    take(&mut host, 2 * BUFFER + 5);
    // The oldest has been dropped; it has been sent.
    write_stdin(&mut host, handle, b"\n").expect("written");
    let (output, process) = wait_for(&mut host, wait(handle));
    let buffered = output.stdout.len() as u64;
    assert_eq!(process.from[0] + buffered, 2 * BUFFER + 5);
    assert!((BUFFER - 65536..=BUFFER).contains(&buffered), "{buffered} bytes");
}

#[test]
fn output_up_to_the_limit_is_buffered_whole() {
    let mut host = Host::new();
    let (handle, _) = start(&mut host, shell(&format!("head -c {BUFFER} /dev/zero")));
    ended(&mut host, handle);
    let twice = WaitProcess {
        timeout_ms: Some(0),
        ..wait(handle)
    };
    // Whether its pipe is known to be at its end by now does not matter.
    let (output, process) = wait_for(&mut host, twice);
    assert_eq!((output.stdout.len() as u64, process.from[0]), (BUFFER, 0));
}

#[test]
fn input_waits_in_a_queue() {
    let mut host = Host::new();
    let (handle, _) = start(&mut host, shell("read go; head -c 3000001 | cksum; cat"));
    // More than a pipe holds, less than the queue: answered though nobody reads.
    assert_eq!(
        write_stdin(&mut host, handle, &[7; 1_000_000]),
        Ok(Response::Written { bytes: 1_000_000 })
    );
    assert_eq!(
        write_stdin(&mut host, handle, b""),
        Ok(Response::Written { bytes: 0 })
    );
    // More than the queue: not answered before it has been taken in.
    host.send(&Frame::Request(Request::WriteStdin { handle }));
    let mut other = host.beside();
    let sender = thread::spawn(move || {
        host.send_body(&[[7; 999_999].as_slice(), b"\n", &[8; 3_000_001], b"tail"].concat());
        let reply = host.answer().1;
        (host, reply)
    });
    let (mut host, reply) = sender.join().expect("no panic");
    assert_eq!(reply, Ok(Response::Written { bytes: 4_000_005 }));
    assert_eq!(
        other.ask(Request::CloseStdin { handle }).1,
        Ok(Response::Done),
        "by another session"
    );
    let error = write_stdin(&mut host, handle, b"x").expect_err("closed");
    assert_eq!(
        error,
        OpError {
            errno: None,
            message: "stdin is closed".to_owned()
        }
    );
    let (output, _) = wait_for(&mut host, wait(handle));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.ends_with("3000001\ntail"), "{text}");
}

#[test]
fn input_that_a_program_starts_with_comes_first() {
    let mut host = Host::new();
    let mut exec = program(&["cat"]);
    exec.has_stdin = true;
    let (_, reply) = host.ask_with(Request::Start(exec), &vec![1; 500_000]);
    let Ok(Response::Started { handle, .. }) = reply else {
        panic!("{reply:?}")
    };
    write_stdin(&mut host, handle, &[2; 500_000]).expect("written");
    assert_eq!(host.ask(Request::CloseStdin { handle }).1, Ok(Response::Done));
    let (output, _) = wait_for(&mut host, wait(handle));
    assert!(output.stdout == [vec![1; 500_000], vec![2; 500_000]].concat());
}

#[test]
fn input_nobody_reads_is_a_broken_pipe() {
    let mut host = Host::new();
    let (handle, pid) = start(&mut host, shell("exec <&-; echo closed; sleep 1000"));
    let closed = || {
        let wait = WaitProcess {
            timeout_ms: Some(5),
            ..wait(handle)
        };
        wait_for(&mut host, wait).0.stdout == b"closed\n"
    };
    wait_until("it has closed its input", closed);
    let error = write_stdin(&mut host, handle, b"x").expect_err("nobody reads");
    assert_eq!(
        (error.errno, error.message),
        (
            Some(32),
            format!("write to the standard input of process {pid}: Broken pipe")
        )
    );
    host.ask(Request::EndProcess { handle }).1.expect("gone");

    let (handle, _) = start(&mut host, program(&["true"]));
    ended(&mut host, handle);
    for body in [vec![], vec![0; 2_000_000]] {
        let error = write_stdin(&mut host, handle, &body).expect_err("it has ended");
        assert_eq!(error.errno, Some(32));
    }
    assert_eq!(host.ask(Request::Ping).1, Ok(Response::Done));
}

#[test]
fn signals_reach_the_program() {
    let mut host = Host::new();
    let (handle, _) = start(
        &mut host,
        shell("trap 'echo usr1; exit 7' USR1; echo ready; while :; do sleep 0.01; done"),
    );
    let ready = || {
        let wait = WaitProcess {
            timeout_ms: Some(5),
            ..wait(handle)
        };
        wait_for(&mut host, wait).0.stdout == b"ready\n"
    };
    wait_until("it listens", ready);
    let signal = |handle, signal| Request::SignalProcess { handle, signal };
    let error = host.refusal(signal(handle, 999));
    assert_eq!(error.errno, Some(22));
    assert_eq!(host.ask(signal(handle, 10)).1, Ok(Response::Done));
    let (output, process) = wait_for(&mut host, wait(handle));
    assert_eq!(
        (output.stdout.as_slice(), status(&process)),
        (&b"ready\nusr1\n"[..], ExitStatus::Exited(7))
    );

    // SIGKILL is for the whole group.
    let (handle, _) = start(&mut host, shell("sleep 1000 & echo $!; wait"));
    let mut pid = String::new();
    wait_until("both run", || {
        let wait = WaitProcess {
            timeout_ms: Some(5),
            ..wait(handle)
        };
        pid = String::from_utf8(wait_for(&mut host, wait).0.stdout).expect("text");
        pid.ends_with('\n')
    });
    assert_eq!(host.ask(signal(handle, 9)).1, Ok(Response::Done));
    assert_eq!(
        status(&wait_for(&mut host, wait(handle)).1),
        ExitStatus::Signalled(9)
    );
    wait_until("its child is gone", || !is_running(pid.trim()));

    let (handle, _) = start(&mut host, program(&["true"]));
    ended(&mut host, handle);
    assert_eq!(host.ask(signal(handle, 15)).1, Ok(Response::Done), "it has ended");
}

#[test]
fn a_session_may_signal_what_it_started_whatever_it_has_become() {
    let mut host = Host::new();
    let (handle, _) = start(&mut host, program(&["sleep", "1000"]));
    // To be somebody else takes root. Who is not root stays who it is, and may signal its own.
    let nobody = 65_534;
    let call = Syscall {
        nr: 117,
        args: [nobody, nobody, nobody, 0, 0, 0],
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    };
    let (_, reply) = host.ask(Request::Syscall(call));
    assert!(
        matches!(reply, Ok(Response::Syscall { ret: 0 | -1, .. })),
        "{reply:?}"
    );
    let signal = Request::SignalProcess { handle, signal: 12 };
    assert_eq!(host.ask(signal).1, Ok(Response::Done));
    assert_eq!(
        status(&wait_for(&mut host, wait(handle)).1),
        ExitStatus::Signalled(12)
    );
}

#[test]
fn ending_asks_first() {
    let mut host = Host::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (ready, bye) = (folder.path().join("polite"), folder.path().join("bye"));
    let polite = format!(
        "trap 'echo > {}; exit' TERM; sleep 1000 & echo > {}; wait",
        bye.display(),
        ready.display()
    );
    let (handle, pid) = start(&mut host, shell(&polite));
    wait_until("it listens", || ready.exists());
    assert_eq!(host.ask(Request::EndProcess { handle }).1, Ok(Response::Done));
    assert!(!is_running(pid) && bye.exists(), "it was asked, and went");
    host.refusal(Request::ProcessState { handle });

    let ready = folder.path().join("ready");
    let stubborn = format!(
        "trap '' TERM; echo > {}; while :; do sleep 1000; done",
        ready.display()
    );
    let (handle, pid) = start(&mut host, shell(&stubborn));
    wait_until("it ignores SIGTERM", || ready.exists());
    let begun = Instant::now();
    assert_eq!(host.ask(Request::EndProcess { handle }).1, Ok(Response::Done));
    assert!(begun.elapsed() >= Duration::from_secs(2), "it had its time");
    assert!(!is_running(pid));

    // The leader may go and leave somebody behind.
    let member = folder.path().join("member");
    let line = format!(
        "(trap '' TERM; echo > {}; while :; do sleep 1000; done) >/dev/null 2>&1 & wait",
        member.display()
    );
    let (handle, group) = start(&mut host, shell(&line));
    wait_until("it ignores SIGTERM", || member.exists());
    assert_eq!(host.ask(Request::EndProcess { handle }).1, Ok(Response::Done));
    let members = || {
        let stats = fs::read_dir("/proc").expect("processes").flatten();
        let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter(|stat| {
                let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
                let state = fields.next();
                state != Some("Z") && fields.nth(1) == Some(group.to_string().as_str())
            })
            .count()
    };
    wait_until("its group is gone", || members() == 0);
}

#[test]
fn a_program_with_too_much_to_say_can_be_ended() {
    let mut host = Host::new();
    let (handle, pid) = start(&mut host, program(&["yes"]));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(host.ask(Request::EndProcess { handle }).1, Ok(Response::Done));
    assert!(!is_running(pid));
}

#[test]
fn all_programs_of_a_session_are_reached() {
    let mut host = Host::new();
    let mut other = host.beside();
    let (foreign, _) = start(&mut other, program(&["sleep", "1000"]));
    let programs: Vec<_> = (0..3)
        .map(|_| start(&mut host, program(&["sleep", "1000"])))
        .collect();
    let (quick, _) = start(&mut host, shell("exit 4"));
    ended(&mut host, quick);
    let (_, reply) = host.ask(Request::SignalProcesses { signal: 15 });
    assert_eq!(reply, Ok(Response::Count { count: 3 }));
    let Ok(Response::Joined { ended }) = host.ask(Request::JoinProcesses).1 else {
        panic!("no end");
    };
    let ends: Vec<_> = ended
        .iter()
        .map(|joined| (joined.handle, joined.ended.status))
        .collect();
    let mut expected: Vec<_> = programs
        .iter()
        .map(|(handle, _)| (*handle, ExitStatus::Signalled(15)))
        .collect();
    expected.push((quick, ExitStatus::Exited(4)));
    assert_eq!(ends, expected);
    // Handles are valid everywhere, and stay.
    for (handle, pid) in programs {
        let process = wait_for(&mut other, wait(handle)).1;
        assert_eq!((process.pid, status(&process)), (pid, ExitStatus::Signalled(15)));
    }
    assert_eq!(state(&mut host, foreign).ended, None);
    assert_eq!(
        host.ask(Request::SignalProcesses { signal: 15 }).1,
        Ok(Response::Count { count: 0 })
    );
}

#[test]
fn what_a_session_started_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let [all, gone, asked] = ["all", "gone", "asked"].map(|name| folder.path().join(name));
    let mut host = Host::new();
    let mut pids = Vec::new();
    // Each, when it gets its SIGTERM, notes who has ended by then, and goes on.
    for at in 0..4 {
        let ready = folder.path().join(at.to_string());
        let line = format!(
            "trap 'for pid in $(cat {}); do kill -0 $pid || echo $pid >> {}; done; echo >> {}' TERM; echo > {}; \
             while :; do sleep 1000; done",
            all.display(),
            gone.display(),
            asked.display(),
            ready.display()
        );
        pids.push(start(&mut host, shell(&line)).1);
        wait_until("it listens", || ready.exists());
    }
    let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
    fs::write(&all, list.join(" ")).expect("written");
    let mut other = host.beside();
    let (survivor, pid) = start(&mut other, program(&["sleep", "1000"]));
    host.close().expect("a good end");
    assert!(pids.into_iter().all(|pid| !is_running(pid)));
    assert!(asked.exists(), "they were asked first");
    assert!(
        !gone.exists(),
        "they were asked together, not one after the other's end"
    );
    assert!(is_running(pid));
    assert_eq!(
        other.ask(Request::EndProcess { handle: survivor }).1,
        Ok(Response::Done)
    );
}

#[test]
fn a_host_that_goes_away_while_it_waits_is_noticed() {
    let mut host = Host::new();
    let (handle, pid) = start(&mut host, program(&["sleep", "1000"]));
    host.send(&Frame::Request(Request::WaitProcess(wait(handle))));
    thread::sleep(Duration::from_millis(50));
    host.close()
        .expect_err("a session that ends in the middle of a request");
    assert!(!is_running(pid));
}

#[test]
fn background_processes_do_not_hold_a_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let mut host = Host::new();
    let line = format!("sleep 1000 & echo $! > {}; echo done", pid.display());
    let (handle, _) = start(&mut host, shell(&line));
    let (output, process) = wait_for(&mut host, wait(handle));
    assert_eq!(
        (output.stdout.as_slice(), status(&process)),
        (&b"done\n"[..], ExitStatus::Exited(0))
    );
    let pid = fs::read_to_string(&pid).expect("its pid");
    assert!(is_running(pid.trim()));
    common::exited(host.ask(Request::Exec(program(&["kill", "-9", pid.trim()]))).1);
}

#[test]
fn many_programs_at_once() {
    let mut host = Host::new();
    let handles: Vec<_> = (0..60)
        .map(|at| start(&mut host, shell(&format!("echo {at}; exit {at}"))).0)
        .collect();
    for (at, handle) in handles.into_iter().enumerate() {
        let (output, process) = wait_for(&mut host, wait(handle));
        assert_eq!(
            (output.stdout, status(&process)),
            (format!("{at}\n").into_bytes(), ExitStatus::Exited(at as i32))
        );
    }
}
